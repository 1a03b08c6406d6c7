"""What a block of shell commands would run: every simple command, also those within substitutions, loops and pipes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

BASH = Parser(Language(tree_sitter_bash.language()))
PROMPT = "$ "

WRAPPERS = {"sudo": ("-u", "-g"), "env": ("-u",), "nice": ("-n",), "timeout": (), "exec": (), "xargs": ("-n", "-P")}
"""Program that runs another → those of its options that take a word."""


class NoShell(Exception):
    """The text is no shell script; it says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command. Words that only the shell knows are their own text, such as `$(date +%F)`."""

    words: tuple[str, ...]

    @property
    def program(self) -> str:
        """The program's name without its folder."""
        return PurePosixPath(self.words[0]).name


def typed(text: str) -> str:
    """Return what somebody types: of a block that shows prompts, only what stands behind them."""
    lines = text.splitlines()
    if not any(line.startswith(PROMPT) for line in lines):
        return text
    return "\n".join(line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)) + "\n"


def commands(text: str) -> list[Command]:
    """Return the commands of a script, outer ones first; of a wrapper such as `sudo`, the command that it runs as well.

    Raises:
        NoShell: with the line that is wrong.
    """
    tree = BASH.parse(text.encode())
    if tree.root_node.has_error:
        wrong = next(node for node in _all(tree.root_node) if node.is_error or node.is_missing)
        raise NoShell(f"line {wrong.start_point.row + 1} is no shell: {text.splitlines()[wrong.start_point.row]}")
    found = [Command(_words(node)) for node in _all(tree.root_node) if node.type == "command"]
    return [each for command in found if command.words for each in _unwrapped(command)]


def _all(node: Node) -> list[Node]:
    return [node, *(inner for child in node.children for inner in _all(child))]


def _words(command: Node) -> tuple[str, ...]:
    named = [child for child in command.named_children if child.type not in {"variable_assignment", "file_redirect"}]
    return tuple(_word(child) for child in named if "redirect" not in child.type)


def _word(node: Node) -> str:
    """Return a word without its quotes."""
    text = (node.text or b"").decode()
    if node.type in {"string", "raw_string"}:
        return text[1:-1]
    if node.type == "concatenation":
        return "".join(_word(child) for child in node.children)
    return text


def _unwrapped(command: Command) -> list[Command]:
    takes = WRAPPERS.get(command.program)
    if takes is None:
        return [command]
    rest = list(command.words[1:])
    while rest and (
        rest[0].startswith("-") or "=" in rest[0] or (command.program == "timeout" and rest[0][0].isdigit())
    ):
        option = rest.pop(0)
        if option in takes and rest:
            rest.pop(0)
    return [command, *(_unwrapped(Command(tuple(rest))) if rest else ())]
