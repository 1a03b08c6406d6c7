"""Texts that vendors' tools printed on other people's hosts, and programs that print them again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.support.surroundings import write_files, write_program

FOLDER = Path(__file__).parents[1] / "agent" / "sources" / "captured"


def captured(name: str) -> str:
    """Return a captured text."""
    return (FOLDER / name).read_text()


def write_tool(folder: Path, name: str, answers: Mapping[str, str]) -> Path:
    """Put a program into a folder that prints a text for each of its command lines, and fails for any other.

    Args:
        answers: command line → what is printed.
    """
    texts = folder / f"{name}.texts"
    write_files(texts, {str(number): text for number, text in enumerate(answers.values())})
    print_it = f"exec {shutil.which('cat')} {texts}"
    cases = "\n".join(f"'{arguments}') {print_it}/{number} ;;" for number, arguments in enumerate(answers))
    return write_program(folder, name, f'case "$*" in\n{cases}\n*) echo "no such command: $*"; exit 1 ;;\nesac')
