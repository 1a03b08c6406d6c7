"""A BMC may answer with any JSON: what is made of it is a text, or an error of controller.errors; nothing hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import Permanent, Retryable
from controller.power.bmcs import Bmc
from controller.power.redfish import ACTION, WARM, _offered, _power_state, _reset, system_of
from controller.power.redfish_documents import ROOT, own_link
from controller.power.redfish_evidence import MOST_CHARACTERS, MOST_QUESTIONS, gather
from tests.support.redfish import SYSTEM, link

KEYS = (
    *("@odata.id", "Members", "Members@odata.nextLink", "Systems", "Chassis", "Processors", "LogServices", "Entries"),
    *("Status", "Health", "HealthRollup", "Conditions", "Message", "Created", "Severity", "Id", "Links", "ManagedBy"),
    *("PowerState", "Actions", ACTION, "target", "ResetType@Redfish.AllowableValues", "@Redfish.ActionInfo"),
    *("Parameters", "Name", "AllowableValues", "BootProgress", "LastState", "SerialNumber"),
)
LINKS = [link(f"{ROOT}{name}") for name in ("a", "b", "Chassis/HGX_GPU_SXM_1", "Systems/Self", "x y", "ä")]
plain = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.sampled_from(["On", "Critical"])
)
anything = st.recursive(
    plain | st.sampled_from(LINKS) | st.sampled_from([f"{ROOT}a", f"{ROOT}b"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)
documents = st.dictionaries(st.sampled_from(KEYS), anything, max_size=12)


@dataclass
class AnyTalk:
    """A BMC that answers every path with one of these documents, over and over."""

    documents: list[Mapping[str, Any]]
    bmc: Bmc = field(default_factory=lambda: Bmc("https://bmc"))
    asked: int = 0

    async def get(self, path: str) -> Mapping[str, Any]:
        assert path.startswith(ROOT) and path.isascii() and " " not in path
        self.asked += 1
        return self.documents[self.asked % len(self.documents)]

    async def post(self, path: str, body: Mapping[str, str]) -> None:
        assert path.startswith(ROOT) and body["ResetType"] in WARM


@settings(max_examples=50, deadline=None)
@given(st.lists(documents, min_size=1, max_size=6), documents)
def test_evidence_of_any_documents_is_bounded_text(found: list[Mapping[str, Any]], system: Mapping[str, Any]) -> None:
    talk = AnyTalk(found)
    evidence = asyncio.run(gather(talk, system))  # type: ignore[arg-type]
    assert talk.asked <= MOST_QUESTIONS
    assert "bmc/power.txt" in evidence
    for name, text in evidence.items():
        assert name.isprintable() and len(text) <= MOST_CHARACTERS + 10
        assert all(line.isprintable() for line in text.splitlines())


@settings(max_examples=50, deadline=None)
@given(st.lists(documents, min_size=1, max_size=6))
def test_any_documents_are_understood_or_refused(found: list[Mapping[str, Any]]) -> None:
    async def ask() -> None:
        talk: Any = AnyTalk(found)
        try:
            system = await system_of(talk)
            assert isinstance(_power_state(system), str)
            assert all(each.isprintable() for each in await _offered(talk, system))
            way, _ = await _reset(talk, system, WARM)
            assert way == WARM[0]
        except (Permanent, Retryable) as error:
            assert str(error).isprintable()

    asyncio.run(ask())


@given(anything)
def test_a_link_leads_below_the_service_alone(value: Any) -> None:
    path = own_link(value)
    assert path == "" or (path.startswith(ROOT) and path.isascii() and " " not in path)


def test_the_documents_of_these_tests_are_understood_now_and_then() -> None:
    action = {"Actions": {ACTION: {"target": f"{SYSTEM}/reset"}}, "Systems": link(f"{ROOT}a")}
    talk: Any = AnyTalk([{"Members": [link(SYSTEM)], **action}])
    assert asyncio.run(_reset(talk, asyncio.run(system_of(talk)), WARM))[0] == "ForceRestart"
