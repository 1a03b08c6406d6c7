"""What the manifests hand to the programs: settings that load, a broker that keeps nodes apart, images of all of it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from configparser import RawConfigParser
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest

from agent.settings import load_settings
from cli.broker import CONTROLLER, find_mosquitto, password_hash
from cli.ports import LOOPBACK, free_port
from controller.notices.secret import read_secret
from controller.settings import load
from tests.support.broker import listening, require_mosquitto, until
from tests.support.certificates import write_certificate
from tests.support.checkout import ROOT
from tests.support.kubernetes_api import Json
from tests.support.kustomization import built
from wire.tls import TlsFiles
from wire.topics import Address, Channel
from wire.transport import BrokerSettings, NotPublished

FOLDER = ROOT / "kubernetes"
CELL = built(FOLDER / "cell").resources
OVERLAY = built(FOLDER / "postgresql").patches
SECRET = "a secret"


def text_of(documents: tuple[Json, ...], name: str, file: str) -> str:
    (found,) = [each for each in documents if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name]
    return str(found["data"][file])


def container_of(name: str) -> Json:
    (found,) = [each for each in CELL if "template" in each.get("spec", {}) and each["metadata"]["name"] == name]
    container: Json = found["spec"]["template"]["spec"]["containers"][0]
    return container


def brought_here(text: str, directory: Path) -> str:
    """Return a file's text with the folders of its pod below a directory, and with what it names there in place."""
    certificate = write_certificate(directory, "made").read_bytes()
    key = (directory / "made.key").read_bytes()
    for path in re.findall(r"[\" ](/[a-z][\w./-]+)", text):
        here = directory / path.lstrip("/")
        here.parent.mkdir(parents=True, exist_ok=True)
        if here.suffix in {".crt", ".key"}:
            here.write_bytes(certificate if here.suffix == ".crt" else key)
        elif "secrets" in path or "password" in path:
            here.write_text(SECRET)
            here.chmod(0o440)
    return re.sub(r"([\" ])(/[a-z][\w./-]+)", rf"\1{directory}\2", text)


@pytest.mark.parametrize("documents", [CELL, OVERLAY], ids=["cell", "postgresql"])
def test_the_controller_s_settings_load(
    documents: tuple[Json, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "controller.toml"
    file.write_text(brought_here(text_of(documents, "fleetmend-controller", "controller.toml"), tmp_path))
    settings = load(file)
    assert (settings.http.host, settings.scheduler.kind) == ("0.0.0.0", "kubernetes")  # noqa: S104
    assert settings.http.tls() is not None
    assert settings.access is not None
    # As in its container, where the kubelet lets the group read secrets.
    folder = {each["name"]: each.get("value") for each in container_of("fleetmend-controller")["env"]}
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", f"{tmp_path}{folder['CREDENTIALS_DIRECTORY']}")
    named = [settings.broker.password_file, *([settings.store.password_file] if settings.store.url else [])]
    assert [read_secret(each, "password_file") for each in named if each] == [SECRET] * len(named)


def test_the_overlay_s_settings_are_the_cell_s_but_for_what_it_is_about() -> None:
    one, other = (
        tomllib.loads(text_of(documents, "fleetmend-controller", "controller.toml")) for documents in (CELL, OVERLAY)
    )
    assert {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)} == {
        "signing_key",
        "store",
        "access",
    }


def test_the_agent_s_settings_load_and_the_node_is_who_the_pod_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETMEND_NODE", "gpu-017")
    file = tmp_path / "agent.toml"
    file.write_text(brought_here(text_of(CELL, "fleetmend-agent", "agent.toml"), tmp_path))
    (tmp_path / "etc/fleetmend/agent/broker.password").chmod(0o400)
    settings = load_settings(file)
    assert settings.broker.password_file is not None
    assert (settings.node, settings.broker.password_file.read_text()) == ("gpu-017", SECRET)
    assert "reboot" not in settings.orders_allowed
    asked = [container_of("fleetmend-agent")[f"{each}Probe"]["httpGet"] for each in ("startup", "liveness")]
    assert asked == [{"host": settings.metrics.host, "path": "/metrics", "port": settings.metrics.port}] * 2


def test_every_folder_that_settings_name_is_mounted() -> None:
    for name, file in (("fleetmend-controller", "controller.toml"), ("fleetmend-agent", "agent.toml")):
        mounts = [each["mountPath"] for each in container_of(name)["volumeMounts"]]
        named = re.findall(r"\"(/[a-z][\w./-]+)\"", text_of(CELL, name, file))
        assert named
        assert [path for path in named if not any(path.startswith(f"{mount}/") for mount in mounts)] == []


def test_the_agent_has_the_rights_that_its_unit_has_on_a_host() -> None:
    unit = RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "systemd" / "fleetmend-agent.service")
    right = unit["Service"]["CapabilityBoundingSet"].removeprefix("CAP_").lower()
    command = container_of("fleetmend-agent")["command"]
    for name in ("inh-caps", "ambient-caps", "bounding-set"):
        assert f"--{name}=-all,+{right}" in command
    assert "--no-new-privs" in command
    assert "--reuid=10001" in command


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a Mosquitto as the manifests set it up, and its CA."""
    require_mosquitto()
    port = free_port()
    conf, acl = (text_of(CELL, "fleetmend-broker", name) for name in ("mosquitto.conf", "acl"))
    text = brought_here(conf, tmp_path).replace("listener 8883", f"listener {port} {LOOPBACK}")
    (tmp_path / "etc/mosquitto/settings").mkdir(parents=True, exist_ok=True)
    (tmp_path / "etc/mosquitto/settings/acl").write_text(acl)
    (tmp_path / "var/lib/mosquitto").mkdir(parents=True, exist_ok=True)
    users = tmp_path / "etc/mosquitto/users/passwords"
    users.chmod(0o600)
    users.write_text("".join(f"{each}:{password_hash(SECRET, salt=b'x' * 12)}\n" for each in (CONTROLLER, "n1", "n2")))
    (tmp_path / "mosquitto.conf").write_text(f"{text}\nuser {_user()}\n")
    with (tmp_path / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([find_mosquitto(), "-c", tmp_path / "mosquitto.conf"], stderr=log)
    try:
        yield f"mqtts://{LOOPBACK}:{port}", tmp_path / "etc/mosquitto/tls/tls.crt"
    finally:
        process.terminate()
        process.wait(timeout=10)


def _user() -> str:
    """Return the user that Mosquitto stays, when it is started as root."""
    return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.broker
async def test_the_broker_s_settings_keep_each_node_to_its_own_branch(broker: tuple[str, Path]) -> None:
    def known_as(user: str) -> BrokerSettings:
        return BrokerSettings(broker[0], client_id=user, username=user, password=SECRET, tls=TlsFiles(broker[1]))

    every = "fleetmend/v1/main/node/+/event"
    async with listening(known_as(CONTROLLER), every) as controller, listening(known_as("n1")) as n1:
        await n1.transport.publish(Address("main", "n1", Channel.EVENT).topic, b"own")
        with pytest.raises(NotPublished, match="refuses"):
            await n1.transport.publish(Address("main", "n2", Channel.EVENT).topic, b"another's")
        await until(lambda: controller.heard)
        assert controller.payloads() == [b"own"]


LINES = re.sub(r"\\\n", " ", (ROOT / "Containerfile").read_text()).splitlines()
STEPS = [line.split() for line in LINES if line[:1].isalpha()]


def test_the_images_are_made_of_what_is_here_and_start_what_the_package_installs() -> None:
    copied = [name for step in STEPS if step[0] == "COPY" and not step[1].startswith("--") for name in step[1:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*packaged["packages"], *packaged["force-include"]} <= {*copied}
    scripts = {each.name for each in entry_points(group="console_scripts")}
    started = {step[1].strip('[]"') for step in STEPS if step[0] == "ENTRYPOINT"}
    assert started == {"fleetmend-controller", "fleetmend-agent"} <= scripts
    assert all(":" in step[1] and not step[1].endswith(":latest") for step in STEPS if step[0] == "FROM")


def test_pods_run_the_images_and_the_users_that_the_containerfile_makes() -> None:
    targets = {step[3] for step in STEPS if step[0] == "FROM"}
    wanted = {image for image in _images(CELL) if "fleetmend" in image} | _images(OVERLAY)
    assert wanted == {f"registry.example/fleetmend-{name}:{version('fleetmend')}" for name in targets - {"build"}}
    assert ["USER", "10000:10000"] in STEPS
    assert {"10000", "10001"} <= {word for step in STEPS if "useradd" in step for word in step}


def _images(found: Any) -> set[str]:
    """Return every image that is named anywhere."""
    match found:
        case dict():
            return {found["image"]} if isinstance(found.get("image"), str) else _images(list(found.values()))
        case list() | tuple():
            return set[str]().union(*map(_images, found))
        case _:
            return set()


def test_numbers_are_the_same_to_every_reader_of_yaml() -> None:
    """To kustomize 0400 is octal, as in YAML 1.1; to a reader of YAML 1.2 it is four hundred."""
    files = {path: path.read_text() for path in FOLDER.rglob("*.yaml")}
    assert {path.name: found for path, text in files.items() if (found := re.findall(r": (0\d+)\b", text))} == {}
