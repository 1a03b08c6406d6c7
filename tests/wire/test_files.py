"""Secrets are read from files that nobody else may read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wire.files import SecretError, read_secret, stamp_of

NOBODY = 65_534


def secret(folder: Path, mode: int = 0o600) -> Path:
    file = folder / "secret"
    file.write_text(" hush \n")
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_the_owner_s_own_is_read(tmp_path: Path, mode: int) -> None:
    assert read_secret(secret(tmp_path, mode)) == "hush"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o606, 0o610, 0o601])
def test_what_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    file = secret(tmp_path, mode)
    with pytest.raises(SecretError, match=f"{file} can be read by others than its owner: chmod 600 {file}"):
        read_secret(file)


def test_a_credential_of_systemd_is_taken_with_its_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = secret(tmp_path, 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(file) == "hush"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "another"))
    with pytest.raises(SecretError, match="chmod 600"):
        read_secret(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")
@pytest.mark.parametrize(
    ("owner", "group", "mode", "taken"),
    [
        (0, NOBODY, 0o440, True),
        (0, NOBODY, 0o640, True),
        (0, NOBODY, 0o460, False),
        (0, NOBODY, 0o444, False),
        (1, NOBODY, 0o440, False),
        (NOBODY, NOBODY, 0o440, False),
    ],
)
def test_root_s_file_for_our_group_alone_is_taken(owner: int, group: int, mode: int, taken: bool) -> None:
    """Kubernetes gives a Secret to a pod in no other way."""
    program = "import sys, pathlib, wire.files; print(wire.files.read_secret(pathlib.Path(sys.argv[1])))"
    place = Path(subprocess.run(["mktemp"], capture_output=True, text=True, check=True).stdout.strip())
    try:
        place.write_text("hush")
        os.chown(place, owner, group)
        place.chmod(mode)
        somebody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        command = [*somebody, sys.executable, "-c", program, str(place)]
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    finally:
        place.unlink()
    assert (told.returncode == 0, "chmod 600" in told.stderr) == (taken, not taken), told.stderr


def test_what_is_no_text_or_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "latin").touch(mode=0o600)
    (tmp_path / "latin").write_bytes(b"p\xe4ssword")
    for name, because in (("pipe", "no regular file"), ("latin", "not UTF-8"), ("none", "No such file")):
        with pytest.raises(SecretError, match=f"{name}.*{because}"):
            read_secret(tmp_path / name)


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    file = secret(tmp_path)
    before = stamp_of(file)
    assert stamp_of(file) == before
    other = tmp_path / "other"
    other.write_text(" hush \n")
    other.replace(file)
    assert len({before, stamp_of(file), stamp_of(other)}) == 3
