"""Pages into chats and mailboxes, by the library Apprise. An update is a further message, and so is the end.

Nothing there drops a second message, so that what may have arrived is never sent again. Apprise says of a message only
whether it got through, and logs why not: that log is read here, and nothing of it is told but what is no secret.

Imported only where the settings name a chat: Apprise takes half a second and 30 MiB.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

import apprise
import structlog

from controller.adapters import Filed, Notice
from controller.errors import InDoubt, Permanent, Retryable
from controller.notices import lengths
from controller.notices.http import PASSING, RETRY_AFTER_S
from controller.notices.secret import read_secrets
from controller.notices.wording import HIDDEN, one_line
from controller.sections.pages.chat import ChatSection
from controller.settings import SettingsError

log = structlog.get_logger()

MAX_TITLE = 200
MAX_SAID = 300
LEAST_SECRET = 6
"""Parts of an address that are shorter are words, not secrets. Source: our choice."""

HURRY_S = 5.0
"""Apprise is given up on so long after its own limit. Source: our choice; it keeps that limit by itself."""

KINDS = {"critical": "failure", "warning": "warning", "info": "info"}
"""Severity → Apprise's kind of message, which is its colour."""

_APPRISE = logging.getLogger("apprise")
_HTTP_STATUS = re.compile(r"error=(\d{3})\b|failed: (\d{3}) - ")
_SMTP_REPLY = re.compile(r"\((\d{3}), b['\"]")
_BUSY = re.compile(r"code=(11232|99991400)\b")
"""A refusal with 200 that passes. Source: Feishu and Lark, "Custom bot" (frequency limited), "Generic error codes"."""

_REJECTED = re.compile(r"rejected|not supported|invalid|CERTIFICATE_VERIFY_FAILED", re.IGNORECASE)
_NEVER_SENT = re.compile(
    r"NewConnectionError|ConnectTimeout|NameResolutionError|refused|unreachable|Name or service not known|"
    r"Temporary failure in name resolution",
    re.IGNORECASE,
)
"""How requests, urllib3 and smtplib say that a connection never came about, in the words of their exceptions."""

_POOL = re.compile(r"HTTPS?ConnectionPool\(.{0,500}?\(Caused by ", re.DOTALL)
"""How urllib3 begins what it says, before it comes to the cause."""

_CALLS = re.compile(r"@(?=everyone\b|here\b|channel\b|all\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """One chat or mailbox.

    Attributes:
        service: what it is called in messages, e.g. `Slack`.
        secrets: parts of its address that are told to nobody.
        reads_markdown: it takes Markdown alone; told that our text is none, Apprise would escape it and break links.
    """

    service: str
    secrets: tuple[str, ...]
    sender: apprise.Apprise
    reads_markdown: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """A message that did not get through, as `error` says it."""

    service: str
    error: Retryable | Permanent | InDoubt


@dataclass(slots=True)
class ChatNotifier:
    """Chats and mailboxes that each get every message.

    Attributes:
        timeout_s: for one message; one that was not through by then may have arrived.
    """

    addresses: tuple[Address, ...]
    name: str = "chat"
    timeout_s: float = 20.0
    repeatable: bool = False
    _through: dict[str, set[int]] = field(default_factory=dict)

    async def send(self, notice: Notice) -> Filed:
        """Send a message to each address. What some of them refuse is in the reference, for people.

        Raises:
            Retryable: one of them may take it later; those that have it get it no second time.
            InDoubt, Permanent: none of them has it.
        """
        refused = await self._to_all(notice, lengths.chat(notice), KINDS.get(notice.severity, "failure"))
        return Filed("; ".join([self._reached(len(refused)), *(f"not {each.error}" for each in refused)]))

    async def update(self, reference: str, notice: Notice) -> None:  # noqa: ARG002 - no message can be changed
        """Send what is new as a further message."""
        await self._to_all(notice, lengths.news(notice), KINDS.get(notice.severity, "failure"))

    async def close(self, reference: str, notice: Notice) -> None:  # noqa: ARG002 - no message can be changed
        """Send the end as a further message."""
        await self._to_all(notice, lengths.news(notice), "success")

    def _reached(self, refused: int) -> str:
        services = ", ".join(dict.fromkeys(address.service for address in self.addresses))
        return f"{len(self.addresses) - refused} of {len(self.addresses)}: {services}" if refused else services

    async def _to_all(self, notice: Notice, body: str, kind: str) -> list[Failed]:
        """Send to every address that has not got this notice yet; return those that will not get it.

        What got through is forgotten with the process: a controller that dies in between is in doubt about all of it.
        """
        through = self._through.setdefault(notice.key, set())
        left = [index for index in range(len(self.addresses)) if index not in through]
        title = _harmless(lengths.summary(notice, MAX_TITLE))
        sent = [self._send(self.addresses[index], title, _harmless(body), kind) for index in left]
        ended = dict(zip(left, await asyncio.gather(*sent), strict=True))
        through.update(index for index, failed in ended.items() if failed is None)
        failures = [failed for failed in ended.values() if failed is not None]
        if passing := [failed.error for failed in failures if isinstance(failed.error, Retryable)]:
            raise passing[0]
        del self._through[notice.key]
        if failures and not through:
            raise next((f.error for f in failures if isinstance(f.error, InDoubt)), failures[0].error)
        for failed in failures:
            log.warning("page.refused", key=notice.key, service=failed.service, because=str(failed.error))
        return failures

    async def _send(self, address: Address, title: str, body: str, kind: str) -> Failed | None:
        doubt = InDoubt(f"{address.service} did not answer in {self.timeout_s:g} s; the message may have arrived")
        try:
            result = await asyncio.wait_for(
                asyncio.to_thread(
                    address.sender.notify,
                    body=_marked_down(body) if address.reads_markdown else body,
                    title=title,
                    notify_type=kind,
                    body_format=None if address.reads_markdown else "text",
                    timeout=self.timeout_s,
                    log_level=logging.DEBUG,
                ),
                self.timeout_s + HURRY_S,
            )
        except TimeoutError:
            return Failed(address.service, doubt)
        if result:
            return None
        if result.status is apprise.AppriseResultStatus.TIMEOUT:
            return Failed(address.service, doubt)
        return Failed(address.service, why_not(address, _telling(result), partly=_is_partly_through(result)))


def from_section(section: ChatSection, _cell: str) -> ChatNotifier:
    """Return the adapter of a table of the settings.

    Raises:
        SettingsError: the file cannot be read, or an address in it is none.
    """
    key = "urls_file"
    urls = read_secrets(section.urls_file, key)
    _hush()
    addresses = [address_of(url, f"{key}: {section.urls_file}, address {count}") for count, url in enumerate(urls, 1)]
    return ChatNotifier(tuple(addresses), section.called, section.timeout_s)


def address_of(url: str, where: str) -> Address:
    """Return an address that Apprise knows.

    Raises:
        SettingsError: it does not; nothing of the address is told but its kind.
    """
    sender = apprise.Apprise(
        asset=apprise.AppriseAsset(
            app_id="fleetmend",
            app_desc="fleetmend",
            app_url="",
            image_url_mask="",
            image_url_logo="",
            http_redirects=False,
            async_mode=False,
            allow_templates=False,
            interpret_emojis=False,
            pgp_autogen=False,
            pem_autogen=False,
            storage_mode="memory",
        )
    )
    if not sender.add(url):
        kind = one_line(url.partition("://")[0], 20) if "://" in url else "one without ://"
        raise SettingsError(f"{where} ({kind}): Apprise knows no such kind of address, or a part of it is missing")
    service = sender[0]
    reads_markdown = service.notify_format is apprise.NotifyFormat.MARKDOWN
    return Address(str(service.service_name), secrets_in(url), sender, reads_markdown)


def secrets_in(url: str) -> tuple[str, ...]:
    """Return what could be a secret in an address: every long part of it, as written and decoded, longest first."""
    parts = re.split(r"[:/?&=@#]+", url.partition("://")[2])
    found = {form for part in parts for form in (part, unquote(part)) if len(form) >= LEAST_SECRET}
    return tuple(sorted(found, key=lambda part: (-len(part), part)))


def why_not(address: Address, said: Sequence[str], *, partly: bool = False) -> Retryable | Permanent | InDoubt:
    """Return what Apprise's log says about a message that did not get through.

    A connection that broke is in doubt: only one that never came about is surely worth another try.

    Args:
        partly: some recipients of the address have it, and would get it twice.
    """
    text = " ".join(said)
    because = f"{address.service}: {_without(address.secrets, text) or 'Apprise does not say why'}"
    if partly:
        return Permanent(f"{because}; other recipients of this address have it")
    if found := _HTTP_STATUS.search(text):
        status = int(found[1] or found[2])
        return _retry(because) if status in PASSING or status >= 500 else Permanent(because)
    if found := _SMTP_REPLY.search(text):
        return _retry(because) if found[1].startswith("4") else Permanent(because)
    if _NEVER_SENT.search(text) or _BUSY.search(text):
        return _retry(because)
    return Permanent(because) if _REJECTED.search(text) else InDoubt(f"{because}; the message may have arrived")


def _retry(because: str) -> Retryable:
    return Retryable(because, after_s=RETRY_AFTER_S)


def _telling(result: apprise.AppriseResult) -> list[str]:
    """Return what tells why: warnings, and the exception behind them, which Apprise logs for who debugs."""
    logged = [(entry.level, entry.message) for entry in result.logs()]
    return [said for level, said in logged if level in {"WARNING", "ERROR"} or said.startswith("Socket Exception")]


def _is_partly_through(result: apprise.AppriseResult) -> bool:
    """Whether Apprise logged for one recipient, of several behind an address, that the message was sent."""
    return any(entry.level == "INFO" and entry.message.startswith("Sent ") for entry in result.logs())


def _without(secrets: Sequence[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return one_line(_POOL.sub("(", text), MAX_SAID)


def _harmless(text: str) -> str:
    """Return a text that calls nobody: `<!channel>`, `<at user_id="all">` and `@everyone` from a log stay words."""
    return _CALLS.sub("＠", text.replace("<", "‹").replace(">", "›"))


def _marked_down(text: str) -> str:
    """Return a text whose lines stay lines where Markdown is read, and in which no words of others become a link."""
    return text.replace("[", "(").replace("]", ")").replace("\n", "\n\n")


def _hush() -> None:
    """Have Apprise log nothing by itself: its lines hold addresses, and those hold secrets. Captures go on."""
    _APPRISE.propagate = False
    _APPRISE.setLevel(logging.DEBUG)
    if not _APPRISE.handlers:
        _APPRISE.addHandler(logging.NullHandler())
