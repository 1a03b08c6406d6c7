"""What one hostile node costs the others: from a finding at the broker to its acknowledgement as stored.

A real Mosquitto, a real controller, four hundred nodes that say thirty findings a second between them, and one node
that speaks as fast as its connection carries, by its own valid credentials. In the same run and by turns, the same
process says the same to a second broker that the controller does not hear: what is compared is what the flood does to
the others, and not that the flooder, whom a controller does not share its host with, works on the same processors.

Run as root it has a network of its own, in which systemd/fleetmend-broker.nft limits each address as it is meant to on
a broker's host; `--unlimited` leaves that out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from benchmarks.bench_cell import BenchCell, bench_cell
from benchmarks.fleet_traffic import CELL, Wire, envelope, fault, level, node_name, online, raised
from benchmarks.report import Row, percentile, publish
from checks.finding import Verdict
from tests.support.broker import BrokerOfTests
from wire.messages import MAX_BYTES, FindingRaised
from wire.topics import Address, Channel

NODES: Final = 400
EVERY_S: Final = 1 / 30
HOSTILE: Final = "hostile"
CODES: Final = ("13", "31", "43", "45", "68", "69")
"""Faults of programs, which no playbook acts on."""

ADDRESS: Final = "127.0.0.66"
RULES: Final = Path(__file__).parents[1] / "systemd" / "fleetmend-broker.nft"
LIMITED: Final = "FLEETMEND_HOSTILE_LIMITED"
"""In the environment of the one that has a network of its own."""

EVENT: Final = Address(CELL, HOSTILE, Channel.EVENT).topic
AIM: Final = 1.1

Said = Iterator[tuple[str, bytes]]


def _events() -> Said:
    """Findings, each of its own device."""
    for seq in itertools.count(1):
        yield raised(HOSTILE, seq, fault(CODES[seq % len(CODES)], f"GPU-{seq}", verdict=Verdict.DEGRADED))


def _levels() -> Said:
    """Levels with two hundred findings, of which some are new each time."""
    for number in itertools.count(1):
        yield level(HOSTILE, [fault("13", f"GPU-{number * 7 + n}", verdict=Verdict.DEGRADED) for n in range(200)])


def _junk() -> Said:
    """Bytes that mean nothing."""
    for number in itertools.count(1):
        yield EVENT, b"\xff{" * 200 + str(number).encode()


def _large() -> Said:
    """Messages a little below the broker's limit."""
    evidence = {"x": "x" * (MAX_BYTES - 2_000)}
    for seq in itertools.count(1):
        finding = replace(fault("13", "GPU-0", verdict=Verdict.DEGRADED), evidence=evidence)
        yield EVENT, envelope(HOSTILE, FindingRaised(finding, time.time()), seq=seq)


FLOODS: Final[dict[str, Callable[[], Said]]] = {"events": _events, "levels": _levels, "junk": _junk, "large": _large}


def flood(port: int, password: str, kind: str) -> None:
    """Be the hostile node: speak until the process is ended, and say so once it begins.

    What it says is made beforehand, so that it is as fast as its connection; sequence numbers repeat after that.
    """
    made = list(itertools.islice(FLOODS[kind](), 50 if kind == "large" else 20_000))
    with Wire(port, HOSTILE, password, HOSTILE, ADDRESS) as wire:
        print("speaks", flush=True)
        with contextlib.suppress(ConnectionError, OSError):
            for topic, payload in itertools.cycle(made):
                wire.publish(topic, payload)


@contextlib.contextmanager
def flooding(broker: BrokerOfTests, kind: str) -> Iterator[None]:
    """Have the hostile node speak to a broker meanwhile."""
    password = broker.credentials(HOSTILE)[1]
    command = [sys.executable, "-m", "benchmarks.hostile", "--flood", str(broker.door), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{password}\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == "speaks"
        try:
            yield
        finally:
            process.send_signal(signal.SIGKILL)


@dataclass(slots=True)
class Others:
    """The nodes that are well: what they said and when it was acknowledged. Times are seconds."""

    wire: Wire
    seq: int = 0
    _sent_at: dict[tuple[str, int], float] = field(default_factory=dict)
    _took_s: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """Come online."""
        self.wire.stored = self._stored
        self.wire.hear_acknowledgements()
        for number in range(NODES):
            self.wire.publish(*online(node_name(number)))
        self.wire.flush()

    def speak(self, lasts_s: float) -> list[float]:
        """Say findings for so long, and return how long each took to be stored.

        Raises:
            AssertionError: one is not stored.
        """
        self._took_s = []
        began = time.monotonic()
        for number in itertools.count():
            due = began + number * EVERY_S
            if due - began > lasts_s:
                break
            while (left := due - time.monotonic()) > 0:
                self.wire.listen(left)
            self._say()
        until = time.monotonic() + 30.0
        while self._sent_at and time.monotonic() < until:
            self.wire.listen(0.05)
        assert not self._sent_at, f"{len(self._sent_at)} findings of nodes that are well are not stored"
        return self._took_s

    def _say(self) -> None:
        self.seq += 1
        node = node_name(self.seq % NODES)
        finding = fault(CODES[self.seq % len(CODES)], f"GPU-{self.seq % 8}", verdict=Verdict.DEGRADED)
        self._sent_at[node, self.seq] = time.monotonic()
        self.wire.publish(*raised(node, self.seq, finding))

    def _stored(self, node: str, seqs: list[int]) -> None:
        now = time.monotonic()
        self._took_s += [now - sent for seq in seqs if (sent := self._sent_at.pop((node, seq), None)) is not None]


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of flood: what findings took with it elsewhere and with it here, and the controller's MiB after each."""

    kind: str
    elsewhere_s: list[float]
    here_s: list[float]
    resident_mib: list[float]


def measure(cell: BenchCell, decoy: BrokerOfTests, kind: str, *, rounds: int, lasts_s: float) -> Measured:
    """Let the flood go here and elsewhere by turns. The first seconds here are its burst, and are not measured."""
    with flooding(cell.broker, kind):
        time.sleep(lasts_s)
    found = Measured(kind, [], [], [])
    with cell.wire("others") as wire:
        others = Others(wire, seq=int(time.time()))
        others.begin()
        for _ in range(rounds):
            for broker, taken in ((decoy, found.elsewhere_s), (cell.broker, found.here_s)):
                with flooding(broker, kind):
                    time.sleep(1.0)
                    taken += others.speak(lasts_s)
            found.resident_mib.append(cell.usage()[1])
    return found


def rows_of(found: Measured) -> list[Row]:
    """Return the figures of one kind of flood."""
    here, elsewhere = statistics.median(found.here_s), statistics.median(found.elsewhere_s)
    return [
        Row(f"{found.kind}: finding → stored, flood elsewhere, p50", elsewhere * 1e3, "ms"),
        Row(f"{found.kind}: finding → stored, flood here, p50", here * 1e3, "ms"),
        Row(f"{found.kind}: ratio of the medians", here / elsewhere, "×", f"≤ {AIM}"),
        Row(f"{found.kind}: p99, elsewhere", percentile(found.elsewhere_s, 0.99) * 1e3, "ms"),
        Row(f"{found.kind}: p99, here", percentile(found.here_s, 0.99) * 1e3, "ms"),
        Row(f"{found.kind}: controller, last round", found.resident_mib[-1], "MiB"),
        Row(f"{found.kind}: controller, grown since the first", found.resident_mib[-1] - found.resident_mib[0], "MiB"),
    ]


@contextlib.asynccontextmanager
async def decoy_at(folder: Path) -> AsyncIterator[BrokerOfTests]:
    """Run a broker that nobody listens to."""
    broker = BrokerOfTests(folder)
    broker.credentials(HOSTILE)
    await broker.start()
    yield broker
    await broker.stop()


def in_own_network() -> None:
    """Begin anew in a network of its own, unless this is it already."""
    if LIMITED not in os.environ:
        command = ["unshare", "--net", sys.executable, "-m", "benchmarks.hostile", *sys.argv[1:]]
        os.execvpe(command[0], command, {**os.environ, LIMITED: "1"})  # noqa: S606 - this program itself
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def limit(*ports: int) -> None:
    """Limit what each address sends to these ports."""
    rules = RULES.read_text().replace("{ 1883, 8883 }", f"{{ {', '.join(map(str, ports))} }}")
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


async def main(kinds: list[str], *, rounds: int, lasts_s: float, limited: bool) -> None:
    """Measure each kind of flood on a cell of its own."""
    rows = []
    for kind in kinds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            async with bench_cell(folder / "cell") as cell, decoy_at(folder / "decoy") as decoy:
                cell.broker.credentials(HOSTILE)
                if limited:
                    limit(cell.broker.door, decoy.door)
                await asyncio.to_thread(cell.start)
                rows += rows_of(await asyncio.to_thread(measure, cell, decoy, kind, rounds=rounds, lasts_s=lasts_s))
    about = "one node floods, slowed by its address" if limited else "one node floods, and no address is limited"
    publish("hostile", rows, about=f"{about}; what the others' findings take to be stored")


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--flood", nargs=2, metavar=("PORT", "KIND"), help=argparse.SUPPRESS)
    asked.add_argument("--rounds", type=int, default=4)
    asked.add_argument("--seconds", type=float, default=10.0, help="of a stretch")
    asked.add_argument("--unlimited", action="store_true", help="without the limits of the broker's host")
    asked.add_argument("kinds", nargs="*", help=f"of {', '.join(FLOODS)}")
    given = asked.parse_args()
    if given.flood:
        flood(int(given.flood[0]), sys.stdin.readline().strip(), given.flood[1])
    else:
        is_limited = os.geteuid() == 0 and not given.unlimited
        if is_limited:
            in_own_network()
        kinds = given.kinds or list(FLOODS)
        asyncio.run(main(kinds, rounds=given.rounds, lasts_s=given.seconds, limited=is_limited))
