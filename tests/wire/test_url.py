"""What a broker's URL says, and what is wrong about one."""

from __future__ import annotations

import pytest

from wire.topics import Address, Channel
from wire.transport import Received
from wire.url import BrokerAddress, addresses_of


def test_an_address_is_read_from_a_url() -> None:
    assert _parts("mqtt://h") == ("h", 1883, False, 5)
    assert _parts("mqtts://h") == ("h", 8883, True, 5)
    assert _parts("mqtt://h:77?v=3") == ("h", 77, False, 4)


def _parts(url: str) -> tuple[str, int, bool, int]:
    address = BrokerAddress.parse(url)
    return address.host, address.port, address.tls, int(address.version)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://h", "is not mqtt://host:port or mqtts://host:port"),
        ("mqtt://", "is not mqtt://host:port or mqtts://host:port"),
        ("mqtt://h?v=4", "v=4 is neither 5"),
        ("mqtt://h:99999", "its port is not a number"),
        ("mqtt://h?dots=no", r"dots=no is neither plain \(as they are\) nor tilde"),
        ("mqtt://h?dot=tilde", "dot is neither v nor dots"),
        ("mqtt://u:secret@h", "broker h: no password in the address"),
    ],
)
def test_a_bad_url_is_refused_with_what_is_right(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        BrokerAddress.parse(url)


def test_several_urls_are_read_in_their_order() -> None:
    assert [str(each) for each in addresses_of(("mqtt://a", "mqtt://b:77?v=3"))] == ["a:1883", "b:77"]
    assert [str(each) for each in addresses_of("mqtt://a")] == ["a:1883"]


def test_every_bad_one_of_several_is_named() -> None:
    with pytest.raises(ValueError, match=r"'http://a' is not mqtt.*; .*'mqtt://c:0x.: its port is not a number"):
        addresses_of(("http://a", "mqtt://b", "mqtt://c:0x"))


@pytest.mark.parametrize(
    ("urls", "complaint"),
    [
        ((), "no broker url: give at least one"),
        (("mqtt://a", "mqtt://a:1883"), "broker a:1883 is given more than once"),
    ],
)
def test_no_url_and_one_given_twice_are_refused(urls: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        addresses_of(urls)


def test_dots_are_spelt_as_the_broker_takes_them_and_read_back() -> None:
    """No name holds a tilde, so nothing else is read as a dot."""
    topic = Address("main", "ip-10-0-0-1.ec2.internal", Channel.EVENT).topic
    tilde, plain = BrokerAddress.parse("mqtt://h?v=3&dots=tilde"), BrokerAddress.parse("mqtt://h")
    received = Received(tilde.spell(topic), b"", False, lambda: None)

    assert received.topic == "fleetmend/v1/main/node/ip-10-0-0-1~ec2~internal/event"
    assert topic == tilde.read(received).topic
    assert topic == plain.spell(topic)
