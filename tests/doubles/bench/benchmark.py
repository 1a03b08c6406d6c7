"""A benchmark's process, in place of those that need a GPU: it behaves in the manner that its arguments name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from agent.bench.child import Broken, NotHere, Progress, Rendezvous, Say, carry_out
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchNumber, BenchResult
from wire.bench import BenchWish

SLEEPER = ("sleep", "3600")


def measures(wish: BenchWish, say: Say) -> BenchResult:
    """Say how far it is, as fast as it can, and a number."""
    for share in range(5):
        say(Progress(share / 4, f"part {share}"))
    return BenchResult(wish.benchmark, Outcome.PASS, "measured", (BenchNumber("hbm_copy_gbytes_per_s", 3000.0),))


def meets(wish: BenchWish, say: Say) -> BenchResult:
    """Be rank 0."""
    say(Rendezvous("c0ffee"))
    return measures(wish, say)


def stays(wish: BenchWish, say: Say) -> BenchResult:
    """Work for ever, and write down who does."""
    _write_down()
    say(Progress(0.5, wish.lease))
    while True:
        time.sleep(0.05)


def in_pieces(wish: BenchWish, say: Say) -> BenchResult:
    """Work for ever in pieces of one second, and heed SIGTERM between them."""
    ended = [False]
    signal.signal(signal.SIGTERM, lambda *_: ended.__setitem__(0, True))
    _write_down()
    say(Progress(0.5, wish.lease))
    while not ended[0]:
        time.sleep(1.0)
    raise Broken("it was told to end")


def stubborn(wish: BenchWish, say: Say) -> BenchResult:
    """Work for ever, with a tool beside it, both of which SIGTERM does not end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tool = subprocess.Popen(SLEEPER)
    _write_down(tool.pid)
    say(Progress(0.5, wish.lease))
    while True:
        time.sleep(0.05)


def strays(wish: BenchWish, say: Say) -> BenchResult:
    """Leave a tool behind, in a session of its own."""
    tool = subprocess.Popen(SLEEPER, start_new_session=True)
    _write_down(tool.pid)
    return measures(wish, say)


def changes(wish: BenchWish, say: Say) -> BenchResult:
    """Change how the first GPU is set, as tools do that lock its clocks, and count an error."""
    with Path(os.environ["NVML_DOUBLE_STATE"]).open("a") as state:
        state.write("gpu 0 persistence 0\ngpu 0 clocks 345 2619 1980 2619 1200 2619\n")
    return measures(wish, say)


def changes_and_stays(wish: BenchWish, say: Say) -> BenchResult:
    """Change how the first GPU is set, and work for ever."""
    changes(wish, say)
    return stays(wish, say)


def counts(wish: BenchWish, say: Say) -> BenchResult:
    """Have an uncorrected error of memory counted."""
    with Path(os.environ["NVML_DOUBLE_STATE"]).open("a") as state:
        state.write("gpu 0 ecc 3 1\n")
    return measures(wish, say)


def dies(_: BenchWish, __: Say) -> BenchResult:
    """End without a result."""
    print("libnccl.so.2: cannot open shared object file", file=sys.stderr, flush=True)
    os._exit(3)


def breaks(_: BenchWish, __: Say) -> BenchResult:
    """Not be able to test."""
    raise Broken("libnccl is not here")


def lacks(_: BenchWish, __: Say) -> BenchResult:
    """Have nothing to test."""
    raise NotHere("there is no RDMA device")


def lies(_: BenchWish, __: Say) -> BenchResult:
    """Give the result of another benchmark."""
    return BenchResult(Benchmark.STORAGE, Outcome.PASS, "measured")


def _write_down(*others: int) -> None:
    """Write the processes into the file that the second argument names."""
    new = Path(f"{sys.argv[2]}.new")
    new.write_text(" ".join(str(pid) for pid in (os.getppid(), os.getpid(), *others)))
    new.replace(sys.argv[2])


if __name__ == "__main__":
    if sys.argv[1] == "babbles":
        print("Initialising NCCL ...", flush=True)
    else:
        carry_out(globals()[sys.argv[1]])
