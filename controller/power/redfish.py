"""BMCs by Redfish: whether a node has power, and `ComputerSystem.Reset`.

It looks first. A node that is off is only ever switched on; one that is on is restarted by the BMC, or switched off and
then on where its BMC offers nothing else or power has to be gone in between. That it was switched off is remembered, so
that one key never does it twice; whoever takes over after a crash switches on, and never off. Source: DMTF DSP0268,
ComputerSystem 1.13 (Reset, PowerState), Resource.ResetType; DSP0266 (ActionInfo).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from controller.adapters import PowerSeen
from controller.errors import InDoubt, Permanent, Retryable
from controller.power.bmcs import Bmcs
from controller.power.redfish_documents import ROOT, Document, id_of, inner, link_in, links_in, objects_in, text_of
from controller.power.redfish_evidence import gather
from controller.power.redfish_talk import Access, NotOffered, Talk

ACTION = "#ComputerSystem.Reset"
ON, OFF = ("On", "ForceOn"), "ForceOff"
WARM = ("ForceRestart", "PowerCycle", OFF)
"""`ForceRestart` resets a host without cutting its power; `PowerCycle` cuts it. `PushPowerButton` is left out: what it
does depends on the state. Source: DSP0268; DMTF Redfish-Tacklebox, pull request 39."""

COLD = ("PowerCycle", OFF)

OFF_FOR_S = 15.0
"""How long a node that is switched off and on stays off at least. Source: our choice; IPMI 2.0 asks for one second, and
the supplies of a GPU baseboard hold their charge for longer."""

AGAIN_S = 5.0
"""Between two looks at a node whose power changes. Source: our choice."""

LOOK_S = 15.0
"""For one look. Source: our choice; three short documents."""

OTHER_SYSTEMS = "HGX_"
"""What the systems are called that stand for a GPU baseboard and not for the host. Source: NVIDIA DGX H100 user guide,
"Redfish APIs Support" (`HGX_Baseboard_0`)."""

SAYS = {"On": "on", "Off": "off"}
"""Source: DSP0268, Resource.PowerState; `PoweringOn`, `PoweringOff` and `Paused` are neither."""


class OffInDoubt(InDoubt):
    """A node was to be switched off, and nobody can say whether that was taken up."""


@dataclass(slots=True)
class RedfishPower:
    """Switches nodes by Redfish."""

    bmcs: Bmcs
    access: Access
    name: str = "redfish"
    repeatable: bool = False
    _switched_off: set[str] = field(default_factory=set)

    async def look(self, node: str) -> PowerSeen:
        """Return whether a node has power."""
        try:
            async with Talk(self.bmcs.of(node), self.access, at_most_s=LOOK_S) as talk:
                state = _power_state(await system_of(talk))
        except (Retryable, Permanent) as error:
            return PowerSeen("unknown", f"The BMC of {node} cannot be asked: {error}")
        power = SAYS.get(state, "unknown")
        says = {"on": "it has power", "off": "it has no power"}.get(power, f"its power is {state!r}")
        return PowerSeen(power, f"The BMC of {node} says that {says}.")

    async def cycle(self, node: str, *, key: str, fencing_token: int, cold: bool) -> str:
        """Have a node restarted, or switched off and on."""
        del fencing_token
        bmc = self.bmcs.of(node)
        async with Talk(bmc, self.access) as talk:
            system = await system_of(talk)
            state = _power_state(system)
            if state == "Off":
                _, said = await _reset(talk, system, ON)
                self._switched_off.discard(key)
                return f"{node} was off: {said}"
            if state != "On":
                raise Retryable(
                    f"{bmc.address} says that the power of {node} is {state or 'not known'}", after_s=AGAIN_S
                )
            if key in self._switched_off:
                raise Retryable(f"{bmc.address} took ForceOff up, and {node} is not off", after_s=AGAIN_S)
            return await self._restart(talk, system, node, key, cold=cold)

    async def _restart(self, talk: Talk, system: Document, node: str, key: str, *, cold: bool) -> str:
        offered = await _offered(talk, system)
        ways = [way for way in (COLD if cold else WARM) if not offered or way in offered]
        if not ways:
            raise Permanent(f"{talk.bmc.address} offers none of {', '.join(WARM)}, only {', '.join(sorted(offered))}")
        try:
            way, said = await _reset(talk, system, ways)
        except OffInDoubt as doubt:
            way, said = OFF, str(doubt)
        if way != OFF:
            return said
        self._switched_off.add(key)
        raise Retryable(f"{said} {node} is switched on once it is off", after_s=OFF_FOR_S)

    def is_half_done(self, key: str) -> bool:
        """Return whether a node was switched off under this key and was not yet switched on."""
        return key in self._switched_off

    async def take_up(self, node: str, *, key: str, fencing_token: int) -> str:
        """Switch a node on that is off.

        Raises:
            InDoubt: it is not off.
        """
        del fencing_token
        async with Talk(self.bmcs.of(node), self.access) as talk:
            system = await system_of(talk)
            if _power_state(system) == "Off":
                _, said = await _reset(talk, system, ON)
                return f"{node} was off: {said}"
        raise InDoubt(f"The controller stopped while the BMC of {node} was asked ({key}); the node has power now.")

    async def evidence(self, node: str) -> dict[str, str]:
        """Return what the BMC tells: power, health of the parts that have any, and the newest entries of its logs."""
        async with Talk(self.bmcs.of(node), self.access) as talk:
            return await gather(talk, await system_of(talk))


async def system_of(talk: Talk) -> Document:
    """Return the system that is the node.

    Raises:
        Permanent: there is none, or there are several and none is named.
    """
    root = await talk.get(ROOT)
    path = link_in(root, "Systems")
    if not path:
        raise Permanent(f"{talk.bmc.address} names no Systems: address has to be that of a Redfish service")
    return await talk.get(_chosen(talk, list(links_in(await talk.get(path), "Members"))))


def _chosen(talk: Talk, paths: Sequence[str]) -> str:
    ids = {id_of(path): path for path in paths}
    wanted = talk.bmc.system
    if wanted:
        if wanted in ids:
            return ids[wanted]
        raise Permanent(f"{talk.bmc.address} knows no system {wanted!r}, only {', '.join(sorted(ids)) or 'none'}")
    hosts = [path for name, path in ids.items() if not name.startswith(OTHER_SYSTEMS)]
    if len(hosts) == 1:
        return hosts[0]
    raise Permanent(
        f"{talk.bmc.address} knows {', '.join(sorted(ids)) or 'no system'}: name the node's own as `system`"
    )


def _power_state(system: Document) -> str:
    return text_of(system.get("PowerState"))


async def _offered(talk: Talk, system: Document) -> set[str]:
    """Return the types of reset that the BMC says it knows, empty when it does not say."""
    action = _action(system)
    listed, info = action.get("ResetType@Redfish.AllowableValues"), text_of(action.get("@Redfish.ActionInfo"))
    if not listed and info.startswith(ROOT):
        parameters = objects_in(await talk.get(info), "Parameters")
        listed = next((each.get("AllowableValues") for each in parameters if each.get("Name") == "ResetType"), None)
    return {text_of(each) for each in listed} - {""} if isinstance(listed, list) else set()


async def _reset(talk: Talk, system: Document, ways: Sequence[str]) -> tuple[str, str]:
    """Ask for the first of these that the BMC knows; return which, and a sentence. What it does not know was not done.

    Raises:
        OffInDoubt: the node may be off now, or soon.
        InDoubt: it may have been restarted.
        Permanent: the BMC knows none of them.
    """
    target, refusals = text_of(_action(system).get("target")), []
    if not target.startswith(ROOT):
        raise Permanent(f"{talk.bmc.address} offers no {ACTION.removeprefix('#')}")
    for way in ways:
        try:
            await talk.post(target, {"ResetType": way})
        except NotOffered as error:
            refusals.append(f"{way}: {error}")
        except InDoubt as doubt:
            raise _doubt(way, doubt) from doubt
        else:
            return way, f"{way} was taken up by {talk.bmc.address}."
    raise Permanent(f"{talk.bmc.address} does none of {', '.join(ways)}: {'; '.join(refusals)[:600]}")


def _doubt(way: str, doubt: InDoubt) -> Exception:
    """Return what a request means that was not answered: the power itself shows what became of a mere on or off."""
    if way in ON:
        return Retryable(str(doubt), after_s=AGAIN_S)
    return OffInDoubt(str(doubt)) if way == OFF else InDoubt(str(doubt))


def _action(system: Document) -> Document:
    return inner(inner(system, "Actions"), ACTION)
