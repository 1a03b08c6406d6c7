"""Addresses that an order may name: one host each, and nothing in disguise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.reaching import MOST_ADDRESSES, asked, is_of_this_host, why_no_address


@pytest.mark.parametrize(
    "address", ["n1", "gpu-007.rack2.example", "10.1.2.3", "2001:db8::7", "7up.example", "N1.Example", "x" * 63]
)
def test_a_host_name_and_an_ip_address_are_taken(address: str) -> None:
    assert why_no_address(address) == ""


@pytest.mark.parametrize(
    "address",
    [
        *("", " ", "n1 ", "n_1", "-n1", "n1-", "n1.", ".n1", "a..b", "x" * 64, "x." * 127 + "x", "ñ", "n1\n", "n1\x00"),
        *("-oProxyCommand=x", "$(id)", "n1;id", "n1/24", "n1:22", "[::1]", "user@n1", "http://n1", "../n1", "n1,n2"),
        *("127.1", "1", "010.0.0.1", "0x7f000001", "n1.0x1", "10.1.2.3.4", "10.1.2.256", "4294967295"),
        *("0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "fe80::1%eth0"),  # noqa: S104 - refused here
    ],
)
def test_whatever_else_is_refused(address: str) -> None:
    assert why_no_address(address) != ""


@given(st.text(max_size=20))
def test_any_text_is_taken_or_refused_with_a_reason(text: str) -> None:
    because = why_no_address(text)
    assert because or (text.isascii() and text.isprintable() and not set(text) & set(" /@;$`'\"\\,"))


def test_an_order_names_few_addresses_and_good_ones_only() -> None:
    assert asked({"addresses": "n1,10.0.0.2"}) == ("n1", "10.0.0.2")
    for wrong in ({}, {"addresses": ""}, {"addresses": "n1,"}, {"addresses": "n1,127.1"}):
        with pytest.raises(ValueError, match="neither a host name nor an IP address"):
            asked(wrong)
    with pytest.raises(ValueError, match="5 addresses, at most 4"):
        asked({"addresses": ",".join(["n1"] * (MOST_ADDRESSES + 1))})


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.2", True), ("::1", True), ("LocalHost", True), ("localhost.localdomain", True), ("10.0.0.1", False)],
)
def test_an_address_that_means_every_host_itself_is_known(address: str, *, expected: bool) -> None:
    assert is_of_this_host(address) is expected
