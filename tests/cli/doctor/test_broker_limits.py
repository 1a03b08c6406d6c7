"""The limits that come with fleetmend, in a real packet filter: what they hold back, and whom they let pass."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Final

import pytest

from cli.doctor.broker_limits import limited, listened
from cli.doctor.diagnosis import CannotLook
from cli.setting_up.broker import LIMITED, Listener, limits
from cli.setting_up.shipped import text
from tests.support.parts import missing

MIB: Final = 1 << 20
POURED: Final = 24 * MIB
AT_ONCE: Final = 8 * MIB
FOR_S: Final = 1.0

POUR: Final = f"""
import json, select, socket, subprocess, sys, time

def passed(source, port):
    sink = socket.create_server(("127.0.0.1", port))
    out = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
    taken, _ = sink.accept()
    out.setblocking(False)
    sent = heard = 0
    until = time.monotonic() + {FOR_S}
    while heard < {POURED} and time.monotonic() < until:
        readable, writable, _ = select.select([taken], [out] if sent < {POURED} else [], [], 0.1)
        if writable:
            sent += out.send(bytes(65536))
        if readable:
            heard += len(taken.recv(1 << 20))
    for each in (out, taken, sink):
        each.close()
    return heard

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["nft", "--file", "-"], input=sys.argv[1], text=True, check=True)
listed = subprocess.run(["nft", "--json", "list", "table", "inet", "fleetmend_broker"], capture_output=True, check=True)
told = [passed("127.0.0.66", 1883), passed("127.0.0.1", 1883), passed("127.0.0.66", 1884), listed.stdout.decode()]
print(json.dumps(told))
"""
"""In a network of its own: one that floods, this host itself, and one that floods a port that is no broker's."""


def in_own_network(*command: str) -> str:
    if os.geteuid() != 0 or shutil.which("nft") is None:
        missing("root, and nft")
    ended = subprocess.run(["unshare", "--net", *command], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_who_floods_the_broker_is_held_back_and_nobody_else() -> None:
    flood, this_host, elsewhere, listed = json.loads(in_own_network(sys.executable, "-c", POUR, limits(Listener())))
    assert AT_ONCE // 2 < flood < AT_ONCE + 2 * MIB, "what may be sent at once, and 256 KiB a second"
    assert (this_host, elsewhere) == (POURED, POURED)
    assert limited(listed) == {1883, 8883}


def test_they_may_be_loaded_again_and_say_so_when_they_are_not() -> None:
    twice = 'nft --file - <<<"$0" && nft --file - <<<"$0" && nft --json list table inet fleetmend_broker'
    assert limited(in_own_network("bash", "-c", twice, limits(Listener(port=9001)))) == {1883, 8883, 9001}
    ask = "from cli.doctor.broker_limits import _loaded; print(_loaded('nft'))"
    assert in_own_network(sys.executable, "-c", ask) == "None\n"


def test_the_file_that_comes_along_names_its_ports_once() -> None:
    assert text("fleetmend-broker.nft").count(LIMITED) == 1


@pytest.mark.parametrize(
    ("configuration", "ports"),
    [
        ("listener 1883\n", {1883}),
        ("listener 8883 10.0.0.1\nlistener 1883 127.0.0.1\nlistener 1884 localhost\n", {8883}),
        ("# listener 1\nlistener 0 /run/broker\nlistener\nlistener many\nlistener\t9001\n", {9001}),
        ("", set()),
    ],
)
def test_the_ports_that_others_reach(configuration: str, ports: set[int]) -> None:
    assert listened(configuration) == ports


@pytest.mark.parametrize("said", ["", "[]", "{}", '{"nftables": 1}', '{"nftables": [{"rule": 1}]}', "\udcff"])
def test_what_is_no_list_of_rules_is_not_taken_for_one(said: str) -> None:
    with pytest.raises(CannotLook, match="does not say what it limits"):
        limited(said)


def test_ports_by_number_by_set_and_by_span() -> None:
    rights = [1883, {"set": [8883, {"range": [9001, 9003]}]}, "@others", {"prefix": {"addr": "::", "len": 8}}]
    rules = [{"rule": {"expr": [{"match": {"right": right}}, {"accept": None}]}} for right in rights]
    assert limited(json.dumps({"nftables": rules})) == {1883, 8883, 9001, 9002, 9003}
