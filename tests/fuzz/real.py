"""Real inputs that no file holds: what our own writers write, and what doubles of other systems answer."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from joserfc import jwt

from agent import book, ledger
from agent.bench.child import Line
from checks.finding import Action, Finding, Verdict
from checks.manifest import Manifest
from cli.inventory_file import render
from controller import events, keys
from controller.access.roles import Role
from controller.enrolment.tokens import new_token
from controller.pki.certificates import new_authority, to_pem
from controller.policy.belief import Belief
from controller.policy.folding import apply
from controller.store.audit_lines import audit_lines
from controller.store.cloud_events import cloud_event
from controller.store.seals import KnownKeys, Signer
from controller.store.snapshot import pieces
from controller.store.sqlite import SqliteLog
from tests.fuzz.parsers import _SECRET, _SIGNER, KEY, NOW
from tests.fuzz.texts import ROOT, _examples
from tests.support.enrolling import Host
from tests.support.redfish import newer_tree, older_tree
from wire.messages import NodeFacts

_TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)
FINDING = Finding("gpu.xid", "GPU-0", "79", Verdict.FAILED, Action.REBOOT, "GPU-0 has fallen off the bus.")


def _json(*values: Any) -> list[bytes]:
    return [msgspec.json.encode(value) for value in values]


def kernel_lines() -> Sequence[bytes]:
    """Return kernel logs: the captured lines of each case together."""
    return [
        _log_of(path) for path in sorted((ROOT / "tests/cases").glob("*/*.jsonl")) if b'"line"' in path.read_bytes()
    ]


def _log_of(path: Path) -> bytes:
    entries = [json.loads(line) for line in path.read_bytes().splitlines()[1:]]
    return "\n".join(entry["line"] for entry in entries if "line" in entry).encode()[:12_000]


def an_inventory() -> Sequence[bytes]:
    """Return a manifest with one of each part."""
    text = _examples((Manifest,))[0].replace(b'"gpu-1"', b'"0000:3b:00"')
    values = json.loads(text) | {"captured_at": "2026-01-31T10:00:00Z"}
    return [render(msgspec.convert(values, Manifest)).encode()]


def kept_findings() -> Sequence[bytes]:
    """Return what the agent keeps of raised findings."""
    raised = book.Book({FINDING.key: book.Raised(FINDING, True, "boot-1", NOW, NOW, NOW, told_because="x")})
    return _json(book.dump(raised))


def kept_orders() -> Sequence[bytes]:
    """Return what the agent keeps of orders."""
    entry = json.loads(_examples((ledger.Entry,))[0])
    return _json({"last_token": 7, "entries": [entry], "began_at": NOW, "forgotten_until": NOW})


def kept_names() -> Sequence[bytes]:
    """Return what the agent keeps of names."""
    return _json({"names": {"uuid_by_pci": {"0000:3b:00": "GPU-0"}, "serials": {"GPU-0": "17", "sda": "S1"}}})


def redfish_documents() -> Sequence[bytes]:
    """Return every document of two trees, and each tree's documents merged, so that one document leads to itself."""
    trees = [older_tree(), newer_tree()]
    merged = [
        {key: value for each in tree.values() if isinstance(each, dict) for key, value in each.items()}
        for tree in trees
    ]
    return _json(*merged, *(each for tree in trees for each in tree.values() if isinstance(each, dict)))


def nccl_reports() -> Sequence[bytes]:
    """Return a report of nccl-tests. Source: nccl-tests 2.19.6, src/util.cu."""
    half = {"time": 31_450.0, "alg_bw": 273.1, "bus_bw": 478.2, "nwrong": 0.0}
    times = {"p50_us": 31_400.0, "p99_us": 33_000.0, "cv_pct": 1.5, "times_us": [31_400.0]}
    line = {"size": 8 << 30, "count": 2 << 30, "type": "int32", "redop": "sum", "root": "    -1", "out_of_place": half}
    row = {**line, "in_place": half, "out_of_place_per_iter": times, "actual_iterations": 20}
    devices = [{"rank": 0, "hostname": "n", "device": 0, "device_info": "NVIDIA H100 80GB HBM3"}]
    rest = {
        "nccl_version": 22803,
        "config": {"ngpus": 8, "devices": devices},
        "out_of_bounds": {"count": 0, "okay": "true"},
    }
    return _json({"version": 2, **rest, "results": [row, row], "errors": []})


def bench_lines() -> Sequence[bytes]:
    """Return the lines that a benchmark's process says."""
    return _examples((Line,))


def netbox_pages() -> Sequence[bytes]:
    """Return a page of devices. Source: NetBox 4.4, as tests/controller/topology/test_netbox.py."""
    named = {"id": 7, "display": "Frankfurt 1", "name": "FRA1"}
    device = {
        "name": "gpu-001",
        "role": named,
        "device_role": named,
        "site": named,
        "rack": named,
        "cluster": None,
        "tags": [{"name": "row:a"}, {"name": "row=b"}],
        "custom_fields": {"leaf": ["leaf-1", named], "pdu": named},
    }
    return _json({"count": 1, "next": None, "results": [device]}, {"results": []})


def kubernetes_pods() -> Sequence[bytes]:
    """Return pods as the API shows them."""
    metadata = {
        "name": "train-0",
        "namespace": "ml",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"job-name": "train"},
        "annotations": {"a": "GPU-1c5a2b52-9d2c-4a5e-8f3f-000000000000"},
        "deletionTimestamp": "2026-01-31T10:00:00Z",
        "ownerReferences": [{"kind": "Job", "name": "train", "controller": True}],
    }
    container = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "8"}}}
    spec = {"nodeName": "gpu-1", "containers": [container], "volumes": [{"emptyDir": {"medium": "Memory"}}]}
    return _json({"metadata": metadata, "spec": spec, "status": {"phase": "Running"}})


def kubernetes_nodes() -> Sequence[bytes]:
    """Return nodes as the API shows them."""
    metadata = {"name": "gpu-1", "resourceVersion": "8", "labels": {"rack": "r1"}, "annotations": {"x": "y"}}
    managed = [
        {"manager": "kubectl-cordon", "time": "2026-01-31T10:00:00Z", "fieldsV1": {"f:spec": {"f:unschedulable": {}}}}
    ]
    spec = {"unschedulable": True, "taints": [{"key": "fleetmend.io/hold", "value": "inc-1", "effect": "NoSchedule"}]}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": "2026-01-31T10:00:00Z"}
    return _json({"metadata": {**metadata, "managedFields": managed}, "spec": spec, "status": {"conditions": [ready]}})


def token_files() -> Sequence[bytes]:
    """Return a file of API tokens."""
    token = {"id": "0a1b2c3d", "name": "ann", "sha256": "ab" * 32, "made_at": NOW, "expires_at": 0.0}
    return _json({"version": 1, "tokens": [{**token, "roles": [Role.ADMIN, Role.VIEWER]}]})


def enrolment_tokens() -> Sequence[bytes]:
    """Return a file of enrolment tokens."""
    kept, _ = new_token("gpu[1-9]", uses=9, replace=False, now=NOW, hours=1.0, made_by="ann")
    return _json({"version": 1, "tokens": [kept]})


@cache
def _host() -> Host:
    return Host.new("gpu-1")


def certificate_requests() -> Sequence[bytes]:
    """Return what a host asks a certificate by."""
    return [_host().request().encode()]


def certificates() -> Sequence[bytes]:
    """Return a file with a certificate."""
    return [to_pem([_certificate()])]


def renewals() -> Sequence[bytes]:
    """Return what a host shows to have its certificate renewed."""
    return [_host().proof(_certificate(), now=NOW).encode()]


@cache
def _certificate() -> x509.Certificate:
    return new_authority(_host().key, days=30, now=datetime.fromtimestamp(NOW, UTC))


def cookies() -> Sequence[bytes]:
    """Return a session's cookie."""
    claims = {"use": "session", "sub": "ann", "tid": "", "exp": int(NOW) + 60, "roles": ["admin"]}
    return [jwt.encode({"alg": "HS256"}, claims, _SECRET).encode()]


def id_claims() -> Sequence[bytes]:
    """Return the claims of an ID token."""
    whole = {"iss": "https://login.example", "aud": "us", "exp": 4e9, "iat": 1, "sub": "7", "nonce": "n", "azp": "us"}
    return _json(whole, {**whole, "aud": ["us", "them"], "groups": ["sre"], "preferred_username": "ann"})


def id_tokens() -> Sequence[bytes]:
    """Return an ID token, and the keys of its provider."""
    keys_of_provider = msgspec.json.encode({"keys": [_SIGNER.as_dict(private=False)]})
    token = jwt.encode({"alg": "Ed25519"}, msgspec.json.decode(id_claims()[0]), _SIGNER, algorithms=["Ed25519"])
    return [token.encode() + b"\n" + keys_of_provider]


def public_key_lines() -> Sequence[bytes]:
    """Return the file of keys that are out of use."""
    return [f"# old ones\n{keys.line_of(KEY)}\n".encode()]


@cache
def _entries() -> tuple[events.Logged, ...]:
    """Return an entry of each kind, as a schema has them."""
    told = [msgspec.json.decode(text, type=events.Event) for text in _examples((events.Event,))]
    return tuple(events.Logged(number, NOW + number, event) for number, event in enumerate(told, 1))


@cache
def exports() -> Sequence[bytes]:
    """Return exported logs: a story of a node, and every kind of entry by itself."""
    story: list[events.Event] = [
        events.NodeSeen("gpu-1", "boot-1", NodeFacts(gpu_count=8)),
        events.PresenceChanged("gpu-1", "online", "a message came"),
        events.FindingRaised("gpu-1", "boot-1", FINDING, NOW),
        events.FindingCleared("gpu-1", FINDING.key, "gone", NOW + 60.0),
    ]
    logged = [events.Logged(number, NOW + 60.0 * number, event) for number, event in enumerate(story, 1)]
    lines = [b"\n".join(cloud_event(entry, "main") for entry in logged)]
    return lines + [cloud_event(entry, "main") for entry in _entries()]


@cache
def audited_exports() -> Sequence[bytes]:
    """Return an audited export of a short log."""
    signer = Signer("k", KEY, KnownKeys("main", {"k": KEY.public_key().public_bytes_raw()}))
    with tempfile.TemporaryDirectory() as folder, closing(SqliteLog(Path(folder) / "events.sqlite")) as log:
        log.begin_term()
        asyncio.run(log.append(list(_entries()[:5]), []))
        return [b"".join(audit_lines(log, signer, after=0, now=NOW))]


@cache
def snapshots() -> Sequence[bytes]:
    """Return the pieces of a snapshot, unpacked."""
    belief = Belief()
    for number, event in enumerate([entry.event for entry in _entries()[:3]], 1):
        apply(belief, events.Logged(number, NOW, event))
    return [zlib.decompress(piece) for piece in pieces(belief)]


def kubeconfigs() -> Sequence[bytes]:
    """Return a kubeconfig."""
    return [
        b"""apiVersion: v1
kind: Config
current-context: main
clusters: [{name: c, cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: QUJD}}]
contexts: [{name: main, context: {cluster: c, user: u, namespace: n}}]
users: [{name: u, user: {token: abc}}]
"""
    ]


@cache
def settings_files() -> Sequence[bytes]:
    """Return every table of settings that the how-tos show."""
    shown = [
        block for path in sorted((ROOT / "docs/how-to").rglob("*.md")) for block in _TOML.findall(path.read_text())
    ]
    return [f'state = "/var/lib/fleetmend"\n{block}'.encode() for block in shown]


@cache
def agent_files() -> Sequence[bytes]:
    """Return settings of agents: what the how-tos show of them, behind the least that an agent needs."""
    least = 'node = "gpu-1"\nstate = "/var/lib/fleetmend-agent"\n[broker]\nurl = "mqtts://broker:8883"\n'
    return [least.encode(), *(f"{least}{block.decode()}".encode() for block in settings_files())]
