"""The controller's configuration file: every problem at once, with file and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from checks.bench_result import Benchmark
from controller.assembly import rules_of
from controller.policy.benching.when import Admission, WhenRules, Window
from controller.policy.rules import (
    DEFAULT_BREAKERS,
    DEFAULT_DOMAINS,
    BreakerRule,
    Budget,
    DomainRule,
    Freeze,
    Limit,
    RolloutRule,
)
from controller.policy.scopes import FLEET, Scope
from controller.schedulers import slurm_configured
from controller.schedulers.slurm_jobs import JobRule
from controller.schedulers.slurm_programs import SlurmPrograms
from controller.schedulers.slurm_rest import SlurmRest
from controller.schedulers.slurm_text import TextReader
from controller.settings import SettingsError, load


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "controller.toml"
    path.write_text(text)
    return path


def test_a_small_file_is_enough(tmp_path: Path) -> None:
    settings = load(written(tmp_path, f'state = "{tmp_path}"'))
    assert (settings.http.port, settings.scheduler.kind, settings.budget.budget()) == (8642, "none", Budget(percent=10))


def test_the_nodes_of_a_clustered_broker_are_a_list(tmp_path: Path) -> None:
    settings = load(written(tmp_path, f'state = "{tmp_path}"\n[broker]\nurl = ["mqtt://a", "mqtt://b"]'))
    assert settings.broker.url == ("mqtt://a", "mqtt://b")


def test_what_slurm_is_told_reaches_the_adapter(tmp_path: Path) -> None:
    text = """
    [scheduler]
    kind = "slurm"
    deadline_s = 7
    [slurm]
    form = "text"
    rest_url = "unix:///run/slurmrestd.socket"
    rest_token_file = "/etc/fleetmend/slurm.token"
    [[slurm.jobs]]
    partition = "long"
    jobs = "wait"
    [[slurm.jobs]]
    qos = "debug"
    held = true
    """
    settings = load(written(tmp_path, f'state = "{tmp_path}"\n{text}'))
    slurm = slurm_configured.scheduler_of(settings.slurm, deadline_s=settings.scheduler.deadline_s)
    assert slurm.rules == (JobRule("wait", partition="long"), JobRule("cancel", held=True, qos="debug"))
    assert slurm.access == SlurmRest(
        "unix:///run/slurmrestd.socket",
        SlurmPrograms(7.0, reader=TextReader()),
        7.0,
        Path("/etc/fleetmend/slurm.token"),
    )


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    text = """
    cell = "with space"
    [http]
    port = 99999
    [scheduler]
    kind = "k8s"
    [budget]
    percentage = 10
    """
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, text))
    told = str(caught.value)
    for what in ("state: Field required", "http.port:", "scheduler.kind:", "budget.percentage:"):
        assert f"controller.toml: {what}" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[scheduler]\nkind = "command"', "kind = 'command' needs hook"),
        ('[[pages]]\nkind = "webhook"', r"pages\.0\.webhook\.url: Field required"),
        ('[[pages]]\nkind = "webhook"\nurl = "hooks"', "must be https://host/path"),
        ('[pages]\nkind = "webhook"', r"must be a list of tables: \[\[pages\]\]"),
        ("[budget]\nnodes = 1\npercent = 5", "set nodes or percent, not both"),
        ("[budget", "not TOML"),
        (
            '[[slurm.jobs]]\npartition = "a"',
            r"slurm\.jobs\.0: .*allows everything: set jobs or held",
        ),
        ('[[slurm.jobs]]\njobs = "kill"', r"slurm\.jobs\.0\.jobs: "),
        ('[slurm]\nrest_url = "slurmrestd:6820"', "rest_url must be http://host:port"),
        ('[slurm]\nrest_url = "http://a:b@c"', "rest_url must not hold a secret"),
        ('[slurm]\nrest_token_file = "/a"', "rest_token_file and rest_ca_file need rest_url"),
        ('[[limits]]\nscope = "rak"\nnodes = 1', r"limits\.0\.scope: .*'rak' is no scope: write `fleet`, `rack=r12`"),
        ('[[limits]]\nscope = "rack="\nnodes = 1', "'rack=' is no scope"),
        ('[[limits]]\nscope = "rack"', r"limits\.0: .*set nodes or percent"),
        ('[[breakers]]\nscope = "check"\nnodes = 3\nwindow_s = 1e9', r"breakers\.0\.window_s: .*less than or equal"),
        ('[[domains]]\nkind = "fleet"\nfamilies = ["gpu"]\nteam = "a"\nbecause = "b"', "'fleet' is no kind of domain"),
        (
            '[[domains]]\nkind = "row"\nfamilies = ["cpu"]\nteam = "a"\nbecause = "b"',
            "no checks are of cpu; families: agent",
        ),
        (
            '[[freezes]]\nbecause = "x"\nbegins = "Fri 18:00"\nends = "Mon 8"',
            "'Mon 8' is no time of the week, such as",
        ),
        (
            '[[freezes]]\nbecause = "x"\nbegins = "Fri 18:00"\nends = 2026-12-24T00:00:00',
            "must both be dates and times",
        ),
        (
            '[[freezes]]\nbecause = "x"\nbegins = 2026-12-25T00:00:00\nends = 2026-12-24T00:00:00',
            "is not after `begins`",
        ),
        (
            '[[freezes]]\nbecause = "x"\nbegins = "Fri 18:00"\nends = "Mon 08:00"\nzone = "Mars/Olympus"',
            r"freezes\.0\.zone: .*'Mars/Olympus' is no IANA time zone",
        ),
        ("[topology.kubernetes_labels]\nsku = ['a']", "topology: .*kubernetes_labels: 'sku' cannot be set"),
        ("[power]\nkindd = 1", r"controller\.toml: power\.kindd: no such key here; there are address, user, "),
        (
            "[power.nodes.n1]\nadress = 1",
            r"power\.nodes\.n1\.adress: no such key here; there are address, .*fingerprint$",
        ),
        (
            '[[kubernetes.pods]]\nmod = "wait"',
            r"pods\.0\.mod: no such key here; there are namespaces, labels, mode, limit_s",
        ),
        (
            '[[tickets]]\nkind = "roundup"\nurll = "https://a"',
            r"tickets\.0\.roundup\.urll: no such key here; there are name, .*kind, .*password_file.*keywords",
        ),
        (
            '[[pages]]\nkind = "chat"\nurl = "slack://a"',
            r"pages\.0\.chat\.url: no such key here; there are name, .*kind, urls_file, timeout_s$",
        ),
        ("power = 1", r"controller\.toml: power: must be a table: \[power\]"),
        ('[slurm.jobs]\njobs = "wait"', r"slurm\.jobs: must be a list of tables: \[\[slurm\.jobs\]\]"),
        (
            '[[kubernetes.pods]]\nmode = "evict"\nnamespaces = "a"',
            r"kubernetes\.pods\.0\.namespaces: must be a list, even of one",
        ),
        ('[power]\naddress = "https://{node}"', r"controller\.toml: power: kind is missing: 'redfish' or 'ipmi'"),
        ('[broker]\nurl = "http://a"', r"controller\.toml: broker\.url: .*'http://a' is not mqtt://host:port"),
        ('[bench.when]\nadmission = "yes"', r"bench\.when\.admission: Input should be 'off', 'measure' or 'hold'"),
        ("[bench.when]\nbenchmarks = []", r"bench\.when\.benchmarks: List should have at least 1 item"),
        ('[bench.when]\nbenchmarks = ["gemm", "gemm"]', "each benchmark may stand here once"),
        ("[bench.when]\ngpu_minutes_per_hour = -1", r"bench\.when\.gpu_minutes_per_hour: .*greater than or equal to 0"),
        ("[bench]\nagain_after_s = inf", r"bench\.again_after_s: .*finite number"),
        ("[bench]\nagain_after_s = 1e300", r"bench\.again_after_s: .*less than or equal to 86400"),
        ("[silence]\nsilent_after_s = inf", r"silence\.silent_after_s: .*finite number"),
        ("[bench.when]\ngpu_minutes_per_day = inf", r"bench\.when\.gpu_minutes_per_day: .*finite number"),
        (
            '[[bench.when.windows]]\nbegins = "22:00"\nends = "Sat 06:00"',
            r"bench\.when\.windows\.0: .*must both be like `22:00`, or both be like `Fri 18:00`",
        ),
        ('[[bench.when.windows]]\nbegins = "22:00"\nends = "24:00"', r"windows\.0: .*must both be like"),
        ('[[bench.when.windows]]\nbegins = "late"\nends = "later"', "'late' is no time of the week, such as"),
        ('[[bench.when.windows]]\nbegins = "22:00"\nends = "22:00"', "leave the window out for all of the time"),
        (
            '[[bench.when.windows]]\nbegins = "22:00"\nends = "06:00"\nzone = "Mars/Olympus"',
            r"windows\.0\.zone: .*'Mars/Olympus' is no IANA time zone",
        ),
        ('[traces]\nendpoint = "collector:4318"', "endpoint must be http://host:port or https://host:port"),
        ('[traces]\nendpoint = "http://a:b@c"', "endpoint must not hold a secret: put it into headers_file"),
        ('[traces]\nui_url = "https://a/{trace_id}"', "headers_file, ca_file and ui_url need endpoint"),
        (
            '[traces]\nendpoint = "http://a:4318"\nui_url = "https://a/{trace}"',
            r"ui_url must begin with https:// or http:// and hold \{trace_id\}",
        ),
        ('[traces]\nendpoint = "http://a:4318"\nsample = 1.5', r"traces\.sample: .*less than or equal to 1"),
        ('[broker]\nurl = ["mqtt://a", "mqtt://b?v=4"]', r"broker\.url: .*'mqtt://b\?v=4': v=4 is neither 5"),
        ('[broker]\nurl = "mqtts://a"\nkey_file = "/a"', "broker: give certificate_file and key_file, or neither"),
        (
            '[broker]\nurl = ["mqtts://a", "mqtt://b"]\ncertificate_file = "/a"\nkey_file = "/b"',
            "broker: certificate_file needs mqtts:// in every url",
        ),
    ],
)
def test_what_is_right_is_said(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load(written(tmp_path, f'state = "{tmp_path}"\n{text}'))


def test_limits_breakers_and_freezes_become_rules(tmp_path: Path) -> None:
    text = """
    [[limits]]
    scope = "rack"
    nodes = 1
    because = "one feed"
    [[limits]]
    scope = "pool=research"
    percent = 5
    [[breakers]]
    scope = "driver"
    percent = 2
    at_least = 4
    [[freezes]]
    scope = "pool=train"
    begins = 2026-12-24T00:00:00
    ends = 2026-12-27T00:00:00
    zone = "Europe/Berlin"
    because = "holidays"
    [[freezes]]
    begins = "Fri 18:00"
    ends = "mon 08:00"
    because = "nobody is there"
    """
    rules = rules_of(load(written(tmp_path, f'state = "{tmp_path}"\n{text}')))
    assert rules.limits == (
        Limit(Scope("rack"), Budget(nodes=1), "one feed"),
        Limit(Scope("pool", "research"), Budget(percent=5)),
    )
    assert rules.breakers == (BreakerRule(Scope("driver"), Budget(percent=2), 600.0, 600.0, at_least=4),)
    assert rules.freezes == (
        Freeze(Scope("pool", "train"), "holidays", begins=1798066800.0, ends=1798326000.0, zone="Europe/Berlin"),
        Freeze(FLEET, "nobody is there", weekly_begins=6840, weekly_ends=480),
    )


def test_when_benchmarks_run_becomes_rules(tmp_path: Path) -> None:
    text = """
    [bench.when]
    admission = "hold"
    suspicion = false
    benchmarks = ["gpu_bandwidth", "rdma"]
    gpu_minutes_per_hour = 60
    at_once = 2
    [[bench.when.windows]]
    begins = "22:00"
    ends = "06:00"
    zone = "Europe/Berlin"
    [[bench.when.windows]]
    begins = "Sat 00:00"
    ends = "Mon 06:00"
    """
    loaded = load(written(tmp_path, f'state = "{tmp_path}"\n{text}')).bench.when.rules()
    assert loaded == WhenRules(
        admission=Admission.HOLD,
        suspicion=False,
        windows=(Window(22 * 60, 6 * 60, "Europe/Berlin", daily=True), Window(5 * 1440, 360)),
        benchmarks=(Benchmark.GPU_BANDWIDTH, Benchmark.RDMA),
        gpu_minutes_per_hour=60.0,
        at_once=2,
    )
    assert load(written(tmp_path, f'state = "{tmp_path}"')).bench.when.rules() == WhenRules()


def test_a_sites_own_domains_replace_the_defaults(tmp_path: Path) -> None:
    text = """
    [[domains]]
    kind = "row"
    families = ["gpu", "node"]
    team = "facility"
    least_nodes = 4
    because = "the row's cooling is suspected"
    """
    rules = rules_of(load(written(tmp_path, f'state = "{tmp_path}"\n{text}')))
    because = "the row's cooling is suspected"
    assert rules.domains == (DomainRule("row", frozenset({"gpu", "node"}), "facility", 4, because=because),)
    assert rules_of(load(written(tmp_path, f'state = "{tmp_path}"'))).domains == DEFAULT_DOMAINS


def test_without_a_word_the_default_breakers_hold_and_an_empty_list_is_none(tmp_path: Path) -> None:
    assert rules_of(load(written(tmp_path, f'state = "{tmp_path}"'))).breakers == DEFAULT_BREAKERS
    assert rules_of(load(written(tmp_path, f'state = "{tmp_path}"\nbreakers = []'))).breakers == ()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: cannot be read"):
        load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("budget", "fleet", "limit"),
    [(Budget(nodes=3), 1000, 3), (Budget(percent=10), 100, 10), (Budget(percent=10), 9, 1), (Budget(nodes=0), 9, 0)],
)
def test_a_share_is_rounded_down_but_leaves_one(budget: Budget, fleet: int, limit: int) -> None:
    assert budget.limit(fleet) == limit


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('url = "mysql://host/db"', "url must be postgresql://user@host:port/database"),
        ('url = "postgresql://host"', "url must be postgresql://user@host:port/database"),
        ('url = "postgresql://me:hunter2@host/db"', "url must not hold the password"),
        ('url = "postgresql://host/db?password=hunter2"', "url must not hold the password"),
        ("keep_days = 0", "store.keep_days"),
        ("snapshot_every = 10", "store.snapshot_every"),
    ],
)
def test_a_store_that_cannot_be_meant_is_refused_without_repeating_a_password(
    tmp_path: Path, text: str, why: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, f'state = "{tmp_path}"\n[store]\n{text}'))
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_modes_per_pool_per_playbook_and_for_both(tmp_path: Path) -> None:
    text = """
    [modes]
    pool.research = "ask"
    playbook.gpu_reset = "shadow"
    "gpu_reset@research" = "act"
    [rollout]
    canaries = 3
    share = 0.1
    [approvals]
    valid_s = 7200
    """
    rules = rules_of(load(written(tmp_path, f'state = "{tmp_path}"\n{text}')))
    assert rules.modes == {"pool.research": "ask", "playbook.gpu_reset": "shadow", "gpu_reset@research": "act"}
    assert (rules.rollout, rules.approval_valid_s, rules.answer_within_s) == (RolloutRule(3, 0.1), 7200, 86_400)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('pool.research = "observe"', r"modes\.pool\.research: Input should be 'shadow', 'ask' or 'act'"),
        ('"gpu_reset@research" = 1', r"modes\.gpu_reset@research: Input should be 'shadow', 'ask' or 'act'"),
        ('gpu_reset = "ask"', "modes: .*'gpu_reset' is none of fleet, pool.NAME, playbook.NAME and \"PLAYBOOK@POOL\""),
        ('"@research" = "ask"', "'@research' is none of fleet, pool.NAME"),
    ],
)
def test_modes_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load(written(tmp_path, f'state = "{tmp_path}"\n[modes]\n{text}'))


@pytest.mark.parametrize("text", ['playbook.gpu_rest = "shadow"', '"gpu_rest@research" = "shadow"'])
def test_a_mode_for_a_playbook_that_is_not_there_is_refused(tmp_path: Path, text: str) -> None:
    """A slip of the pen would leave the playbook acting."""
    with pytest.raises(SettingsError, match="modes: no playbook is called 'gpu_rest'; there are agent_lost, "):
        rules_of(load(written(tmp_path, f'state = "{tmp_path}"\n[modes]\n{text}')))


def test_what_benchmarks_are_held_to_reaches_the_policy(tmp_path: Path) -> None:
    text = f"""
    state = "{tmp_path}"
    [scheduler]
    kind = "node"
    [bench]
    at_once = {{rack = 1, pool = 4}}
    again_after_s = 5
    [[bench.floors]]
    metric = "node_all_reduce"
    sku = "H100"
    fail = 440
    because = "our contract"
    [[bench.bounds]]
    metric = "memory_read"
    sku = "L40S"
    possible = 864
    source = "data sheet"
    [[bench.floors]]
    metric = "memory_read"
    sku = "L40S"
    fail = 700
    """
    rules = rules_of(load(written(tmp_path, text))).bench
    assert (rules.at_once["rack"], rules.at_once["pool"], rules.at_once["fleet"]) == (1, 4, 16)
    assert (rules.again_after_s, rules.idle_by, rules.trust_nodes) == (5.0, "node", False)
    floor, own = rules.limits.floor("node_all_reduce", "H100"), rules.limits.floor("memory_read", "L40S")
    assert floor is not None and (floor.fail, floor.warn, floor.source) == (440.0, None, "our contract")
    assert own is not None and own.fail == 700.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[[bench.floors]]\nmetric = "node_all_reduce"\nsku = "H100"\nfail = 800',
            "800 GB/s is above what is possible",
        ),
        ('[[bench.floors]]\nmetric = "moon_phase"\nsku = "H100"\nfail = 1', "there is no such metric"),
        ('[[bench.floors]]\nmetric = "memory_read"\nsku = "L40S"\nfail = 700', "nothing is known of what is possible"),
        ('[[bench.floors]]\nmetric = "memory_read"\nsku = "H100"\nfail = -1', "bench.floors.0.fail"),
        ('[[bench.bounds]]\nmetric = "memory_read"\nsku = "H100"\npossible = 9e9\nsource = "me"', "cannot be changed"),
        ("[bench]\nat_once = {galaxy = 1}", "'galaxy' is no kind of scope"),
        ("[bench]\nat_once = {rack = -1}", "bench.at_once.rack"),
    ],
)
def test_limits_beyond_physics_and_other_nonsense_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = written(tmp_path, f'state = "{tmp_path}"\n{text}')
    with pytest.raises(SettingsError) as refused:
        load(path)
    assert problem in str(refused.value)
    assert str(refused.value).startswith(f"{path}: bench")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("[enrolment]", "enrolment.broker_url must say where nodes reach the broker"),
        ('[enrolment]\nbroker_url = "mqtt://a"', "without TLS"),
        ('[enrolment]\nbroker_url = ["mqtts://a", "mqtt://b"]', "b:1883 is reached without TLS"),
        ('[enrolment]\nbroker_url = "a"', "mqtts://host:port"),
        ("[enrolment]\nagent_days = 0", "enrolment.agent_days"),
    ],
)
def test_hosts_that_enrol_must_be_told_of_a_broker_with_tls(tmp_path: Path, text: str, because: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(because)):
        load(written(tmp_path, f'state = "{tmp_path}"\n{text}'))


def test_hosts_that_enrol_are_told_of_the_controllers_own_broker_or_of_another(tmp_path: Path) -> None:
    own = load(written(tmp_path, f'state = "{tmp_path}"\n[broker]\nurl = "mqtts://a"\n[enrolment]'))
    other = load(written(tmp_path, f'state = "{tmp_path}"\n[enrolment]\nbroker_url = ["mqtts://a", "mqtts://b"]'))
    assert own.enrolment is not None and own.enrolment.broker_url == ""
    assert other.enrolment is not None and other.enrolment.broker_url == ("mqtts://a", "mqtts://b")
    assert own.enrolment.tokens_in(own.state) == tmp_path / "enrolment-tokens.json"
