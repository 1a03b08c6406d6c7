"""The files of a host's identity: whole wherever a renewal is killed, and none of somebody else's among them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.client import Failed
from cli.enrolment.identity import Identity
from controller.access.files import write
from controller.pki import certificates


def test_kill_9_at_each_step_of_a_renewal_leaves_a_key_and_its_certificate(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.cli.enrolment.killed_renewal", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert int(told.stdout) >= 7


def test_a_key_that_somebody_put_there_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    """Root enrols a host in a folder of the agent's user, and would leave that user whatever a link leads to."""
    secret = tmp_path / "ca-key.pem"
    write(secret, certificates.key_to_pem(certificates.new_key()))
    identity = Identity(tmp_path / "agent")
    identity.folder.mkdir(mode=0o700)
    coming = identity.folder / "key.pem.coming"
    coming.symlink_to(secret)
    with pytest.raises(Failed, match=r"key\.pem\.coming is a link"):
        identity.coming_key()
    coming.unlink()
    os.mkfifo(coming)
    with pytest.raises(Failed, match="is no file of whom"):
        identity.coming_key()
    coming.unlink()
    assert certificates.public_bytes(identity.coming_key()) == certificates.public_bytes(identity.coming_key())


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody but root gives files away")
def test_a_key_of_another_owner_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    secret = tmp_path / "ca-key.pem"
    write(secret, certificates.key_to_pem(certificates.new_key()))
    identity = Identity(tmp_path / "agent")
    identity.folder.mkdir(mode=0o700)
    os.chown(identity.folder, 65_534, 65_534)
    (identity.folder / "key.pem.coming").hardlink_to(secret)
    with pytest.raises(Failed, match="is no file of whom"):
        identity.coming_key()
