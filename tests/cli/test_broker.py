"""A Mosquitto of our own, started for real: who may do what, what survives, and what is said when it cannot start."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest

from cli import broker as brokers
from cli.broker import CONTROLLER, BrokerError, Mosquitto, access_rules, find_mosquitto, password_hash, private_prefix
from tests.support.broker import kill, listening, require_mosquitto, running_broker, settings, until
from wire.topics import Address, Channel
from wire.transport import BrokerSettings, NotPublished

pytestmark = pytest.mark.broker

KNOWN_HASH = (
    base64.b64decode("OUQw5d3Uny1ZS/uR"),
    "$7$101$OUQw5d3Uny1ZS/uR$jc2EuWMxpWglHB0VEpNS52XEaHhYwnfrLijE8vu7kLhm9LjEMhV2OpGFuICta2UgsVvrSxTNOlRLdZfiaGCrgA==",
)


def catches(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(int(caught, 16) & 1 << (number - 1))


def topic(node: str, channel: Channel) -> str:
    return Address("main", node, channel).topic


@pytest.mark.parametrize("channel", [Channel.EVENT, Channel.STATUS, Channel.PRESENCE])
async def test_a_node_writes_its_own_branch_and_no_other(tmp_path: Path, channel: Channel) -> None:
    async with running_broker(tmp_path) as broker, listening(settings(broker, "n1")) as node:
        await node.transport.publish(topic("n1", channel), b"own")
        with pytest.raises(NotPublished, match="Not authorized"):
            await node.transport.publish(topic("n2", channel), b"another's")


@pytest.mark.parametrize("channel", [Channel.ORDER, Channel.ACK])
async def test_only_the_controller_speaks_to_nodes_and_each_node_hears_itself_alone(
    tmp_path: Path, channel: Channel
) -> None:
    async with (
        running_broker(tmp_path) as broker,
        listening(settings(broker)) as controller,
        listening(settings(broker, "n1"), topic("n1", channel), topic("n2", channel)) as node,
    ):
        with pytest.raises(NotPublished, match="Not authorized"):
            await node.transport.publish(topic("n1", channel), b"forged")
        await controller.transport.publish(topic("n2", channel), b"for n2")
        await controller.transport.publish(topic("n1", channel), b"for n1")
        await until(lambda: node.heard)
        await asyncio.sleep(0.2)

        assert node.payloads() == [b"for n1"]


async def test_nodes_do_not_hear_each_others_events(tmp_path: Path) -> None:
    async with (
        running_broker(tmp_path) as broker,
        listening(settings(broker), "#") as controller,
        listening(settings(broker, "n1")) as node,
        listening(settings(broker, "n2"), "#", topic("n1", Channel.EVENT)) as spy,
    ):
        await node.transport.publish(topic("n1", Channel.EVENT), b"secret")
        await until(lambda: controller.heard)
        await asyncio.sleep(0.2)

        assert spy.payloads() == []


@pytest.mark.parametrize(("username", "password"), [("", ""), ("n1", "wrong"), ("stranger", "any")])
async def test_nobody_connects_without_a_password(tmp_path: Path, username: str, password: str) -> None:
    async with running_broker(tmp_path) as broker:
        broker.credentials("n1")
        access = BrokerSettings(broker.url, "intruder", username, password)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0), listening(access):
                pass


async def test_credentials_given_to_a_running_broker_work_at_once_and_taken_away_do_not(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker, listening(settings(broker, "late")) as node:
        await node.transport.publish(topic("late", Channel.EVENT), b"here")
        assert node.connections == 1

        broker.forget("late")
        await until(lambda: not node.transport.connected)
        await asyncio.sleep(1.0)
        assert node.connections == 1


async def test_a_queue_and_a_retained_message_survive_a_stop(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        async with listening(settings(broker), topic("n1", Channel.EVENT)):
            pass
        async with listening(settings(broker, "n1")) as node:
            await asyncio.gather(
                *(node.transport.publish(topic("n1", Channel.EVENT), b"%d" % number) for number in range(1500))
            )
            await node.transport.publish(topic("n1", Channel.STATUS), b"level", retain=True)
        await broker.stop()
        await broker.start()
        async with listening(settings(broker), topic("n1", Channel.EVENT), topic("n1", Channel.STATUS)) as controller:
            await until(lambda: len(controller.heard) == 1501)

            assert controller.transport.session_present
            assert {*(b"%d" % number for number in range(1500)), b"level"} == set(controller.payloads())


async def test_it_comes_back_on_the_same_port_after_a_kill(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        url = broker.url
        await kill(broker)
        assert not broker.alive()
        await broker.start()

        assert (url, True) == (broker.url, broker.alive())


async def test_credentials_are_stable_and_private(tmp_path: Path) -> None:
    first = Mosquitto(tmp_path / "broker")
    given = [first.credentials(user) for user in (CONTROLLER, "n1")]
    again = Mosquitto(tmp_path / "broker")

    assert given == [again.credentials(user) for user in (CONTROLLER, "n1")]
    assert given[0][1] != given[1][1]
    async with running_broker(tmp_path / "broker") as broker:
        for path in broker.directory.iterdir():
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode & 0o077 == 0 or path == broker.log, f"{path.name} {mode:o}"
        assert stat.S_IMODE(broker.directory.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["", "n/1", "n+", "#", "a b", "ü", "-n"])
def test_a_name_that_is_unsafe_in_a_topic_gets_no_credentials(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not a name of letters"):
        Mosquitto(tmp_path).credentials(name)


def test_damaged_credentials_are_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"n1": ')
    with pytest.raises(BrokerError, match=r"credentials\.json cannot be read .*: restore it, or delete it"):
        Mosquitto(tmp_path).credentials("n1")


async def test_a_broker_left_over_by_a_killed_parent_is_ended_first(tmp_path: Path) -> None:
    require_mosquitto()
    script = (
        "import asyncio, sys, os\n"
        "from pathlib import Path\n"
        "from cli.broker import Mosquitto\n"
        "async def main():\n"
        "    broker = Mosquitto(Path(sys.argv[1]))\n"
        "    await broker.start()\n"
        "    print(broker.process.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await parent.communicate()
    left_over = int(output)
    assert _runs(left_over)
    async with running_broker(tmp_path) as broker:
        assert broker.alive()
        assert brokers._leftover(tmp_path) == broker.process.pid if broker.process else False
        assert not _runs(left_over)


def _runs(pid: int) -> bool:
    """Return whether the process lives; one that nobody has reaped yet does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    async with running_broker(tmp_path):
        with pytest.raises(BrokerError, match="Another running fleetmend uses"):
            await Mosquitto(tmp_path).start()


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    require_mosquitto()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        broker = Mosquitto(tmp_path, port=port)
        with pytest.raises(BrokerError, match=f"Port {port} for the broker cannot be used: Address already in use"):
            await broker.start()
        await broker.stop()


async def test_a_broker_that_does_not_start_says_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\necho 'Error: no luck today'\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("FLEETMEND_MOSQUITTO", str(program))
    broker = Mosquitto(tmp_path / "broker")
    with pytest.raises(BrokerError, match=r"did not start on port .*: .*Error: no luck today"):
        await broker.start()
    await broker.stop()


def test_the_program_is_looked_for_where_it_may_be(tmp_path: Path) -> None:
    def make(path: Path) -> Path:
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    named, on_path = make(tmp_path / "named" / "m"), make(tmp_path / "bin" / "mosquitto")
    environment = {"FLEETMEND_MOSQUITTO": str(named), "PATH": str(on_path.parent), "XDG_DATA_HOME": str(tmp_path)}
    assert find_mosquitto(environment) == named
    del environment["FLEETMEND_MOSQUITTO"]
    assert find_mosquitto(environment) == on_path
    unpacked = make(private_prefix(environment) / "usr" / "sbin" / "mosquitto")
    environment["PATH"] = str(tmp_path / "nothing")
    system = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    assert find_mosquitto(environment) == Path(system or unpacked)


def test_a_named_program_that_is_missing_is_an_error_and_not_passed_over() -> None:
    with pytest.raises(BrokerError, match="FLEETMEND_MOSQUITTO names /nowhere, which is not a program"):
        find_mosquitto({"FLEETMEND_MOSQUITTO": "/nowhere", "PATH": os.environ["PATH"]})


def test_a_password_is_hashed_as_mosquitto_passwd_does_it() -> None:
    """Known answer, written by mosquitto_passwd 2.0.11 for the password `secret`."""
    salt, expected = KNOWN_HASH
    assert password_hash("secret", salt=salt) == expected


def test_the_rules_name_the_cell_and_every_channel() -> None:
    rules = access_rules("west")
    assert [rules.count(f"pattern write fleetmend/v1/west/node/%u/{channel}\n") for channel in Channel] == [
        1,
        1,
        1,
        0,
        0,
    ]
    assert [rules.count(f"pattern read fleetmend/v1/west/node/%u/{channel}\n") for channel in Channel] == [
        0,
        0,
        0,
        1,
        1,
    ]


async def test_a_broker_that_has_started_outlives_the_signal_to_read_anew(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        assert broker.process is not None
        assert catches(broker.process.pid, signal.SIGHUP)


async def test_a_user_that_is_made_while_it_starts_is_known_once_it_has(tmp_path: Path) -> None:
    require_mosquitto()
    broker = Mosquitto(tmp_path)
    starting = asyncio.create_task(broker.start())
    await asyncio.sleep(0)
    broker.credentials("n1")
    await starting
    try:
        async with listening(settings(broker, "n1")) as listener:
            assert listener.connections == 1
    finally:
        await broker.stop()


async def test_who_chooses_the_client_id_of_another_pushes_nobody_out(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as broker:
        both = [
            BrokerSettings(broker.url, "fleetmend-controller-main", *broker.credentials(user))
            for user in (CONTROLLER, "n2")
        ]
        own = Address("main", "n2", Channel.EVENT).topic
        async with listening(both[0], own) as controller, listening(both[1]) as liar:
            await liar.transport.publish(own, b"1")
            await until(lambda: controller.payloads() == [b"1"])
            assert (controller.connections, liar.connections) == (1, 1)
