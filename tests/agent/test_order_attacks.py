"""I9: what an order meets that somebody tampered with. Who has the broker, or a node, reboots nobody.

Each test is one attack, by whoever can send any bytes to the node but has no key that it trusts. The last ones are
faults that would open the door to a replay: clocks that jump, and a memory that was lost.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent import ledger as ledgers
from agent.ledger import LEDGER
from tests.agent.test_orders import KEY, STRANGER, Node, order
from tests.support.agent_node import EPOCH, MemoryJournal, settle
from wire.evidence import Claims
from wire.grants import sign_claims
from wire.messages import Refused, SignedOrder
from wire.orders import OrderAction
from wire.signatures import sign, verify

REBOOT = order(OrderAction.REBOOT, "i1/reboot/1", device="")
TRUSTED = {"main": KEY.public_key().public_bytes_raw()}


def claims(node: str) -> Claims:
    return Claims("a" * 32, node, "i1", 1_000, EPOCH + 9_999.0)


def did_nothing(node: Node) -> bool:
    """Whether the node did nothing at all, told nobody, and wrote nothing down."""
    return (node.machine.did, node.journal.events, node.journal.load(LEDGER)) == ([], [], {})


@pytest.mark.parametrize("key_id", ["main", "", "mine", "main\x00"])
async def test_an_order_signed_by_a_strangers_key(key_id: str) -> None:
    node = Node()
    await node.give(REBOOT, key=STRANGER, key_id=key_id)
    assert did_nothing(node) and node.orders.rejected == 1


async def test_an_order_of_another_node_sent_to_this_one() -> None:
    node = Node()
    await node.give(replace(REBOOT, node="n2"))
    assert did_nothing(node) and node.orders.rejected == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node", "n1"),
        ("action", "reboot"),
        ("expires_at", 9e9),
        ("issued_at", 0.0),
        ("fencing_token", 10**9),
        ("order_id", "i1/reset/2"),
        ("device", "GPU-2"),
        ("parameters", {"force": "true"}),
        ("incident_id", "i2"),
    ],
)
async def test_an_order_with_any_part_of_it_changed(field: str, value: Any) -> None:
    node = Node()
    signed = sign(replace(order(), node="n2") if field == "node" else order(), key_id="main", key=KEY)
    payload = json.dumps({**json.loads(signed.payload), field: value}, separators=(",", ":"))
    assert payload != signed.payload
    await node.hand(SignedOrder("main", payload, signed.signature))
    await settle()
    assert did_nothing(node)


@pytest.mark.parametrize("spelling", [json.dumps, lambda order: " " + json.dumps(order, separators=(",", ":"))])
async def test_an_order_that_says_the_same_in_other_bytes(spelling: Any) -> None:
    node = Node()
    signed = sign(REBOOT, key_id="main", key=KEY)
    await node.hand(replace_payload(signed, spelling(json.loads(signed.payload))))
    await settle()
    assert did_nothing(node)


def replace_payload(signed: SignedOrder, payload: str) -> SignedOrder:
    return SignedOrder(signed.key_id, payload, signed.signature)


async def test_an_order_with_the_grant_of_another_nodes_upload() -> None:
    """What a grant allows is part of what is signed: it cannot be put into another order."""
    node = Node()
    theirs = sign_claims(claims("n2"), key=KEY)
    signed = sign(order(OrderAction.COLLECT, parameters={"token": "mine"}), key_id="main", key=KEY)
    await node.hand(replace_payload(signed, signed.payload.replace('"mine"', f'"{theirs}"')))
    await settle()
    assert did_nothing(node)


async def test_a_grant_that_the_controller_signed_sent_as_an_order() -> None:
    """Both are signed by the same key, and neither is ever taken for the other."""
    payload, _, signature = sign_claims(claims("n1"), key=KEY).partition(".")
    node = Node()
    body = base64.urlsafe_b64decode(payload).decode()
    standard = base64.b64encode(base64.urlsafe_b64decode(signature)).decode()
    for text in (body, "fleetmend evidence grant 1\n" + body):
        await node.hand(SignedOrder("main", text, standard))
    await settle()
    assert node.machine.did == []


async def test_an_order_that_was_kept_and_is_sent_again_and_again() -> None:
    """Recorded by the broker, or retained by it: answered from memory at first, and dropped after a day."""
    node = Node()
    recorded = sign(order(), key_id="main", key=KEY)
    await node.hand(recorded)
    await settle()
    for later_s in (1.0, 59.0, 3_600.0, 86_000.0, 90_000.0, 30 * 86_400.0):
        node.clock.now = 1_000.0 + later_s
        node = node.again(boot=f"boot-{later_s}")
        await node.hand(recorded)
        await settle()
        assert node.machine.did == [], later_s
    assert {outcome for _, outcome in node.ended} == {"done"}


async def test_an_order_that_was_held_back_until_it_is_too_late() -> None:
    node = Node()
    held_back = sign(REBOOT, key_id="main", key=KEY)
    node.clock.now += 60.0
    await node.hand(held_back)
    await settle()
    assert (node.machine.did, node.ended) == ([], [("i1/reboot/1", "refused")])


async def test_an_order_of_a_controller_that_was_overtaken() -> None:
    node = Node()
    await node.give(order(order_id="new", fencing_token=7))
    await node.give(replace(REBOOT, fencing_token=6))
    assert node.ended == [("new", "done"), ("i1/reboot/1", "refused")]
    assert [f"reset_gpu {REBOOT.device or order().device}"] == node.machine.did


@given(key_id=st.text(max_size=20) | st.just("main"), payload=st.text(max_size=200), signature=st.text(max_size=100))
def test_no_bytes_are_an_order_but_those_that_were_signed(key_id: str, payload: str, signature: str) -> None:
    with pytest.raises(Refused):
        verify(SignedOrder(key_id, payload, signature), trusted=TRUSTED)


@given(data=st.data())
def test_no_bit_of_a_signed_order_can_change(data: st.DataObject) -> None:
    signed = sign(REBOOT, key_id="main", key=KEY)
    raw = bytearray(base64.b64decode(signed.signature))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Refused):
        verify(SignedOrder("main", signed.payload, base64.b64encode(raw).decode()), trusted=TRUSTED)
    text = bytearray(signed.payload.encode())
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 6))
    with pytest.raises(Refused):
        verify(replace_payload(signed, text.decode()), trusted=TRUSTED)


# --- keys that change ------------------------------------------------------------------------------------------------

NEXT = Ed25519PrivateKey.from_private_bytes(bytes([2] * 32))


async def test_two_trusted_keys_overlap_and_the_old_one_ends() -> None:
    node = Node()
    for trusted, expected in (
        ({"main": KEY}, {"main"}),
        ({"main": KEY, "next": NEXT}, {"main", "next"}),
        ({"next": NEXT}, {"next"}),
    ):
        node = node.again()
        node.trust(trusted)
        before = len(node.ended)
        for key_id, key in (("main", KEY), ("next", NEXT)):
            await node.give(order(order_id=f"{key_id}/{len(trusted)}/{sorted(trusted)}"), key=key, key_id=key_id)
        assert {order_id.partition("/")[0] for order_id, _ in node.ended[before:]} == expected


async def test_an_order_that_was_obeyed_under_the_old_key_is_not_again_under_the_new_one() -> None:
    node = Node()
    await node.give(REBOOT)
    again = node.again(boot="boot-2")
    again.trust({"main": KEY, "next": NEXT})
    await again.give(REBOOT, key=NEXT, key_id="next")
    assert again.machine.did == []


# --- clocks that jump, and a memory that was lost --------------------------------------------------------------------


async def test_a_clock_that_jumps_forward_and_back_lets_nothing_be_done_twice() -> None:
    """Two days ahead, the ledger forgets what is long over; back again, the old order looks fresh."""
    node = Node()
    recorded = sign(order(), key_id="main", key=KEY)
    await node.hand(recorded)
    await settle()
    node.clock.now += 2 * 86_400.0
    ahead = order(order_id="ahead", issued_at=EPOCH + node.clock.now, expires_at=EPOCH + node.clock.now + 60.0)
    await node.give(ahead)
    node.clock.now = 1_010.0
    again = node.again()
    await again.hand(recorded)
    await settle()
    assert again.machine.did == []
    assert "the clock was set back" in again.answers[-1].because
    await again.give(order(order_id="later", issued_at=EPOCH + 1_070.0 - 30.0, expires_at=EPOCH + 1_130.0))
    assert again.ended[-1] == ("later", "done")


@pytest.mark.parametrize("state", [{}, {"entries": 3}], ids=["gone", "damaged"])
async def test_a_node_that_lost_its_memory_does_nothing_from_before(state: dict[str, Any]) -> None:
    """Its disk was replaced, or it has none: the order that made it reboot must not make it reboot for ever."""
    node = Node()
    recorded = sign(REBOOT, key_id="main", key=KEY)
    node.clock.now += 20.0
    fresh = Node(journal=MemoryJournal(), clock=node.clock)
    fresh.journal.save(LEDGER, state)
    fresh = fresh.again(boot="boot-2")
    await fresh.hand(recorded)
    await settle()
    assert fresh.machine.did == []
    assert "issued 20 s before this node began to remember orders" in fresh.answers[-1].because
    now = EPOCH + fresh.clock.now
    await fresh.give(order(order_id="new", issued_at=now, expires_at=now + 60.0))
    assert fresh.ended[-1] == ("new", "done")


def test_a_ledger_of_before_is_one_of_which_all_is_known() -> None:
    assert ledgers.load({"entries": [], "last_token": 3}, now=EPOCH).began_at == 0.0
    assert ledgers.load({}, now=EPOCH).began_at == EPOCH
