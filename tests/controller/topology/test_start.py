"""A controller with a file of places: one that can be used places nodes, one that cannot stops the start."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import aiohttp
import pytest

from controller.assembly import assemble
from controller.events import NodeSeen
from controller.service import Controller, lock_state
from controller.settings import load
from tests.support.forked import CONTROLLER, run_forked
from wire.messages import NodeFacts


def check(state: Path, topology: str) -> subprocess.CompletedProcess[str]:
    """Have a controller validate a configuration."""
    config = state / "controller.toml"
    config.write_text(f'state = "{state}"\n{topology}\n')
    return run_forked(CONTROLLER, "--check", "--config", str(config), environment=os.environ)


def test_a_good_file_starts(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("node,rack\ngpu[001-128],r1\n")
    ended = check(tmp_path, f'[topology]\nfile = "{tmp_path}/places.csv"')
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize(
    ("topology", "told"),
    [
        ('[topology]\nfile = "{0}/places.csv"', "{0}/places.csv:3: rack: line 2 has placed n1 already"),
        ('[topology]\nslurm = "{0}/nowhere"', "{0}/nowhere: cannot be read: No such file or directory"),
        ('[topology]\ncsv = "a"', "topology.csv: no such key here; there are file, netbox, "),
        ('[topology.netbox]\nurl = "netbox"', "topology.netbox: url must begin with https://"),
        (
            '[topology.netbox]\nurl = "https://n"\nplaces = {{ job = "racks" }}',
            "topology.netbox: 'job' cannot be set: it follows from what the node is and does; 'racks' is",
        ),
    ],
)
def test_a_mistake_ends_it_with_ex_config(tmp_path: Path, topology: str, told: str) -> None:
    (tmp_path / "places.csv").write_text("node,rack\nn1,r1\nn1,r2\n")
    ended = check(tmp_path, topology.format(tmp_path))
    assert ended.returncode == 78
    assert told.format(tmp_path) in ended.stderr


def test_a_running_controller_is_not_in_the_way_of_a_check_and_nothing_is_left_behind(tmp_path: Path) -> None:
    held = lock_state(tmp_path / "state")
    before = sorted((tmp_path / "state").iterdir())
    config = tmp_path / "controller.toml"
    config.write_text(f'state = "{tmp_path}/state"\n')
    ended = run_forked(CONTROLLER, "--check", "--config", str(config), environment=os.environ)
    os.close(held)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert sorted((tmp_path / "state").iterdir()) == before


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('[power]\nkind = "redfish"', "{0}/controller.toml: power: no BMC is known"),
        ('[scheduler]\nkind = "kubernetes"\n[kubernetes]\nkubeconfig = "/no"', "{0}/controller.toml: kubernetes: "),
        (
            '[evidence]\nwhere = "controller"\nport = 1\ncertificate = "/no"\ncertificate_key = "/no"',
            "{0}/controller.toml: evidence.certificate: /no with /no: No such file or directory",
        ),
        (
            '[evidence]\nwhere = "s3"\n[evidence.s3]\nbucket = "b"\naccess_key = "a"\nsecret_key_file = "/no"',
            "{0}/controller.toml: evidence.s3.secret_key_file: cannot read",
        ),
        (
            '[broker]\npassword_file = "/etc/passwd"',
            "{0}/controller.toml: broker.password_file: /etc/passwd can be read by others than its owner: chmod 600",
        ),
        (
            '[store]\nurl = "postgresql://a@b/c"\npassword_file = "/etc/passwd"',
            "{0}/controller.toml: store.password_file: /etc/passwd can be read by others than its owner: chmod 600",
        ),
        (
            '[broker]\nurl = "mqtts://b"\ncertificate_file = "/no"\nkey_file = "/no"',
            "{0}/controller.toml: broker.certificate_file: /no: there is no such file",
        ),
    ],
)
def test_what_is_found_behind_the_settings_is_told_with_their_file(tmp_path: Path, wrong: str, told: str) -> None:
    ended = check(tmp_path, wrong)
    assert ended.returncode == 78
    assert ended.stderr.startswith(told.format(tmp_path))


async def until_placed(controller: Controller, node: str) -> None:
    async with asyncio.timeout(20):
        while True:
            if controller.cell.belief.nodes[node].places:
                return
            await asyncio.sleep(0.01)


async def test_a_running_controller_places_nodes_that_it_hears_of_and_shows_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("node,rack\ngpu[001-128],r1\n")
    config = tmp_path / "controller.toml"
    config.write_text(
        f'state = "{tmp_path}"\nhttp = {{ port = 0 }}\nbroker = {{ url = "mqtt://127.0.0.1:1" }}\n'
        f'[topology]\nfile = "{tmp_path}/places.csv"\n[topology.netbox]\nurl = "http://127.0.0.1:1"\n'
    )
    controller = assemble(load(config))
    serving = asyncio.create_task(controller.run())
    await controller.started.wait()
    await controller.cell.submit([NodeSeen("gpu007", "boot-1", NodeFacts())])
    await until_placed(controller, "gpu007")
    assert controller.cell.belief.residents["rack", "r1"] == {"gpu007"}
    async with asyncio.timeout(20), aiohttp.ClientSession(controller.url) as http:
        while True:
            status = await (await http.get("/api/v1/status")).json()
            if status["topology_errors"]:
                break
            await asyncio.sleep(0.05)
    assert status["topology_errors"]["netbox"].startswith("http://127.0.0.1:1: cannot be asked")
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
