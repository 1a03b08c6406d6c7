"""`fleetmend keys`: another key takes the place of the one that signs, and what was signed stays good."""

from __future__ import annotations

import os
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from agent.access import TrustedKey
from agent.strict import Reader
from cli.exit_codes import ExitCode
from controller import keys
from controller.events import Logged, PresenceChanged
from controller.sealing import Sealing
from controller.settings import load
from controller.store.signing import signer_of
from controller.store.sqlite import SqliteLog
from tests.cli.conftest import run_cli
from wire.orders import Order, OrderAction
from wire.signatures import sign, verify

SOMEBODY = 12_345
"""A user id that is nobody's here."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A controller's configuration, with a key that signs."""
    path = tmp_path / "controller.toml"
    path.write_text(f'state = "{tmp_path}"\n')
    keys.load_or_make(tmp_path / "signing-key.pem")
    return path


def own(config: Path, *arguments: str) -> str:
    told = run_cli("keys", *arguments, "--config", str(config))
    assert (told.returncode, told.stderr) == (0, "")
    return told.stdout


async def test_a_key_is_rotated_while_nodes_trust_both(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "signing-key.pem"
    old = keys.load(file)
    for_agents = own(config, "prepare")
    assert own(config, "prepare") == for_agents
    (key_id, table), *_ = tomllib.loads(for_agents)["trusted_keys"].items()
    trusted_key = Reader().table(table, TrustedKey)
    assert trusted_key is not None
    trusted = {**keys.public_half(old), key_id: trusted_key.load()}
    with closing(SqliteLog(tmp_path / "events.sqlite")) as log:
        await log.append([Logged(1, 1.0, PresenceChanged("n1", "online", "so"))], [])
        await Sealing(log, signer_of(load(config)), tmp_path / "log-head.json", lambda: 1.0).seal()
    told = own(config, "rotate")
    new = keys.load(file)
    assert (keys.key_id(new), file.stat().st_mode & 0o777) == (key_id, 0o600)
    assert f"take key {keys.key_id(old)} from the agents" in told
    for key in (old, new):
        order = Order("i1/a/1", "n1", OrderAction.COLLECT, 1.0, 9.0, 1)
        assert verify(sign(order, key_id=keys.key_id(key), key=key), trusted=trusted) == order
    assert run_cli("audit", "verify", "--config", str(config)).returncode == 0
    shown = own(config, "show")
    assert shown == f"# signs\n{keys.line_of(new)}\n# signed before\n{keys.line_of(old)}\n"
    assert keys.public_keys(shown) == keys.known(file) == {**keys.public_half(new), **keys.public_half(old)}


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can act for another user")
def test_what_root_rotates_is_left_to_the_controllers_user(config: Path, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "signing-key.pem"):
        os.chown(path, SOMEBODY, SOMEBODY)
    own(config, "prepare")
    own(config, "rotate")
    left = {path.name: path.stat().st_uid for path in tmp_path.glob("signing-key.*")}
    assert left == {"signing-key.pem": SOMEBODY, "signing-key.retired": SOMEBODY}


def test_nothing_is_rotated_to_a_key_that_no_node_can_know(config: Path) -> None:
    told = run_cli("keys", "rotate", "--config", str(config))
    assert told.returncode == ExitCode.REFUSED_NOW
    assert "nodes must trust it first" in told.stderr


def test_no_private_half_is_ever_printed(config: Path, tmp_path: Path) -> None:
    said = own(config, "prepare") + own(config, "show") + own(config, "rotate") + own(config, "show")
    pems = [line for file in tmp_path.glob("*.pem") for line in file.read_text().splitlines() if "-" not in line]
    assert pems and not [line for line in pems if line in said]


def test_a_rotation_that_was_killed_half_way_is_done_again(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    old, new = keys.load_or_make(file), keys.prepare(file)
    keys.retired_file(file).write_text(keys.line_of(old) + "\n")
    keys.rotate(file)
    assert keys.known(file) == {**keys.public_half(old), **keys.public_half(new)}
    assert keys.retired_file(file).read_text() == keys.line_of(old) + "\n"


@pytest.mark.parametrize("text", ["x", "id AAAA", "AAAAAAAAAAAAAAAA " + "A" * 43 + "!", "é é"])
def test_a_line_that_is_no_key_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key.pem"
    keys.load_or_make(file)
    keys.retired_file(file).write_text(text)
    with pytest.raises(keys.KeyFileError, match=r"key\.retired cannot be read"):
        keys.known(file)
