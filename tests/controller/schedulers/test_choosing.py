"""Which adapter the settings choose, and that no other is loaded."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.engine.orders import OrderDesk
from controller.schedulers import choosing
from controller.schedulers.command import CommandScheduler
from controller.schedulers.node import NodeScheduler
from controller.schedulers.none import NoScheduler
from controller.schedulers.slurm import SlurmScheduler
from controller.sections.schedulers import SchedulerSection
from controller.settings import ControllerSettings, SettingsError
from tests.support.checkout import ROOT
from wire.transport import BrokerSettings, MqttTransport

LOADED = """
import sys
import controller.main
from controller.schedulers import choosing
from controller.settings import ControllerSettings
from controller.sections.schedulers import SchedulerSection
from pathlib import Path
for kind in sys.argv[1:]:
    settings = ControllerSettings(state=Path("."), scheduler=SchedulerSection(kind=kind, hook=Path("hook")))
    choosing.scheduler_of(settings, Path("."), None)
    print(kind, *sorted({"lightkube", "httpx2", "yaml"} & set(sys.modules)))
"""


def settings_of(kind: str, directory: Path, **more: object) -> ControllerSettings:
    scheduler = SchedulerSection(kind=kind, hook=directory / "hook")  # type: ignore[arg-type]  # one of its literals
    return ControllerSettings(state=directory, scheduler=scheduler, **more)  # type: ignore[arg-type]  # its sections


def desk() -> OrderDesk:
    transport = MqttTransport(BrokerSettings("mqtt://127.0.0.1", "test"), subscriptions=(), will=None)
    return OrderDesk(transport, "main", "k1", Ed25519PrivateKey.generate(), 1, time.time)


@pytest.mark.parametrize(
    ("kind", "adapter"),
    [
        ("slurm", SlurmScheduler),
        ("command", CommandScheduler),
        ("node", NodeScheduler),
        ("none", NoScheduler),
    ],
)
def test_the_adapter_is_the_one_of_the_settings(kind: str, adapter: type[object], tmp_path: Path) -> None:
    assert type(choosing.scheduler_of(settings_of(kind, tmp_path), tmp_path, desk())) is adapter


def test_a_controller_without_kubernetes_does_not_load_its_client() -> None:
    kinds = ["slurm", "none", "node", "command"]
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, *kinds], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )

    assert (ran.stdout.split(), ran.returncode) == (kinds, 0), ran.stderr


@pytest.mark.parametrize(
    ("content", "because"),
    [
        (None, "kubernetes: Configuration file .* not found"),
        ("{", "kubernetes: .* is no kubeconfig: while parsing"),
        ("[]", "kubernetes: .* is no kubeconfig"),
        ("{}", "kubernetes: .* has no 'clusters'"),
        ("{clusters: [], contexts: []}", "kubernetes: .*/kubeconfig: No current context set"),
        ("{clusters: [], contexts: [], current-context: x}", "kubernetes: .*/kubeconfig: Context 'x' not found"),
        ("{clusters: [], contexts: [{name: x, context: {cluster: c}}], current-context: x}", "has no 'c'"),
        (
            "{clusters: [{name: c, cluster: {server: 'https://h'}}], contexts: [{name: x, context: {cluster: c}}], "
            "current-context: x}",
            "names no user",
        ),
        (
            "{clusters: [{name: c, cluster: {server: 'https://h', certificate-authority: /no/where}}], "
            "users: [{name: u, user: {token: t}}], contexts: [{name: x, context: {cluster: c, user: u}}], "
            "current-context: x}",
            "kubernetes: context x: .*No such file",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_told_at_the_start(
    content: str | None, because: str, tmp_path: Path
) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)

    with pytest.raises(SettingsError, match=because):
        choosing.scheduler_of(settings_of("kubernetes", tmp_path, kubernetes={"kubeconfig": path}), tmp_path, desk())


def test_a_context_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("{clusters: [], contexts: [{name: x, context: {cluster: c}}], current-context: x}")
    settings = settings_of("kubernetes", tmp_path, kubernetes={"kubeconfig": path, "context": "y"})
    with pytest.raises(SettingsError, match=r"kubernetes: .*/kubeconfig has no context 'y'; there are: x$"):
        choosing.scheduler_of(settings, tmp_path, desk())


def test_outside_of_a_cluster_a_kubeconfig_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"kubernetes: kubeconfig is not given, .*/var/run/secrets/kubernetes"):
        choosing.scheduler_of(settings_of("kubernetes", tmp_path), tmp_path, desk())
