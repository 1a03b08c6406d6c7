"""In place of ib_write_bw and ib_write_lat, which need an adapter: a server that listens, a client that reports.

Run as `program.py <name of the program> <folder> <arguments>`; the folder's `says.json` says how it behaves.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLIENT_OF = "127.0.0.1"
BANDWIDTH = {"MsgSize": 1048576, "n_iterations": 46000, "BW_peak": 0.0, "MsgRate": 0.046724}
LATENCY = {"MsgSize": 2, "n_iterations": 5000, "t_min": 1.02, "t_max": 4.4, "t_typical": 1.1, "t_avg": 1.12}
TAIL = {"t_stdev": 0.1, "percentile_99": 1.4, "percentile_99.9": 2.2}


def main(name: str, folder: Path, arguments: Sequence[str]) -> int:
    """Be the program."""
    says = json.loads((folder / "says.json").read_text())
    if list(arguments) == ["--help"]:
        print_help(says)
        return 0
    with (folder / "asked").open("a") as log:
        log.write(" ".join([name, *arguments]) + "\n")
    if after("-d", arguments) in says["broken"]:
        print("Failed to modify QP to RTR", file=sys.stderr)
        return 1
    if arguments[-1] != CLIENT_OF:
        serve(int(after("-p", arguments)))
        return 0
    with socket.create_connection((CLIENT_OF, int(after("-p", arguments)))) as server:
        if says["hangs"]:
            server.recv(1)
        server.send(b"x")
    write_report(name, says, arguments)
    return 0


def print_help(says: dict[str, Any]) -> None:
    """Print the options that are looked for."""
    print("  -d, --ib-dev=<dev>  Use IB device <dev> (default first device found)")
    if says["reports"]:
        print("      --out_json_file=<file>  Name of the report json file.")
    if says["gpu"]:
        print("      --use_cuda_bus_id=<cuda full BUS id> Use CUDA specific device")


def serve(port: int) -> None:
    """Wait for one client, and for what it sends."""
    with socket.create_server((CLIENT_OF, port)) as server, server.accept()[0] as client:
        client.recv(1)


def write_report(name: str, says: dict[str, Any], arguments: Sequence[str]) -> None:
    """Write the report; releases up to 4.5 leave the quotes out."""
    quote = '"' if says["release"] == "new" else ""
    rate = says["rates"].get(after("-d", arguments), 392.0)
    results = {**BANDWIDTH, "BW_average": rate} if name == "ib_write_bw" else {**LATENCY, **TAIL}
    lines = ["{", f"{quote}test_info{quote}: {{", f"{quote}TX_depth{quote} : 128,", "},", f"{quote}results{quote}: {{"]
    lines += [f"{quote}{key}{quote}: {number}," for key, number in results.items()] + ["}", "}"]
    report = next(each.partition("=")[2] for each in arguments if each.startswith("--out_json_file="))
    Path(report).write_text("\n".join(lines) + "\n")


def after(flag: str, arguments: Sequence[str]) -> str:
    """Return the value of a flag."""
    return arguments[list(arguments).index(flag) + 1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
