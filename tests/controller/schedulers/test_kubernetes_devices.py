"""Which pods hold one GPU, by all that the API may say of it."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.schedulers.kubernetes_devices import Allocated, Claim, Reach, Slice, allocated_of, reach
from controller.schedulers.kubernetes_pods import PodState

SICK, WELL = "GPU-aaaaaaaa-0000-0000-0000-000000000001", "GPU-bbbbbbbb-0000-0000-0000-000000000002"
PLAIN = PodState("ml", "plain", "u0", "1", "n1", "ml/plain")
ON_SICK = replace(PLAIN, name="sick", uid="u1", asks=True, devices=(SICK,))
ON_WELL = replace(PLAIN, name="well", uid="u2", asks=True, devices=(WELL,))
SILENT = replace(PLAIN, name="silent", uid="u3", asks=True)
CLAIMS = replace(PLAIN, name="claims", uid="u4", claims=True)
NOTHING = Allocated()


@pytest.mark.parametrize(
    ("pods", "allocated", "names", "because"),
    [
        ((PLAIN, ON_SICK, ON_WELL), NOTHING, ["sick"], ""),
        ((PLAIN, ON_WELL), NOTHING, [], ""),
        ((PLAIN, ON_SICK, SILENT), NOTHING, ["plain", "sick", "silent"], "nothing says which GPUs ml/silent holds"),
        ((CLAIMS,), NOTHING, ["claims"], f"the API does not know the device '{SICK}'"),
        ((CLAIMS,), Allocated({}, frozenset({SICK})), ["claims"], "no claim says which GPUs ml/claims holds"),
        (
            (CLAIMS,),
            Allocated({"u4": None}, frozenset({SICK})),
            ["claims"],
            "ml/claims holds a device that has no UUID",
        ),
        ((PLAIN, CLAIMS), Allocated({"u4": frozenset({SICK})}, frozenset({SICK, WELL})), ["claims"], ""),
        ((PLAIN, CLAIMS), Allocated({"u4": frozenset({WELL})}, frozenset({SICK, WELL})), [], ""),
        ((CLAIMS,), Allocated({"u4": frozenset({WELL})}, frozenset({WELL})), ["claims"], "the API does not know the"),
        (
            (replace(ON_WELL, devices=("MIG-1",)),),
            NOTHING,
            ["well"],
            "ml/well holds a part of a GPU, and nothing says of which",
        ),
    ],
)
def test_whoever_holds_the_gpu_is_asked_and_nobody_is_guessed(
    pods: tuple[PodState, ...], allocated: Allocated, names: list[str], because: str
) -> None:
    found = reach(pods, SICK, allocated)

    assert [pod.name for pod in found.pods] == names
    assert found.because.startswith(because)
    assert bool(found.because) is bool(because)


@pytest.mark.parametrize("device", ["", "0000:3b:00.0", "gpu-3"])
def test_a_gpu_that_has_no_uuid_has_all_of_the_node_drained(device: str) -> None:
    assert reach([ON_WELL], device, NOTHING) == Reach([ON_WELL], f"the API does not know the device {device!r}")


# In the form of NVIDIA's driver for dynamic resource allocation, resource.k8s.io/v1 and v1beta1.
SLICE = {
    "spec": {
        "driver": "gpu.nvidia.com",
        "pool": {"name": "n1"},
        "devices": [
            {"name": "gpu-0", "attributes": {"uuid": {"string": SICK}, "index": {"int": 0}}},
            {"name": "gpu-1", "basic": {"attributes": {"gpu.nvidia.com/uuid": {"string": WELL}}}},
            {"name": "gpu-0-mig-1", "attributes": {"uuid": {"string": "MIG-1"}, "parentUUID": {"string": SICK}}},
            {"name": "gpu-9-mig-1", "attributes": {"uuid": {"string": "MIG-9"}}},
        ],
    }
}
NETWORK = {"spec": {"driver": "dra.net", "pool": {"name": "n1"}, "devices": [{"name": "eth1"}]}}


def claim(pod: str, *devices: str, driver: str = "gpu.nvidia.com") -> dict[str, object]:
    results = [{"driver": driver, "pool": "n1", "device": device, "request": "r"} for device in devices]
    status = {"allocation": {"devices": {"results": results}}, "reservedFor": [{"resource": "pods", "uid": pod}]}
    return {"metadata": {"name": "c", "namespace": "ml"}, "status": status}


def allocated(*claims: dict[str, object]) -> Allocated:
    return allocated_of(msgspec.convert([SLICE, NETWORK], list[Slice]), [msgspec.convert(one, Claim) for one in claims])


@pytest.mark.parametrize(
    ("claims", "by_pod"),
    [
        ([claim("p", "gpu-0")], {"p": {SICK}}),
        ([claim("p", "gpu-0", "gpu-1")], {"p": {SICK, WELL}}),
        ([claim("p", "gpu-0"), claim("p", "gpu-1")], {"p": {SICK, WELL}}),
        ([claim("p", "gpu-0-mig-1")], {"p": {SICK, "MIG-1"}}),
        ([claim("p", "gpu-9-mig-1")], {"p": None}),
        ([claim("p", "gpu-0", "gone")], {"p": None}),
        ([claim("p", "gone"), claim("p", "gpu-0")], {"p": None}),
        ([claim("p", "eth1", driver="dra.net")], {"p": set()}),
        ([{"metadata": {"name": "c"}}], {}),
    ],
)
def test_claims_say_which_gpus_a_pod_holds(claims: list[dict[str, object]], by_pod: dict[str, object]) -> None:
    found = allocated(*claims)

    assert found.by_pod == by_pod
    assert found.known == {SICK, WELL, "MIG-1", "MIG-9"}


@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_status_of_a_claim_is_one_or_a_mistake_of_its_form(status: object) -> None:
    raw = json.dumps({"metadata": {"name": "c"}, "status": status}).encode()
    try:
        one = msgspec.json.decode(raw, type=Claim)
    except msgspec.ValidationError:
        return
    allocated_of([], [one])
