"""BMCs by IPMI 2.0, through `ipmitool -I lanplus`, one process for each question.

The password goes by its file (`-f`), never on a command line. `-C 3` is said because ipmitool 1.8.19 proposes cipher
suite 17 by itself, which many BMCs do not know, and then hangs. It looks first: a node that is off is only switched on.
Source: ipmitool(1); IPMI 2.0, "Chassis Control Command"; ipmitool 1.8.19, lib/ipmi_chassis.c, src/plugins/lanplus.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from controller.adapters import PowerSeen
from controller.errors import InDoubt, Permanent, Retryable
from controller.power.bmcs import Bmcs
from controller.schedulers.commands import Ended, Limits, run

MOST_PASSWORD_BYTES = 20
"""Source: IPMI 2.0, "Set User Password Command"."""

MOST_OUTPUT_BYTES = 1 << 20
AGAIN_S = 10.0
LOOK_S = 15.0
"""For one look. Source: our choice; a session and one answer take a second."""

ONCE = ("-R", "1")
"""What switches power is sent once: a BMC that was slow would carry a repetition out again."""

VERBOSE = ("-v",)
"""Without it ipmitool says the same of a wrong password as of a BMC that is not there. It prints no secret."""

NOT_SENT = re.compile(r"Unable to establish (IPMI v2|LAN|RMCP)|Address lookup for|Could not open socket")
"""No session came about, so that nothing was asked for."""

NO_SESSION: Mapping[str, str] = {
    "RAKP 2 HMAC is invalid": "the password is wrong",
    "unauthorized name": "there is no such user on the BMC",
    "invalid role": "the user needs the privilege Operator",
    "no cipher suite match": "the BMC does not know cipher suite 3",
}
"""Why not, where trying again is of no use. Source: ipmitool 1.8.19, lanplus.c and lanplus_strings.c."""

REFUSED = re.compile(r"Set Chassis Power Control to .* failed: (.+)")
"""The BMC answered and said no, with its completion code."""

NO_RIGHT = ("Insufficient privilege", "Invalid command", "Parameter out of range")
"""Completion codes that stay. Source: IPMI 2.0, table 5-2 (D4h, C1h, C9h), in the words of ipmitool."""

_POWER = re.compile(r"Chassis Power is (on|off)\b", re.IGNORECASE)


@dataclass(slots=True)
class IpmiPower:
    """Switches nodes by IPMI.

    Attributes:
        deadline_s: for one command.
    """

    bmcs: Bmcs
    deadline_s: float = 30.0
    tool: str = "ipmitool"
    name: str = "ipmi"
    repeatable: bool = False

    async def look(self, node: str) -> PowerSeen:
        """Return whether a node has power."""
        try:
            power = await self._power(node, deadline_s=min(LOOK_S, self.deadline_s))
        except (Retryable, Permanent) as error:
            return PowerSeen("unknown", f"The BMC of {node} cannot be asked: {error}")
        return PowerSeen(power, f"The BMC of {node} says that it has {'power' if power == 'on' else 'no power'}.")

    async def cycle(self, node: str, *, key: str, fencing_token: int, cold: bool) -> str:
        """Have a node reset, or its power cut and given again."""
        del key, fencing_token
        if await self._power(node, deadline_s=self.deadline_s) == "off":
            return await self._switch_on(node)
        return await self._control(node, "cycle" if cold else "reset")

    def is_half_done(self, key: str) -> bool:
        """Return no: the BMC itself switches off and on."""
        del key
        return False

    async def take_up(self, node: str, *, key: str, fencing_token: int) -> str:
        """Switch a node on that is off.

        Raises:
            InDoubt: it is not off.
        """
        del fencing_token
        if await self._power(node, deadline_s=self.deadline_s) == "off":
            return await self._switch_on(node)
        raise InDoubt(f"The controller stopped while the BMC of {node} was asked ({key}); the node has power now.")

    async def evidence(self, node: str) -> dict[str, str]:
        """Return what the BMC tells: how the host stands, and the newest entries of its event log."""
        status = self._done(node, await self._run(node, "chassis", "status", deadline_s=self.deadline_s))
        log = await self._run(node, "sel", "elist", "last", "50", deadline_s=self.deadline_s)
        found = {"bmc/power.txt": _text(status), "bmc/log-SEL.txt": _text(log)}
        return {name: text for name, text in found.items() if text}

    async def _power(self, node: str, *, deadline_s: float) -> str:
        ended = self._done(node, await self._run(node, *VERBOSE, "chassis", "power", "status", deadline_s=deadline_s))
        match = _POWER.search(ended.output.decode(errors="replace"))
        if match is None:
            raise Retryable(f"{self._said(node, ended)}, and not on or off", after_s=AGAIN_S)
        return match[1].lower()

    async def _switch_on(self, node: str) -> str:
        """Switch on. That may be repeated, so a doubt about it is none."""
        try:
            return f"{node} was off: {await self._control(node, 'on')}"
        except InDoubt as doubt:
            raise Retryable(str(doubt), after_s=AGAIN_S) from doubt

    async def _control(self, node: str, what: str) -> str:
        """Have power switched, once.

        Raises:
            InDoubt: it was asked for, and not answered.
            Retryable, Permanent: it was not done.
        """
        try:
            ended = await self._run(node, *VERBOSE, *ONCE, "chassis", "power", what, deadline_s=self.deadline_s)
        except Retryable as late:
            raise InDoubt(f"{late}; it may have been done all the same.") from late
        if ended.code == 0:
            return f"chassis power {what} was taken up by {self.bmcs.of(node).address}."
        words = _words(ended)
        if refused := REFUSED.search(words):
            said = f"{self.bmcs.of(node).address}: {refused[0][:300]}"
            hopeless = any(code in refused[1] for code in NO_RIGHT)
            raise Permanent(said) if hopeless else Retryable(said, after_s=AGAIN_S)
        if NOT_SENT.search(words):
            raise self._no_session(node, words)
        raise InDoubt(f"{self._said(node, ended)}; it may have been done all the same.")

    def _done(self, node: str, ended: Ended) -> Ended:
        words = _words(ended)
        if ended.code and NOT_SENT.search(words):
            raise self._no_session(node, words)
        if ended.code:
            raise Retryable(self._said(node, ended), after_s=AGAIN_S)
        return ended

    def _no_session(self, node: str, words: str) -> Exception:
        bmc = self.bmcs.of(node)
        why = next((right for text, right in NO_SESSION.items() if text in words), "")
        if why:
            return Permanent(f"{bmc.address} refuses a session to the user {bmc.user!r}: {why}")
        return Retryable(f"{bmc.address} cannot be reached: ipmitool cannot establish a session", after_s=AGAIN_S)

    def _said(self, node: str, ended: Ended) -> str:
        return f"{self.bmcs.of(node).address}: ipmitool ended with code {ended.code}: {ended.last_words[:300]}"

    async def _run(self, node: str, *arguments: str, deadline_s: float) -> Ended:
        bmc = self.bmcs.of(node)
        bmc.password()
        host, port = _host_and_port(bmc.address)
        options = ["-I", "lanplus", "-C", "3", "-N", "3", "-H", host, "-p", port, "-U", bmc.user, "-L", "OPERATOR"]
        limits = Limits(deadline_s, MOST_OUTPUT_BYTES, AGAIN_S)
        return await run((self.tool, *options, "-f", str(bmc.password_file), *arguments), limits)


def _host_and_port(address: str) -> tuple[str, str]:
    """Return both of `host:port`, `[address]:port` or a host alone. Source of 623: IPMI 2.0, RMCP's port."""
    host, colon, port = address.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = address, "623"
    return host.strip("[]"), port


def _words(ended: Ended) -> str:
    return f"{ended.errors}\n{ended.output.decode(errors='replace')}"


def _text(ended: Ended) -> str:
    lines = ended.output.decode(errors="replace").splitlines()
    return "".join(f"{''.join(letter if letter.isprintable() else ' ' for letter in line[:300])}\n" for line in lines)
