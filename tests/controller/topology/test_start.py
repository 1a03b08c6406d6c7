"""A controller with a file of places that cannot be used does not start, and says where to mend it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def check(state: Path, topology: str) -> subprocess.CompletedProcess[str]:
    """Have a controller validate a configuration."""
    config = state / "controller.toml"
    config.write_text(f'state = "{state}"\n{topology}\n')
    command = [sys.executable, "-m", "controller.main", "--check", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_good_file_starts(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("node,rack\ngpu[001-128],r1\n")
    ended = check(tmp_path, f'[topology]\nfile = "{tmp_path}/places.csv"')
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize(
    ("topology", "told"),
    [
        ('[topology]\nfile = "{0}/places.csv"', "{0}/places.csv:3: rack: line 2 has placed n1 already"),
        ('[topology]\nslurm = "{0}/nowhere"', "{0}/nowhere: cannot be read: No such file or directory"),
        ('[topology]\ncsv = "a"', "topology.csv: Extra inputs"),
        ('[topology.netbox]\nurl = "netbox"', "topology.netbox: Value error, url must begin with https://"),
        (
            '[topology.netbox]\nurl = "https://n"\nplaces = {{ job = "racks" }}',
            "topology.netbox: Value error, 'job' cannot be set: it follows from what the node is and does; 'racks' is",
        ),
    ],
)
def test_a_mistake_ends_it_with_ex_config(tmp_path: Path, topology: str, told: str) -> None:
    (tmp_path / "places.csv").write_text("node,rack\nn1,r1\nn1,r2\n")
    ended = check(tmp_path, topology.format(tmp_path))
    assert ended.returncode == 78
    assert told.format(tmp_path) in ended.stderr
