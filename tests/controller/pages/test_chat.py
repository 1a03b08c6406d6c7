"""Chats and e-mail by Apprise: a real SMTP server, and chats that answer as their documents say.

Only where Apprise looks for a chat is changed here; whatever goes there and comes back is Apprise's own doing.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from logging.handlers import QueueHandler
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from apprise import Apprise
from apprise.plugins.base import NotifyBase
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.lark import NotifyLark
from apprise.plugins.slack import NotifySlack
from hypothesis import given
from hypothesis import strategies as st

from cli.ports import free_port
from controller.adapters import Acknowledging, Following, Listening, Notice
from controller.errors import InDoubt, Permanent, Retryable
from controller.notices.lengths import MAX_CHAT, chat
from controller.pages.chat import Address, ChatNotifier, _harmless, from_section, secrets_in, why_not
from controller.sections.pages.chat import ChatSection
from controller.settings import SettingsError
from tests.support.certificates import write_certificate
from tests.support.http_double import Answering, Got, Said, hang, hang_up

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
"""Apprise's PGP support asks for it as its plugins are loaded."""

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
FEISHU = "feishu://7fd8c2a0-9f1e-4b6c-8d2e-s3cr3t000000"
LARK = "lark://7fd8c2a0-9f1e-4b6c-8d2e-abcdef000000"
SECRETS = ("TIiajkdnlazkcOXrIdevi7FQ", "7fd8c2a0-9f1e-4b6c-8d2e-s3cr3t000000", "7fd8c2a0-9f1e-4b6c-8d2e-abcdef000000")


@dataclass
class Chats(Answering):
    """Slack, Feishu, Lark and Teams, each by its own path."""

    answer: Any = None
    says: dict[str, Said] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.answer = self._answer

    def _answer(self, got: Got) -> Said:
        kind = got.path.split("/")[1]
        usual = {
            "slack": Said(200, b"ok"),
            "feishu": Said(200, {"code": 0, "msg": "success", "data": {}}),
            "lark": Said(200, {"code": 0, "msg": "success", "data": {}}),
            "workflows": Said(202, b""),
        }
        return self.says.get(kind, usual[kind])


@pytest.fixture
async def chats(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Chats]:
    async with Chats().served() as served:
        assert isinstance(served, Chats)
        monkeypatch.setattr(NotifySlack, "webhook_url", f"{served.url}/slack")
        monkeypatch.setattr(NotifyFeishu, "notify_url", f"{served.url}/feishu/{{token}}/")
        monkeypatch.setattr(NotifyLark, "notify_url", f"{served.url}/lark/")
        for plugin in (NotifyBase, NotifySlack):
            monkeypatch.setattr(plugin, "request_rate_per_sec", 0)
        yield served


@pytest.fixture
def of(tmp_path: Path) -> Callable[..., ChatNotifier]:
    def make(*urls: str, timeout_s: float = 10.0) -> ChatNotifier:
        path = tmp_path / "urls"
        path.write_text("# on call\n\n" + "\n".join(urls) + "\n")
        path.chmod(0o600)
        return from_section(ChatSection(kind="chat", urls_file=path, timeout_s=timeout_s), "main")

    return make


Make = Callable[..., ChatNotifier]


def news(notice: Notice, text: str) -> Notice:
    return replace(notice, key=f"{notice.key}/{text[:5]}", news=text)


async def test_slack_gets_what_can_be_acted_on(chats: Chats, of: Make, notice: Notice) -> None:
    filed = await of(SLACK).send(notice)

    assert filed.reference == "Slack"
    (attachment,) = chats.got[0].body["attachments"]
    assert attachment["title"] == notice.title
    assert attachment["text"].splitlines() == [
        "What: The driver reported Xid 79 on GPU-3.",
        "Where: rack r12, leaf l3, node n2 (serial 4711), pci 0000:3b:00, GPU-3",
        "Seen: gpu.xid 79 on GPU-3: Xid 79 at 90 °C.",
        "Impact: 1 job runs on n2: 4711.",
        "Next: n2 stays out of service.",
        f"Incident: {notice.url}",
        f"Acknowledge: {notice.url}#acknowledge",
        f"Undo: {notice.url}#undo",
    ]


@pytest.mark.parametrize(("url", "service"), [(FEISHU, "Feishu"), (LARK, "Lark (Feishu)")])
async def test_feishu_and_lark_get_it_as_text(chats: Chats, of: Make, notice: Notice, url: str, service: str) -> None:
    assert (await of(url).send(notice)).reference == service

    body = chats.got[0].body
    assert body["msg_type"] == "text" and notice.title in body["content"]["text"]
    assert f"Incident: {notice.url}" in body["content"]["text"]


async def test_teams_gets_a_card(tmp_path: Path, of: Make, notice: Notice, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = write_certificate(tmp_path, "teams")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    async with Chats().served(tls) as served:
        url = f"workflows://{served.url.removeprefix('https://')}/abcdef0123456789/s1gnatures1gnature"
        assert (await of(url).send(notice)).reference == "Power Automate / Workflows (for MSTeams)"

    (got,) = served.got
    assert got.path.endswith("/workflows/abcdef0123456789/triggers/manual/paths/invoke")
    card = got.body["attachments"][0]["content"]["body"]
    assert card[0]["text"] == notice.title
    assert card[1]["text"].split("\n\n")[-1] == f"Undo: {notice.url}#undo"


async def test_an_update_and_the_end_are_further_messages(chats: Chats, of: Make, notice: Notice) -> None:
    adapter = of(SLACK)
    reference = (await adapter.send(notice)).reference
    await adapter.update(reference, news(notice, "The reboot did not help."))
    await adapter.close(reference, news(notice, "It is back in service."))

    said = [got.body["attachments"][0] for got in chats.got]
    assert [each["text"].splitlines()[0] for each in said[1:]] == ["The reboot did not help.", "It is back in service."]
    assert [each["color"] for each in said] == ["#A32037", "#A32037", "#3AA337"]


async def test_a_log_in_it_calls_nobody(chats: Chats, of: Make, notice: Notice) -> None:
    hostile = '<!channel> <at user_id="all"></at> @everyone @HERE <https://evil.example|the incident>'
    await of(SLACK, FEISHU).send(replace(notice, title=hostile, body=f"What: {hostile}"))

    for got in chats.got:
        said = str(got.body)
        assert "<" not in said and "@everyone" not in said and "@HERE" not in said


@pytest.mark.parametrize(
    ("url", "kind", "said", "kept"),
    [
        (SLACK, "slack", Said(403, b"invalid_token"), Permanent),
        (SLACK, "slack", Said(404, b"no_service"), Permanent),
        (SLACK, "slack", Said(410, b"channel_is_archived"), Permanent),
        (SLACK, "slack", Said(429, b"slow down"), Retryable),
        (SLACK, "slack", Said(500, b""), Retryable),
        (SLACK, "slack", Said(200, b"<html>log in</html>"), Permanent),
        (FEISHU, "feishu", Said(200, {"code": 19024, "msg": "Key Words Not Found"}), Permanent),
        (FEISHU, "feishu", Said(200, {"code": 11232, "msg": "frequency limited"}), Retryable),
        (FEISHU, "feishu", Said(502, b""), Retryable),
        (LARK, "lark", Said(200, {"code": 19021, "msg": "sign match fail"}), Permanent),
        (LARK, "lark", Said(400, b"bad"), Permanent),
        (LARK, "lark", Said(503, b"later"), Retryable),
    ],
)
async def test_what_a_chat_refuses_is_said(
    chats: Chats, of: Make, notice: Notice, url: str, kind: str, said: Said, kept: type[Exception]
) -> None:
    chats.says[kind] = said
    with pytest.raises(kept) as raised:
        await of(url).send(notice)

    assert not any(secret in str(raised.value) for secret in SECRETS)
    assert len(chats.got) == 1


async def test_a_chat_that_cannot_be_reached_is_tried_again(of: Make, chats: Chats, notice: Notice) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        NotifySlack.webhook_url = f"http://127.0.0.1:{unheard.getsockname()[1]}/slack"
        with pytest.raises(Retryable, match=r"Slack: A Connection error .*NewConnectionError.* refused") as raised:
            await of(SLACK).send(notice)

    assert not any(secret in str(raised.value) for secret in SECRETS) and chats.got == []


async def test_no_answer_is_in_doubt(chats: Chats, of: Make, notice: Notice) -> None:
    chats.faults.append(hang)
    with pytest.raises(InDoubt, match=r"Slack did not answer in 0\.3 s; the message may have arrived"):
        await of(f"{SLACK}/?rto=1", timeout_s=0.3).send(notice)
    chats.faults.append(hang_up)
    with pytest.raises(InDoubt, match="the message may have arrived") as raised:
        await of(SLACK).send(notice)

    assert not any(secret in str(raised.value) for secret in SECRETS)


async def test_who_has_it_gets_it_no_second_time(chats: Chats, of: Make, notice: Notice) -> None:
    adapter = of(SLACK, FEISHU)
    chats.says["feishu"] = Said(503, b"")
    with pytest.raises(Retryable):
        await adapter.send(notice)
    del chats.says["feishu"]

    assert (await adapter.send(notice)).reference == "Slack, Feishu"
    assert sorted(got.path.split("/")[1] for got in chats.got) == ["feishu", "feishu", "slack"]


async def test_what_one_of_two_refuses_for_good_is_told_and_is_no_second_page(
    chats: Chats, of: Make, notice: Notice
) -> None:
    chats.says["feishu"] = Said(200, {"code": 19024, "msg": "Key Words Not Found"})

    assert (await of(SLACK, FEISHU).send(notice)).reference == (
        "1 of 2: Slack, Feishu; not Feishu: Feishu rejected our notification: code=19024 msg=Key Words Not Found"
    )
    with pytest.raises(Permanent, match="Key Words Not Found"):
        await of(FEISHU).send(notice)


# --- e-mail ----------------------------------------------------------------------------------------------------------


@dataclass
class Mailbox:
    """Handles what an SMTP server gets."""

    rcpt: str = "250 OK"
    data: str = "250 OK"
    got: list[Envelope] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 - the name is aiosmtpd's
        self, _server: object, _session: object, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:  # noqa: N802 - as above
        self.got.append(envelope)
        return self.data


@contextmanager
def smtp(mailbox: Mailbox, **options: Any) -> Iterator[int]:
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def mail(port: int, account: str = "") -> str:
    return f"mailto://{account}127.0.0.1:{port}?from=fleetmend@acme.example&to=oncall@acme.example&mode=insecure"


async def test_a_mail_has_the_page(of: Make, notice: Notice) -> None:
    mailbox = Mailbox()
    with smtp(mailbox) as port:
        assert (await of(mail(port)).send(notice)).reference == "E-Mail"

    (envelope,) = mailbox.got
    assert isinstance(envelope.content, bytes)
    message = message_from_bytes(envelope.content, policy=policy.default)
    assert (message["Subject"], message["To"]) == (notice.title, "oncall@acme.example")
    assert "Seen: gpu.xid 79 on GPU-3: Xid 79 at 90 °C." in message.get_content().splitlines()


@pytest.mark.parametrize(
    ("mailbox", "kept", "why"),
    [
        (Mailbox(rcpt="550 no such user"), Permanent, "no such user"),
        (Mailbox(rcpt="451 greylisted"), Retryable, "greylisted"),
        (Mailbox(data="554 spam"), Permanent, "spam"),
        (Mailbox(data="452 mailbox full"), Retryable, "mailbox full"),
    ],
)
async def test_what_a_mail_server_refuses_is_said(
    of: Make, notice: Notice, mailbox: Mailbox, kept: type[Exception], why: str
) -> None:
    with smtp(mailbox) as port, pytest.raises(kept, match=why):
        await of(mail(port)).send(notice)


async def test_who_got_the_mail_gets_it_no_second_time_for_another_who_did_not(of: Make, notice: Notice) -> None:
    class Picky(Mailbox):
        async def handle_RCPT(  # noqa: N802 - the name is aiosmtpd's
            self, _server: object, _session: object, envelope: Envelope, address: str, _options: list[str]
        ) -> str:
            if address.startswith("gone"):
                return "451 try later"
            envelope.rcpt_tos.append(address)
            return "250 OK"

    mailbox = Picky()
    with smtp(mailbox) as port, pytest.raises(Permanent, match=r"try later.*other recipients of this address have it"):
        await of(mail(port).replace("to=oncall", "to=gone@acme.example,oncall")).send(notice)

    assert [envelope.rcpt_tos for envelope in mailbox.got] == [["oncall@acme.example"]]


async def test_a_wrong_password_is_permanent_and_told_to_nobody(of: Make, notice: Notice) -> None:
    def refuse(_server: object, _session: object, _mail: object, _how: str, given_: LoginPassword) -> AuthResult:
        assert given_.password == b"s3cr3tpassword"
        return AuthResult(success=False, handled=False)

    server = smtp(Mailbox(), authenticator=refuse, auth_require_tls=False)
    with server as port, pytest.raises(Permanent, match="535") as raised:
        await of(mail(port, "fleetmend:s3cr3tpassword@")).send(notice)

    assert "s3cr3tpassword" not in str(raised.value)


async def test_a_mail_server_that_is_down_is_tried_again(of: Make, notice: Notice) -> None:
    with pytest.raises(Retryable, match="Connection refused"):
        await of(mail(free_port())).send(notice)


# --- settings and words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["nonsense", "unheard://TIiajkdnlazkcOXrIdevi7FQ", "slack://TIiajkdnlazkcOXrIdevi7FQ"])
def test_an_address_that_is_none_is_said_without_it(of: Make, url: str) -> None:
    with pytest.raises(SettingsError, match=r"^urls_file: .*, address 2 \(.*\): Apprise knows no such") as raised:
        of(SLACK, url)
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in str(raised.value)


def test_a_chat_follows_and_is_not_listened_to(of: Make) -> None:
    kinds: list[Any] = [Following, Listening, Acknowledging]
    assert [isinstance(of(SLACK), kind) for kind in kinds] == [True, False, False]
    assert not of(SLACK).repeatable


def test_apprise_itself_logs_no_address(of: Make) -> None:
    of(SLACK)
    said = Queue[logging.LogRecord]()
    handler = QueueHandler(said)
    logging.getLogger().addHandler(handler)
    logging.getLogger("apprise").warning("it failed at TIiajkdnlazkcOXrIdevi7FQ")
    logging.getLogger().removeHandler(handler)

    assert said.empty()


TOKEN = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=6, max_size=40)


@given(TOKEN, st.text(max_size=200), st.text(max_size=200))
def test_no_reason_tells_a_part_of_the_address(token: str, before: str, after: str) -> None:
    address = Address("Slack", secrets_in(f"slack://{token}/x"), Apprise())

    assert token not in str(why_not(address, [f"{before} {token} {after}"]))


@given(st.text(max_size=5_000), st.text(max_size=5_000))
def test_every_message_is_short_and_calls_nobody(title: str, body: str) -> None:
    notice = Notice("k", "page", "inc-1", "n1", "", "f", "critical", title, f"What: {body}\nNext: {title}", 1.0)
    said = _harmless(chat(notice))

    assert len(said) <= MAX_CHAT
    assert "<" not in said and "@everyone" not in said.lower() and "@channel" not in said.lower()
    assert all(character.isprintable() for character in said.replace("\n", ""))
