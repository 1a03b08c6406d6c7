"""What each check of the doctor makes of its facts: a table of faults with what is said of them, and of good hosts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest

from checks.readings import TimeReading
from cli.broker_trial import Seen
from cli.doctor.broker_limits import Limits
from cli.doctor.broker_open import ANYBODY, NOBODY, Visit
from cli.doctor.broker_reached import Reached
from cli.doctor.broker_rules import Rules
from cli.doctor.certificates import Certificate
from cli.doctor.device_rights import Rights
from cli.doctor.diagnosis import Role, Severity
from cli.doctor.disk_room import GIB, Room
from cli.doctor.drop_ins import DropIns
from cli.doctor.gpu_driver import Driver
from cli.doctor.gpu_services import Services
from cli.doctor.kernel_log import KernelLog
from cli.doctor.listeners import Listener
from cli.doctor.owners import Owned
from cli.doctor.plain_text import Way
from cli.doctor.playbooks import Playbooks
from cli.doctor.registry import CHECKS
from cli.doctor.scheduler import Scheduler
from cli.doctor.secret_files import OTHERS, WRITERS
from cli.doctor.secret_files import Seen as File
from cli.doctor.settings import Written
from cli.doctor.sight import Blind, Sight
from cli.doctor.signing_key import Key
from cli.doctor.store import Store
from cli.doctor.tools import Looked
from cli.doctor.trusted_keys import Trust
from cli.doctor.versions import Versions
from cli.setting_up.systemd import Unit

UNSAFE, MISSING, UNKNOWN, ADVICE, FINE = Severity
NONE: Final = frozenset[str]()
UNIT: Final = Unit("fleetmend-agent.service", "loaded", "enabled", "active", watchdog="1min")
AGENT, CONTROLLER = "fleetmend-agent", "fleetmend-controller"
BROKER: Final = "b.example:1883"
GOOD_RULES: Final = {
    "allow_anonymous": "false",
    "acl_file": "/etc/fleetmend/broker/acl",
    "use_username_as_clientid": "true",
    "max_queued_messages": "1000000",
    "persistence": "true",
}


def unit(**other: Any) -> list[Unit]:
    return [Unit(**{**{name: getattr(UNIT, name) for name in UNIT.__slots__}, **other})]


def rules(**other: str) -> Rules:
    return Rules("mosquitto.conf", {**GOOD_RULES, **other})


def visit(**seen: Any) -> list[Visit]:
    return [Visit(ANYBODY, Seen(BROKER, **{"reached": True, "let_in": True, **seen}))]


def ended(days: float, key: str = "broker.certificate_file") -> list[Certificate]:
    return [Certificate("c.pem", key, timedelta(days=days))]


CASES: Final[tuple[tuple[str, Any, Severity, str], ...]] = (
    ("settings", [Written(Role.AGENT, "a.toml", True, "")], FINE, "a.toml is right"),
    ("settings", [Written(Role.AGENT, "a.toml", False, "")], MISSING, "There is no a.toml"),
    ("settings", [Written(Role.AGENT, "a.toml", True, "a.toml: node: bad")], MISSING, "a.toml: node: bad"),
    ("secret_files", [File("s", "secret", 0o600, OTHERS, 0o600)], FINE, "closed to others"),
    ("secret_files", [File("s", "secret", 0o640, OTHERS, 0o600)], UNSAFE, "can be read by others: its mode is 0640"),
    ("secret_files", [File("s", "settings", 0o664, WRITERS, 0o644)], UNSAFE, "can be changed by others than root"),
    ("secret_files", [File("s", "secret", None, OTHERS, 0o600)], MISSING, "is not there"),
    ("owners", [Owned("s", "root", ("root",))], FINE, "belong to whom they should"),
    ("owners", [Owned("s", "alice", ("root",))], UNSAFE, "belongs to alice, and should to root"),
    ("signing_key", Key("k", "ID"), FINE, "signed with the key ID"),
    ("signing_key", Key("k", "", "k is not there"), MISSING, "Nodes obey nothing: k is not there"),
    ("trusted_keys", Trust(("ID",), ()), FINE, "signed with ID"),
    ("trusted_keys", Trust((), ()), ADVICE, "refuses every order"),
    ("services", unit(status="Leads."), FINE, "runs: Leads."),
    ("services", unit(load="not-found"), MISSING, "fleetmend-agent.service is not-found"),
    ("services", unit(active="failed", result="exit-code"), MISSING, "does not run: it is failed (exit-code)"),
    ("services", unit(enabled="disabled"), MISSING, "does not start with the host"),
    ("services", unit(needs_reload=True), ADVICE, "changed since systemd read them"),
    (
        "drop_ins",
        [DropIns(AGENT, frozenset({"credentials.conf"}), True, True, NONE)],
        FINE,
        "those that its settings need",
    ),
    ("drop_ins", [DropIns(AGENT, NONE, True, True, NONE)], MISSING, "handed none"),
    (
        "drop_ins",
        [DropIns(AGENT, frozenset({"credentials.conf"}), False, False, NONE)],
        MISSING,
        "does not start: there is no",
    ),
    (
        "drop_ins",
        [DropIns(AGENT, NONE, False, True, frozenset({"reboot"}))],
        MISSING,
        "order reboot, and its unit may not",
    ),
    ("drop_ins", [DropIns(AGENT, frozenset({"repairs.conf"}), False, True, NONE)], UNSAFE, "it runs as root"),
    (
        "drop_ins",
        [DropIns(AGENT, frozenset({"benchmarks.conf"}), False, True, NONE)],
        ADVICE,
        "none of its orders needs",
    ),
    ("watchdog", unit(), FINE, "ended when it hangs for 1min"),
    ("watchdog", unit(watchdog="0"), MISSING, "Nobody notices when fleetmend-agent hangs"),
    ("watchdog", unit(watchdog="infinity"), MISSING, "Nobody notices"),
    ("broker_reached", [Reached(AGENT, True, False, (BROKER,), {})], FINE, "holds its connection"),
    ("broker_reached", [Reached(AGENT, False, False, (BROKER,), {})], FINE, "is let in"),
    ("broker_reached", [Reached(CONTROLLER, True, True, (), {})], FINE, "stands by"),
    (
        "broker_reached",
        [Reached(AGENT, True, False, (), {BROKER: ""})],
        MISSING,
        f"no connection to the broker at {BROKER}",
    ),
    ("broker_reached", [Reached(AGENT, False, False, (), {BROKER: "refused"})], MISSING, f"({BROKER}: refused)"),
    ("broker_open", visit(let_in=False), FINE, "lets no stranger in"),
    ("broker_open", visit(may_write=True), UNSAFE, "may write what a controller believes"),
    ("broker_open", visit(may_write=None), UNSAFE, "lets in whoever gives no name"),
    ("broker_open", visit(may_write=False), ADVICE, "may write nothing of the cell"),
    ("broker_open", visit(reached=False, let_in=False, because="refused"), UNKNOWN, "No broker answers"),
    ("broker_open", [Visit(NOBODY, Seen(BROKER, True, True, True))], UNSAFE, "a name that nobody has"),
    ("broker_rules", rules(), FINE, "holds each to what is theirs"),
    ("broker_rules", rules(allow_anonymous="true"), UNSAFE, "lets in whoever gives no name"),
    ("broker_rules", Rules("m", {k: v for k, v in GOOD_RULES.items() if k != "acl_file"}), UNSAFE, "names no acl_file"),
    ("broker_rules", rules(use_username_as_clientid="false"), UNSAFE, "push the other out"),
    ("broker_rules", rules(max_queued_messages="1000"), MISSING, "keeps too few messages"),
    ("broker_rules", rules(persistence="false"), MISSING, "keeps nothing over a restart"),
    ("broker_limits", Limits(True, frozenset({8883}), frozenset({1883, 8883})), FINE, "send to the broker is limited"),
    ("broker_limits", Limits(False, frozenset()), FINE, "listens to this host alone"),
    ("broker_limits", Limits(False, frozenset({8883})), ADVICE, "it can slow all others down"),
    ("broker_limits", Limits(True, frozenset({8883})), MISSING, "the rules are not loaded"),
    (
        "broker_limits",
        Limits(True, frozenset({1883, 9001}), frozenset({1883})),
        MISSING,
        "the broker's port 9001 is not limited",
    ),
    ("plain_text", [Way("f", (), True)], FINE, "Nothing goes to the broker in plain text"),
    ("plain_text", [Way("f", (BROKER,), True)], UNSAFE, "The password and everything that is said go"),
    ("plain_text", [Way("f", ("1883",), True, True)], UNSAFE, "takes passwords without TLS"),
    ("listeners", [Listener("m", True, False, False, "read its metrics")], FINE, "only this machine reaches it"),
    (
        "listeners",
        [Listener("m", False, False, False, "read its metrics")],
        ADVICE,
        "whoever reaches it may read its metrics",
    ),
    ("listeners", [Listener("p", False, False, True, "cordon")], UNSAFE, "whoever reaches it may cordon"),
    ("listeners", [Listener("p", False, True, False, "cordon")], UNSAFE, "whoever reaches it may cordon"),
    ("listeners", [Listener("p", False, True, True, "cordon")], FINE, "speaks TLS and asks who one is"),
    ("certificates", [], FINE, "No certificate is used"),
    ("certificates", ended(300), FINE, "is good for 300 days"),
    ("certificates", ended(3), MISSING, "is good for 3.0 days only"),
    ("certificates", ended(-2), MISSING, "is good no longer, since 2 days"),
    ("certificates", ended(15, "broker.ca_file"), ADVICE, "is good for 15 days"),
    ("certificates", [Certificate("c", "k", None, "no such file")], MISSING, "cannot be used: no such file"),
    ("scheduler", Scheduler("none"), FINE, "No scheduler is asked"),
    ("scheduler", Scheduler("kubernetes", 8), FINE, "knows 8 nodes"),
    ("scheduler", Scheduler("slurm", failure="down"), MISSING, "does not answer: down"),
    ("scheduler", Scheduler("slurm", 0, is_administrator=True), MISSING, "knows no node"),
    (
        "scheduler",
        Scheduler("slurm", 8, is_administrator=False),
        MISSING,
        "does not let the user fleetmend change nodes",
    ),
    ("scheduler", Scheduler("slurm", 8), UNKNOWN, "does not say whether"),
    ("store", Store(), FINE, "a file in the state directory"),
    ("store", Store("postgresql://p/f", False, True), FINE, "answers by TLS"),
    ("store", Store("postgresql://p/f", False, False), UNSAFE, "over the network without TLS"),
    ("store", Store("postgresql://p/f", failure="cannot reach it"), MISSING, "Cannot reach it."),
    ("playbooks", Playbooks("", True, ()), FINE, "that come with fleetmend are right"),
    ("playbooks", Playbooks("/p", False, ()), MISSING, "there is no such folder"),
    ("playbooks", Playbooks("/p", True, ("p.yaml:1: bad",)), MISSING, "p.yaml:1: bad"),
    ("versions", Versions("0.3.0", {"0.3.0": 7}), FINE, "are of version 0.3.0"),
    ("versions", Versions("0.3.0", {"0.1.2": 7}), ADVICE, "7 nodes run 0.1.2"),
    ("versions", Versions("0.4.0", {"0.1.2": 1}), MISSING, "1 node runs 0.1.2, too far from 0.4.0"),
    ("versions", Versions("0.3.0", {}, "it asks who one is."), ADVICE, "are not known: it asks who one is."),
    ("log_level", [("f", AGENT, "info")], FINE, "logs what it does"),
    ("log_level", [("f", AGENT, "debug")], ADVICE, "which fills the journal"),
    ("log_level", [("f", AGENT, "error")], ADVICE, "too little to follow"),
    ("disk_room", [Room("d", 50 * GIB, 100 * GIB)], FINE, "50.0 GiB of 100 GiB are free for d"),
    ("disk_room", [Room("d", 5 * GIB, 100 * GIB)], ADVICE, "5.0 GiB of 100 GiB"),
    ("disk_room", [Room("d", GIB // 2, 100 * GIB)], MISSING, "findings will be lost"),
    ("clock", TimeReading(0.0, "chrony", True, 0.0), FINE, "kept by chrony"),
    ("clock", TimeReading(0.0, "chrony", False), MISSING, "follow no source"),
    ("clock", TimeReading(0.0, "chrony", True, 60.0), MISSING, "The clock is 60.0 s off"),
    ("clock", TimeReading(0.0), ADVICE, "Nobody here says"),
    ("kernel_log", KernelLog("/dev/kmsg", True, True, AGENT, frozenset({"cap_syslog"})), FINE, "may read /dev/kmsg"),
    ("kernel_log", KernelLog("/dev/kmsg", True, False, AGENT, NONE), FINE, "may read /dev/kmsg"),
    ("kernel_log", KernelLog("/dev/kmsg", True, True, AGENT, NONE), MISSING, "may not read /dev/kmsg"),
    ("kernel_log", KernelLog("/dev/kmsg", False, True, "root", NONE), MISSING, "There is no /dev/kmsg"),
    ("gpu_driver", Driver(0, "", ""), FINE, "No GPU of NVIDIA"),
    ("gpu_driver", Driver(8, "580.1", "libnvidia-ml.so.1"), FINE, "8 GPUs have the driver 580.1"),
    ("gpu_driver", Driver(8, "", "libnvidia-ml.so.1"), MISSING, "no driver is loaded"),
    ("gpu_driver", Driver(8, "580.1", ""), MISSING, "every check of GPUs is unknown"),
    ("gpu_services", Services(8, frozenset({"nvidia-persistenced"}), False, "1", ""), FINE, "runs"),
    ("gpu_services", Services(8, NONE, False, "1", ""), ADVICE, "nvidia-persistenced does not run"),
    ("gpu_services", Services(8, frozenset({"nvidia-persistenced"}), True, "1", "1"), MISSING, "no job can use them"),
    (
        "gpu_services",
        Services(8, frozenset({"nvidia-fabricmanager"}), True, "2", "1"),
        MISSING,
        "is not of the driver's version 2",
    ),
    ("tools", [Looked(("nvme",), "nvme-cli", ("storage.smart",), True)], FINE, "Every program is here"),
    ("tools", [Looked(("nvme",), "nvme-cli", ("storage.smart",), False)], ADVICE, "storage.smart cannot see all"),
    ("device_rights", Rights(AGENT, NONE, ()), FINE, "may ask every device"),
    ("device_rights", Rights("root", NONE, ("storage.smart",)), FINE, "may ask every device"),
    ("device_rights", Rights(AGENT, NONE, ("storage.smart",)), ADVICE, "storage.smart cannot be judged"),
    ("sight", Sight(82, ()), FINE, "All 82 checks"),
    ("sight", Sight(82, (Blind("no tool", ("storage.smart",)),)), ADVICE, "storage.smart is unknown: no tool"),
)
SILENT: Final[tuple[tuple[str, Any], ...]] = (("watchdog", unit(active="inactive", watchdog="0")),)
"""Of a unit that does not run systemd knows no watchdog; that it does not run, `services` says."""

BY_ID: Final = {check.id: check for check in CHECKS}


@pytest.mark.parametrize(
    ("check", "facts", "severity", "words"),
    CASES,
    ids=[f"{case[0]}-{case[2]}-{number}" for number, case in enumerate(CASES)],
)
def test_facts_come_to_a_sentence(check: str, facts: Any, severity: Severity, words: str) -> None:
    told = list(BY_ID[check].judge(facts))
    assert [each for each in told if each.severity is severity and words in each.sentence], told
    if severity is FINE:
        assert {each.severity for each in told} == {FINE}
    for each in told:
        assert each.sentence.endswith((".", "bad"))
        assert bool(each.remedy) == (each.severity is not FINE) or each.severity is UNKNOWN


def test_every_check_has_a_fault_and_a_good_host_in_the_table() -> None:
    assert {case[0] for case in CASES if case[2] is not FINE} == set(BY_ID)
    assert {case[0] for case in CASES if case[2] is FINE} == set(BY_ID)


def test_a_check_is_called_as_its_file_is() -> None:
    assert [check.judge.__module__.rpartition(".")[2] for check in CHECKS] == [check.id for check in CHECKS]


@pytest.mark.parametrize(("check", "facts"), SILENT)
def test_of_some_facts_nothing_is_said(check: str, facts: Any) -> None:
    assert list(BY_ID[check].judge(facts)) == []


def test_a_broker_that_does_not_answer_two_visitors_is_told_of_once() -> None:
    away = visit(reached=False, let_in=False, because="refused")
    assert len(list(BY_ID["broker_open"].judge([*away, Visit(NOBODY, away[0].seen)]))) == 1


def test_where_the_controller_speaks_tls_the_remedy_names_its_address() -> None:
    (told,) = BY_ID["versions"].judge(Versions("0.3.0", {}, "away", "https://fleet.example:8642"))
    assert told.remedy.startswith("fleetmend --ca-file FILE --token-file FILE doctor --url https://fleet.example:8642,")
