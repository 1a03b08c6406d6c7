"""Which BMC a node has, and the account on it. A password is read from its file whenever it is needed, and not kept.

By a pattern (`https://{node}-bmc.example`), by a CSV file, by the settings: the nearer to the node, the stronger.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from controller.errors import Permanent
from controller.schedulers.hostlist import expand
from wire.files import SecretError, check_secret
from wire.topics import NAME

PLACE = "{node}"
NODE = "node"


@dataclass(frozen=True, slots=True)
class Bmc:
    """One BMC, and an account on it.

    Attributes:
        address: of Redfish `https://host[:port]`, of IPMI `host[:port]`; `{node}` stands for the node's name.
        password_file: holds the password and nothing else.
        system: id of the node among the systems that the BMC knows, empty where there is only one.
        fingerprint: SHA-256 of its certificate in hex, empty where a CA vouches for it.
    """

    address: str = ""
    user: str = ""
    password_file: Path | None = None
    system: str = ""
    fingerprint: str = ""

    def over(self, usual: Bmc) -> Bmc:
        """Return this one, with what it does not say as usual."""
        said = {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name)}
        return replace(usual, **said)

    def password(self) -> str:
        """Return the password.

        Raises:
            Permanent: its file cannot be read, or is empty.
        """
        if self.password_file is None:
            raise Permanent(f"no password_file and no credential is given for the BMC {self.address}")
        try:
            check_secret(self.password_file)
            password = self.password_file.read_text("utf-8").strip("\r\n")
        except SecretError as error:
            raise Permanent(f"the password of the BMC {self.address}: {error}") from error
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise Permanent(f"{self.password_file}, the password of the BMC {self.address}: {why}") from error
        if not password or not password.isprintable():
            raise Permanent(f"{self.password_file} has to hold the password of the BMC and nothing else, on one line")
        return password


@dataclass(frozen=True, slots=True)
class Bmcs:
    """Every BMC.

    Attributes:
        usual: for nodes that are not named; its address has `{node}` in it, or is empty.
        named: node → what is different there, complete.
    """

    usual: Bmc = Bmc()
    named: Mapping[str, Bmc] = field(default_factory=dict)

    def of(self, node: str) -> Bmc:
        """Return the BMC of a node.

        Raises:
            Permanent: none is known.
        """
        found = self.named.get(node, self.usual)
        if not NAME.fullmatch(node) or not found.address:
            raise Permanent(f"no BMC is known of {node}: [power] has no address for it, nor has the file of BMCs")
        return replace(found, address=found.address.replace(PLACE, node))

    def each(self) -> Iterator[Bmc]:
        """Yield every account once, as it is written down."""
        yield from dict.fromkeys((self.usual, *self.named.values()))


COLUMNS = (NODE, "address", "user", "password_file", "system", "fingerprint")


def read_file(path: Path) -> tuple[dict[str, Bmc], list[str]]:
    """Return the BMCs of a CSV file, node → what it says, and every problem with file and line.

    Its first line names the columns: `node`, a name or a hostlist (`gpu[001-128]`), and any of the others. Lines that
    begin with `#` say nothing.
    """
    try:
        lines = path.read_text("utf-8").removeprefix("\ufeff").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"{path}: cannot be read: {error}"]
    rows = [(number, _cells(line)) for number, line in enumerate(lines, 1) if line.strip() and line.lstrip()[0] != "#"]
    if not rows:
        return {}, [f"{path}: it is empty: its first line has to name columns, of {', '.join(COLUMNS)}"]
    columns = rows[0][1]
    wrong = [name for name in columns if name not in COLUMNS or columns.count(name) > 1]
    if wrong or NODE not in columns:
        what = f"column {wrong[0]!r} is not known, or twice" if wrong else "there is no column `node`"
        return {}, [f"{path}:{rows[0][0]}: {what}; there may be {', '.join(COLUMNS)}"]
    return _read_rows(path, columns, rows[1:])


def _cells(line: str) -> list[str]:
    """Return the cells of a line; a hostlist's own commas are none of its ends."""
    depth, marked = 0, ""
    for letter in line:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        marked += "\x1f" if letter == "," and depth > 0 else letter
    return [cell.replace("\x1f", ",").strip() for cell in next(csv.reader([marked]), [])]


def _read_rows(
    path: Path, columns: Sequence[str], rows: Sequence[tuple[int, list[str]]]
) -> tuple[dict[str, Bmc], list[str]]:
    found: dict[str, Bmc] = {}
    problems: list[str] = []
    for number, cells in rows:
        if len(cells) != len(columns):
            problems.append(f"{path}:{number}: {len(cells)} cells, and there are {len(columns)} columns")
            continue
        row = dict(zip(columns, cells, strict=True))
        nodes, flaw = _nodes(row.pop(NODE))
        twice = next((node for node in nodes if node in found), "")
        flaw = flaw or (f"an earlier line has the BMC of {twice} already" if twice else "")
        if flaw:
            problems.append(f"{path}:{number}: node: {flaw}")
            continue
        found |= dict.fromkeys(nodes, _bmc(row))
    return found, problems


def _bmc(row: Mapping[str, str]) -> Bmc:
    file = row.get("password_file", "")
    others = {name: text for name, text in row.items() if name != "password_file"}
    return Bmc(**others, password_file=Path(file) if file else None)


def _nodes(text: str) -> tuple[list[str], str]:
    try:
        nodes = [text] if NAME.fullmatch(text) else expand(text)
    except ValueError as error:
        return [], str(error)
    wrong = next((node for node in nodes if not NAME.fullmatch(node)), None)
    if not nodes or wrong is not None:
        return [], f"{wrong or text!r} is not the name of a node"
    return nodes, ""
