"""Every parser of foreign bytes, one line each: name, parser, the errors that are its own, real texts.

A parser that is not here is not fuzzed: whoever writes one adds its line. tests/fuzz/test_parsers.py gives each a
bounded number of inputs with every run of the tests, `make fuzz` gives them a million.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agent import access, book, boots, hold_flag, ledger, manifest_file, names
from agent import settings as agent_settings
from agent.bench import nccl_tests, perftest, roll_call, running
from agent.bench.child import Broken
from agent.bench.children import dcgm
from agent.bench.dcgm_document import parse_diagnosis
from agent.bench.nccl_ways import RING
from agent.bundles import plan
from agent.metrics import listener
from agent.repairs import gpus, holders, set_aside, units
from agent.sources import (
    amd_files,
    ascend_network,
    bmc_log,
    devlink,
    disks,
    gpfs,
    infiniband,
    ipmi,
    lldp,
    module_info,
    mount_table,
    mounts,
    nfs,
    npu_smi,
    pcie_link,
    platform,
    processes,
    procfs,
    rdma_congestion,
    redfish_access,
    services,
    smart_log,
)
from agent.sources import time as time_source
from checks import bench_limits, kernel_log, nvlink5
from checks.errors import CannotJudge, CannotObserve
from checks.fabric import rdma_gid, sxid
from checks.gpu import xid
from checks.readings import CableModule
from checks.readings.smart import DiskSmart
from cli.client import Failed
from controller import keys, settings
from controller.access import tokens
from controller.api import audit, routes, spans
from controller.api.problems import Problem
from controller.enrolment import nodes, proof
from controller.enrolment import tokens as enrolment_tokens
from controller.errors import Permanent, Retryable
from controller.notices import webhook
from controller.notices.http import Reply
from controller.pages import alertmanager, opsgenie, pagerduty
from controller.pki import certificates, requests
from controller.playbooks import files as playbooks
from controller.playbooks.problems import PlaybookErrors
from controller.policy import scopes
from controller.power import redfish_talk
from controller.schedulers import (
    command,
    hostlist,
    kubernetes_access,
    kubernetes_answers,
    kubernetes_pods,
    none,
    slurm_json,
    slurm_rest,
    slurm_text,
)
from controller.simulation.model import load_model
from controller.store import exported, snapshot, taken
from controller.tickets import github, gitlab, jira_answers, request_tracker, roundup, servicenow
from controller.topology import file as places_file
from controller.topology import ib_fabric
from controller.topology import slurm as slurm_topology
from controller.topology.source import Unreadable
from tests.fuzz import parsers, real
from tests.fuzz.parsers import answer, header, hook, in_file, state, strict, text, words
from tests.fuzz.target import Target, Texts
from tests.fuzz.texts import both, examples, files, literal, replaced, said_in
from wire import bench, evidence, messages, orders, reaching, topics, url

CAPTURED: Final = "tests/agent/sources/captured"
SOURCES: Final = "tests/agent/sources"
BENCHES: Final = "tests/agent/bench"
SCHEDULERS: Final = "tests/controller/schedulers"
SLURM: Final = f"{SCHEDULERS}/slurm_24_11"
NO_ERROR: Final = ()
STATE_LOST: Final = (ValueError,)
REFUSED: Final = (messages.Refused,)
NOT_READ: Final = (Permanent,)
MESSAGES: Final = replaced(examples(messages.Envelope), b'"version": 7', b'"version": 1')
ORDERS: Final = replaced(examples(orders.Order), b'"run_checks"', b'"reboot"')
TOPICS: Final = literal(*(topics.Address("main", "gpu-1", channel).topic for channel in topics.Channel))
MODULE: Final = CableModule("mlx5_0/1")
DISK: Final = DiskSmart("nvme0n1", "nvme")


def row(name: str, parse: parsers.Parse, clear: tuple[type[Exception], ...], real: Texts) -> Target:
    """Return a line of the table."""
    return Target(name, parse, clear, real)


# fmt: off
WIRE: Final = (
    row("wire.topic", strict(topics.parse), (ValueError,), TOPICS),
    row("wire.message", parsers.message, REFUSED, MESSAGES),
    row("wire.packets", parsers.packets, NO_ERROR, literal(b"0\x0c\0\5a/b/c\0{}abc", b"2\x0e\0\5a/b/c\0\1\0hello!")),
    row("wire.signed_order", parsers.signed_order, REFUSED, MESSAGES),
    row("wire.order", parsers.order_of_a_trusted_key, REFUSED, ORDERS),
    row("wire.bench_wish", text(lambda said: bench.from_parameters({bench.WISH: said})), REFUSED, examples(bench.BenchWish)),
    row("wire.grant", text(lambda said: evidence.grant_in({evidence.PARAMETER: said})), (evidence.BadUpload,), examples(evidence.Grant)),
    row("wire.grant_token", parsers.grant_token, REFUSED, literal("eyJ1cGxvYWQiOiJhIn0=.c2lnbmF0dXJl")),
    row("wire.grant_claims", parsers.grant_claims, REFUSED, examples(evidence.Claims)),
    row("wire.upload_length", header(lambda said: evidence.parse_length(said, name="Upload-Length")), (evidence.BadUpload,), literal("1234567", "0")),
    row("wire.upload_metadata", header(evidence.parse_checksum), (evidence.BadUpload,), literal(evidence.metadata_of("ab" * 32), "name YQ==,sha256 YWI=")),
    row("wire.addresses", text(lambda said: reaching.asked({reaching.ADDRESSES: said})), (ValueError,), literal("10.0.0.7,gpu-1.example", "fe80::1,::ffff:10.0.0.1")),
    row("wire.broker_url", text(url.BrokerAddress.parse), (ValueError,), said_in("tests/wire/test_url.py")),
)

AGENT: Final = (
    row("agent.settings", in_file(agent_settings.load_settings), (agent_settings.SettingsError,), both(said_in("tests/agent/test_settings.py"), real.agent_files)),
    row("agent.inventory", lambda data: manifest_file.parse_manifest(data, name="i.toml"), (manifest_file.ManifestError,), both(said_in("tests/agent/test_manifest_file.py"), real.an_inventory)),
    row("agent.trusted_key", text(access.parse_public_key), (ValueError,), literal("AAAAC3NzaC1lZDI1NTE5AAAAIFmoY7fYHhSqRX5u", "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=")),
    row("agent.findings_kept", state(book.load), STATE_LOST, real.kept_findings),
    row("agent.ledger", state(ledger.load), STATE_LOST, real.kept_orders),
    row("agent.boots", state(parsers.boots_kept), STATE_LOST, examples(boots.Start)),
    row("agent.names", state(lambda kept: names.load_names(kept, same_boot=True)), STATE_LOST, real.kept_names),
    row("agent.set_aside", state(set_aside.load), STATE_LOST, examples(set_aside.SetAside)),
    row("agent.hold_flag", hold_flag._sentence, NO_ERROR, literal("fleetmend holds this node: inc-000007\nboot 7f\n", '{"incident_id": "inc-000007", "reason": "r"}')),
    row("agent.hold", hold_flag._flag, STATE_LOST, examples(hold_flag.Flag)),
    row("agent.bundle_plan", in_file(parsers.bundle_plan), (OSError, msgspec.MsgspecError), examples(plan.Plan)),
    row("agent.scrape", listener.parse, (ValueError,), literal(b"GET /metrics HTTP/1.1\r\nHost: n1:9464\r\nAccept: text/plain;version=0.0.4\r\n\r\n")),
    row("agent.kernel_line", kernel_log.parse_line, NO_ERROR, files("tests/cases/gpu.xid/*.jsonl", "tests/cases/host.kernel/*.jsonl")),
    row("agent.kernel_log", parsers.kernel_log, NO_ERROR, real.kernel_lines),
    row("agent.recording", parsers.recording, (CannotJudge,), files("tests/cases/*/*.jsonl")),
    row("agent.site_check", parsers.site_answer, (CannotJudge,), said_in("tests/checks/test_site.py")),
    row("agent.xid", text(xid.parse), NO_ERROR, real.kernel_lines),
    row("agent.sxid", text(sxid.parse), NO_ERROR, real.kernel_lines),
    row("agent.nvlink5", text(lambda said: nvlink5.parse(149, said)), NO_ERROR, files("tests/cases/gpu.xid/14*.jsonl")),
    row("agent.gid", text(rdma_gid.parse), NO_ERROR, literal("0000:0000:0000:0000:0000:ffff:0a00:0102", "fe80::1")),
    row("agent.sysfs_files", parsers.grep_of_files, NO_ERROR, literal(b"/sys/a\x0012\n/sys/b\x00N/A (no PMA)\n")),
    row("agent.ib_state", text(infiniband.parse_state), NO_ERROR, literal("4: ACTIVE")),
    row("agent.ib_rate", text(lambda said: (infiniband.parse_rate(said), infiniband.parse_lanes(said))), NO_ERROR, literal("400 Gb/sec (4X NDR)", "2.5 Gb/sec (1X SDR)")),
    row("agent.hexadecimal", text(infiniband.parse_hexadecimal), NO_ERROR, literal("0x12", "0xffffffff")),
    row("agent.pcie_speed", text(lambda said: (pcie_link.parse_speed(said), amd_files.parse_speed(said))), NO_ERROR, literal("32.0 GT/s PCIe", "8 GT/s", "Unknown speed")),
    row("agent.aer", text(platform.parse_errors), NO_ERROR, said_in(f"{SOURCES}/test_platform.py")),
    row("agent.disk_stat", text(disks.parse_stat), NO_ERROR, literal("     167        0    13282      103        0        0        0        0        0       56      103        0        0        0        0")),
    row("agent.meminfo", text(procfs.parse_meminfo), NO_ERROR, literal("MemTotal:       263856308 kB\nHugePages_Total:       0\n")),
    row("agent.pressure", text(lambda said: procfs.parse_pressure("memory", said)), NO_ERROR, literal("some avg10=0.00 avg60=0.12 avg300=0.05 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n")),
    row("agent.proc_numbers", text(lambda said: (procfs.parse_files(said), procfs.parse_load(said), procfs.parse_uptime(said))), NO_ERROR, literal("9344\t0\t9223372036854775807", "0.20 0.18 0.12 1/80 11206", "350735.47 234388.90")),
    row("agent.command_line", text(procfs.parse_asked_pools), NO_ERROR, literal("BOOT_IMAGE=/vmlinuz hugepagesz=1G hugepages=0:16,1:16 default_hugepagesz=2M hugepages=512 quiet")),
    row("agent.process_stat", processes.parse_stat, NO_ERROR, literal(b"4242 (python3 (x)) D 1 4242 4242 0 -1 4194560 100 0 0 0 5 3 0 0 20 0 1 0 12345 0 0")),
    row("agent.process_status", text(lambda said: (processes.parse_switches(said), processes.parse_channel(said))), NO_ERROR, literal("voluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n", "rpc_wait_bit_killable")),
    row("agent.cgroup", text(holders.unit_of), NO_ERROR, literal("0::/system.slice/nvidia-dcgm.service\n", "1:name=systemd:/kubepods.slice/x")),
    row("agent.mounts", text(mount_table.parse_mounts), NO_ERROR, literal("25 30 0:24 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n36 35 98:0 /mnt1 /mnt\\0402 ro,noatime master:1 - ext3 /dev/root rw,errors=continue\n")),
    row("agent.fstab", text(mount_table.parse_fstab), NO_ERROR, said_in(f"{SOURCES}/test_mount_table.py")),
    row("agent.space", text(mounts.parse_space), (CannotObserve,), literal("4096 1000 500 400 100 90\n", "stat: cannot read file system information")),
    row("agent.nfs", text(nfs.parse_mountstats), NO_ERROR, said_in(f"{SOURCES}/test_network_storage.py")),
    row("agent.gpfs", text(gpfs.parse_state), (CannotObserve,), said_in(f"{SOURCES}/test_network_storage.py")),
    row("agent.units", text(services.parse_units), (CannotObserve,), said_in(f"{SOURCES}/test_services.py")),
    row("agent.unit", text(lambda said: units.parse_unit("x.service", said)), NO_ERROR, said_in("tests/agent/repairs/test_parsing.py", f"{SOURCES}/test_services.py")),
    row("agent.version", text(services.parse_version), NO_ERROR, said_in(f"{SOURCES}/test_services.py")),
    row("agent.chrony", text(lambda said: time_source.parse_tracking(said, 5.0)), (CannotObserve,), said_in(f"{SOURCES}/test_time.py")),
    row("agent.timedatectl", text(lambda said: time_source.parse_timedate(said, 5.0)), (CannotObserve,), said_in(f"{SOURCES}/test_time.py")),
    row("agent.nvidia_smi", text(gpus.parse_gpus), NO_ERROR, said_in("tests/support/fake_host.py", "tests/agent/repairs/test_parsing.py")),
    row("agent.amd_smi", parsers.amd_gpus, (CannotObserve,), files(f"{CAPTURED}/amd-smi-*.json")),
    row("agent.amd_files", text(lambda said: (amd_files.parse_count("umc", said), amd_files.parse_bad_pages(said))), NO_ERROR, literal("ue: 0\nce: 1\nde: 0\n", "0x00000001 : 0x00001000 : R\n")),
    row("agent.npu_map", text(npu_smi.parse_mapping), NO_ERROR, files(f"{CAPTURED}/npu-smi-map-*.txt")),
    row("agent.npu_board", words(npu_smi.parse_identity, 2), NO_ERROR, files(f"{CAPTURED}/npu-smi-board-*.txt")),
    row("agent.npu_health", text(npu_smi.parse_health), NO_ERROR, files(f"{CAPTURED}/npu-smi-health-*.txt")),
    row("agent.npu_ecc", text(lambda said: (npu_smi.parse_ecc(said), npu_smi.parse_bad_pages(said))), NO_ERROR, files(f"{CAPTURED}/npu-smi-ecc-*.txt")),
    row("agent.npu_numbers", text(lambda said: (npu_smi.parse_temperatures(said), npu_smi.parse_power(said))), NO_ERROR, files(f"{CAPTURED}/npu-smi-temp-*.txt", f"{CAPTURED}/npu-smi-power-*.txt")),
    row("agent.npu_hccs", text(npu_smi.parse_hccs), NO_ERROR, files(f"{CAPTURED}/npu-smi-hccs*.txt")),
    row("agent.hccn_link", text(ascend_network.parse_link), (CannotObserve,), files(f"{CAPTURED}/hccn-link-*.txt")),
    row("agent.hccn", text(lambda said: (ascend_network.parse_health(said), ascend_network.parse_optics(said))), NO_ERROR, files(f"{CAPTURED}/hccn-*.txt")),
    row("agent.mlxlink", text(lambda said: module_info.parse_module(MODULE, said)), (CannotObserve,), files(f"{CAPTURED}/mlxlink-*.json")),
    row("agent.devlink", text(devlink.parse_health), (CannotObserve,), files(f"{CAPTURED}/devlink-health.json")),
    row("agent.ethtool", text(rdma_congestion.parse_counters), (CannotObserve,), files(f"{CAPTURED}/ethtool-mlx5.txt")),
    row("agent.lldpcli", text(lldp.parse_lldpcli), NO_ERROR, files(f"{CAPTURED}/lldpcli-*")),
    row("agent.networkctl", text(lldp.parse_networkctl), NO_ERROR, files(f"{CAPTURED}/networkctl-*.json")),
    row("agent.lldp_kept", state(lambda kept: lldp._remembered(kept.get("neighbours"))), NO_ERROR, literal('{"neighbours": {"eno1": ["leaf-3"]}}')),
    row("agent.nvme", text(lambda said: smart_log.parse_nvme(DISK, said)), (CannotObserve,), files(f"{CAPTURED}/nvme-*.json")),
    row("agent.smartctl", text(lambda said: smart_log.parse_smartctl(DISK, said)), (CannotObserve,), files(f"{CAPTURED}/smartctl-*.json")),
    row("agent.ipmi_sensors", text(ipmi.parse_sensors), NO_ERROR, said_in(f"{SOURCES}/test_bmc.py")),
    row("agent.ipmi_events", text(ipmi.parse_events), NO_ERROR, said_in(f"{SOURCES}/test_bmc.py")),
    row("agent.bmc_kept", state(bmc_log.kept_of), NO_ERROR, examples(bmc_log.Kept)),
    row("agent.redfish", parsers.bmc_of_a_node, (CannotObserve,), real.redfish_documents),
    row("agent.fingerprint", text(redfish_access.parse_fingerprint), (ValueError,), literal("AB:CD:" * 15 + "AB:CD", "ab" * 32)),
    row("agent.dcgm", text(parse_diagnosis), (Broken,), files(f"{BENCHES}/captured/dcgmi-diag-*.json")),
    row("agent.dcgm_discovery", text(dcgm.discover), (Broken,), files(f"{BENCHES}/captured/dcgmi-discovery-*.txt")),
    row("agent.nccl_tests", lambda data: nccl_tests.parse_report(data, RING), (Broken,), real.nccl_reports),
    row("agent.perftest", text(perftest.parse_report), NO_ERROR, said_in("tests/support/perftest.py", f"{BENCHES}/test_rdma.py")),
    row("agent.tcp_table", text(lambda said: perftest.is_listening(said, 18515)), NO_ERROR, literal("  sl  local_address rem_address   st\n   0: 0100007F:4853 00000000:0000 0A 00000000\n")),
    row("agent.bench_line", running.parsed, (running.Malformed,), real.bench_lines),
    row("agent.roll_call", text(roll_call.call_from), (Broken,), literal("ab" * 128, "cd" * 146)),
    row("agent.roll_call_answer", parsers.roll_call_answer, (roll_call.RankMissing, Broken), examples(roll_call._Answer)),
    row("agent.bench_limits", bench_limits.load_limits, (bench_limits.LimitsRefused,), files("checks/data/bench_limits.json")),
)

CONTROLLER: Final = (
    row("controller.intake", parsers.intake, NO_ERROR, MESSAGES),
    row("controller.settings", in_file(settings.load), (settings.SettingsError,), both(said_in("tests/controller/test_settings.py"), real.settings_files)),
    row("controller.playbook", lambda data: playbooks.parse(data, file="p.yaml"), (PlaybookErrors,), files("playbooks/*.yaml")),
    row("controller.places", strict(lambda said: places_file.parse(said, parsers.PATH)), (Unreadable,), said_in("tests/controller/topology/test_file.py")),
    row("controller.topology_conf", strict(lambda said: slurm_topology.parse(said, parsers.PATH)), (Unreadable,), said_in("tests/controller/topology/test_slurm.py")),
    row("controller.ibnetdiscover", strict(lambda said: ib_fabric.parse(said, parsers.PATH)), (Unreadable,), files("tests/controller/topology/ibnetdiscover.txt")),
    row("controller.netbox", parsers.netbox, (Unreadable,), real.netbox_pages),
    row("controller.hostlist", text(hostlist.expand), (ValueError,), both(said_in(f"{SCHEDULERS}/test_hostlist.py"), literal("gpu[001-128,200]-ib[0-1],n7"))),
    row("controller.slurm_nodes", text(slurm_json.JsonReader().parse_nodes), (ValueError,), files(f"{SLURM}/nodes-*.json")),
    row("controller.slurm_jobs", text(slurm_json.JsonReader().parse_jobs), (ValueError,), files(f"{SLURM}/jobs-*.json")),
    row("controller.slurm_reservations", text(slurm_json.JsonReader().parse_reservations), (ValueError,), files(f"{SLURM}/reservations-*.json")),
    row("controller.slurm_text_nodes", text(slurm_text.TextReader().parse_nodes), (ValueError,), files(f"{SLURM}/nodes-*.txt")),
    row("controller.slurm_text_jobs", text(slurm_text.TextReader().parse_jobs), (ValueError,), files(f"{SLURM}/jobs-*.txt")),
    row("controller.slurm_text_reservations", text(slurm_text.TextReader().parse_reservations), (ValueError,), files(f"{SLURM}/reservations-*.txt")),
    row("controller.slurmrestd", text(slurm_rest.newest_version), NOT_READ, literal('{"paths": {"/slurm/v0.0.40/node/{node_name}": {"get": {}, "post": {}}}}')),
    row("controller.slurmrestd_refusal", slurm_rest._problems, NO_ERROR, literal('{"errors": [{"description": "d", "error": "e", "error_number": 2}]}')),
    row("controller.slurm_token", text(slurm_rest.claims), NO_ERROR, literal("eyJhbGciOiJIUzI1NiJ9.eyJzdW4iOiJyb290IiwiZXhwIjoxfQ.c2ln")),
    row("controller.hook_nodes", hook(command.HookNodes), NOT_READ, examples(command.HookNodes)),
    row("controller.hook_jobs", hook(command.HookJobs), NOT_READ, examples(command.HookJobs)),
    row("controller.holds", in_file(none._read), (Permanent, Retryable), examples(none.Ledger)),
    row("controller.kubernetes_answer", lambda data: kubernetes_answers.failure_of(kubernetes_answers.answer_of(0, data, "7"), "x"), NO_ERROR, examples(kubernetes_answers.Status)),
    row("controller.kubernetes_pod", parsers.kubernetes_pod, NO_ERROR, real.kubernetes_pods),
    row("controller.kubernetes_node", parsers.kubernetes_node, NO_ERROR, real.kubernetes_nodes),
    row("controller.kubeconfig", in_file(parsers.kubeconfig), (kubernetes_access.NotUsable,), both(real.kubeconfigs, said_in(f"{SCHEDULERS}/test_choosing.py"))),
    row("controller.kubernetes_time", text(kubernetes_pods.seconds), NO_ERROR, literal("2026-01-31T10:00:00Z", "2026-01-31T10:00:00.123456+02:00")),
    row("controller.bmcs", in_file(parsers.bmcs_file), (parsers.Said,), literal("node,address,user\ngpu[001-128],https://{node}-bmc,root\n# no\nn7,https://b,u\n")),
    row("controller.redfish", parsers.bmc_evidence, NO_ERROR, real.redfish_documents),
    row("controller.redfish_refusal", redfish_talk._told, NO_ERROR, literal('{"error": {"@Message.ExtendedInfo": [{"Message": "no"}], "message": "m"}}')),
    row("controller.retry_after", parsers.retry_after, NO_ERROR, literal("120", "Wed, 21 Oct 2026 07:28:00 GMT", "\n1764000000", "\n2026-01-31T10:00:00Z")),
    row("controller.webhook", lambda data: webhook._reference(Reply(200, {}, data, True, "x")), NO_ERROR, literal('{"reference": "T-1"}', '{"id": 7}')),
    row("controller.alertmanager", answer(list[alertmanager.Shown]), NOT_READ, examples(list[alertmanager.Shown])),
    row("controller.silence", answer(alertmanager.Silence), NOT_READ, examples(alertmanager.Silence)),
    row("controller.opsgenie", answer(opsgenie.ShownAlert), NOT_READ, examples(opsgenie.ShownAlert, opsgenie.ShownDone)),
    row("controller.pagerduty", answer(pagerduty.Incidents), NOT_READ, examples(pagerduty.Incidents)),
    row("controller.github", answer(list[github._Issue]), NOT_READ, examples(list[github._Issue])),
    row("controller.gitlab", answer(list[gitlab._Issue]), NOT_READ, examples(list[gitlab._Issue])),
    row("controller.jira", answer(jira_answers.Issues), NOT_READ, examples(jira_answers.Issues)),
    row("controller.request_tracker", answer(request_tracker._Tickets), NOT_READ, examples(request_tracker._Tickets)),
    row("controller.roundup", answer(roundup._IssuesAnswer), NOT_READ, examples(roundup._IssuesAnswer)),
    row("controller.servicenow", answer(servicenow._Records), NOT_READ, examples(servicenow._Records)),
    row("controller.tokens", in_file(tokens.read), (tokens.TokenError,), real.token_files),
    row("controller.enrolment_tokens", in_file(enrolment_tokens.KIND.read), (tokens.TokenError,), real.enrolment_tokens),
    row("controller.enrolment_nodes", text(nodes.why_no_nodes), NO_ERROR, literal("gpu[001-128]", "gpu-*", "gpu-1,gpu-2")),
    row("controller.certificate_request", requests.read_request, (certificates.CertificateError,), real.certificate_requests),
    row("controller.certificates", certificates.from_pem, (certificates.CertificateError,), real.certificates),
    row("controller.renewal", text(lambda said: proof.read(said, cell="main", now=parsers.NOW)), (proof.BadProof,), real.renewals),
    row("controller.fault_model", in_file(load_model), (settings.SettingsError,), literal("rate = 4.0\n[classes.F1]\nrate = 9.5\n[nodes]\nlemons = 0.1\n")),
    row("controller.session", parsers.session_cookie, NO_ERROR, real.cookies),
    row("controller.session_claims", parsers.session_claims, NO_ERROR, literal('{"use": "session", "sub": "ann", "tid": "", "exp": 1764000060, "roles": ["admin"]}')),
    row("controller.session_parts", parsers.session_parts, NO_ERROR, literal('{"alg": "HS256"}\n{"use": "session", "exp": 1764000060}', '{"alg": "none", "crit": ["b64"], "b64": false}\n{}')),
    row("controller.oidc_claims", parsers.oidc_claims, (Problem,), literal('{"preferred_username": "ann", "groups": ["sre"], "email_verified": true}')),
    row("controller.oidc_token", parsers.oidc_token, (Problem,), real.id_tokens),
    row("controller.oidc_signed", parsers.oidc_signed, (Problem,), real.id_claims),
    row("controller.api_body", parsers.api_bodies, (Problem,), examples(*{route.body for route in routes.ROUTES if route.body})),
    row("controller.moment", header(lambda said: spans.moment_of(said, parsers.NOW)), (ValueError,), literal("7d", "12h", "2026-01-31", "2026-01-31T10:00:00Z")),
    row("controller.audit_before", header(audit._number), (Problem,), literal("12345", "1")),
    row("controller.scope", header(scopes.parse), NO_ERROR, literal("rack=r12", "fleet", "gpu-1")),
    row("controller.public_keys", text(keys.public_keys), (ValueError,), real.public_key_lines),
    row("controller.taken", text(lambda said: taken.Taken.parse(said, heard_at=0.0)), (ValueError,), literal("1-500,502-510", "7")),
    row("controller.export", lambda data: exported.read_exported(data.splitlines(), "x"), (exported.BadLine,), real.exports),
    row("controller.report", in_file(parsers.report_of_a_file), (Failed,), real.exports),
    row("controller.audited_export", parsers.audited_export, NO_ERROR, real.audited_exports),
    row("controller.snapshot", lambda data: snapshot.belief_of(iter([parsers.packed(data)])), parsers.NO_SNAPSHOT, real.snapshots),
)
# fmt: on

TARGETS: Final = (*WIRE, *AGENT, *CONTROLLER)
