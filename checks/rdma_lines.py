"""What each line of the kernel means that is about RDMA adapters, their firmware, their modules and their slots.

`fabric.rdma_kernel` judges records by them. Left out on purpose: commands that the firmware refused (reading counters
of a restricted function is enough for that), the words of a dump (`assert_var`, `ext_synd`: the line before says what
it is), and plugs that are pulled (ports that nobody uses say so at each boot; `fabric.rdma_port` knows the others).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from checks.finding import Action, Verdict
from checks.gpu_names import PCI

_ADDRESS = rf"(?P<pci>{PCI})\.(?P<function>[0-7])"
_INTERFACE = r"(?: [\w.@()-]{1,32}){0,3}"
_FUNCTION = r"(?:\w{1,64}:\d{1,6}:(?:\(pid \d{1,10}\):)? ?)?"
"""Source: kernel, drivers/net/ethernet/mellanox/mlx5/core/mlx5_core.h, `mlx5_core_err`."""

_MLX5 = rf"mlx5_core {_ADDRESS}{_INTERFACE}: {_FUNCTION}"
_EFA = rf"(?:efa {_ADDRESS}{_INTERFACE}|infiniband (?P<device>(?:rdmap|efa)\w{{0,32}})): "
_BNXT = rf"bnxt_en {_ADDRESS}{_INTERFACE}: "
_DRIVER = r"(?:mlx5_core|bnxt_en|ena|irdma|ice|ionic)"
_WATCHDOG = (
    rf"(?:NETDEV WATCHDOG: (?P<device>\S{{1,15}}) \({_DRIVER}\): |{_DRIVER} {_ADDRESS}{_INTERFACE}: NETDEV WATCHDOG: )"
)


@dataclass(frozen=True, slots=True)
class RdmaLine:
    """One kind of line.

    Attributes:
        pattern: matched at the message's start; the groups `pci` and `device` name what it is about.
        ends: codes of faults of the same device that are over by this line; its own verdict is `ok` then.
    """

    code: str
    pattern: re.Pattern[str]
    verdict: Verdict
    action: Action
    reason: str
    ends: tuple[str, ...] = ()

    @property
    def codes(self) -> tuple[str, ...]:
        """Under which codes it is said."""
        return self.ends or (self.code,)


def _failed(code: str, pattern: str, action: Action, reason: str) -> RdmaLine:
    return RdmaLine(code, re.compile(pattern, re.ASCII), Verdict.FAILED, action, reason)


def _degraded(code: str, pattern: str, action: Action, reason: str) -> RdmaLine:
    return RdmaLine(code, re.compile(pattern, re.ASCII), Verdict.DEGRADED, action, reason)


def _over(codes: tuple[str, ...], pattern: str, reason: str) -> RdmaLine:
    return RdmaLine(codes[0], re.compile(pattern, re.ASCII), Verdict.OK, Action.NONE, reason, codes)


MLX5 = (
    _failed(
        "firmware",
        rf"{_MLX5}device's health compromised",
        Action.REBOOT,
        "the adapter's firmware no longer counts its heartbeat",
    ),
    _failed(
        "overheated",
        rf"{_MLX5}(?:synd 0x10: |Health issue observed, High temp)",
        Action.CONTACT_SUPPORT,
        "the adapter is so hot that its firmware stops it: look at its cooling",
    ),
    _failed(
        "firmware",
        rf"{_MLX5}(?:synd 0x(?:1|7|8|9|a|b|c|d|e|f): |Health issue observed, (?!unrecognized))",
        Action.REBOOT,
        "the adapter's firmware reports a fault that it does not mend",
    ),
    _degraded(
        "firmware_unknown",
        rf"{_MLX5}(?:synd 0x(?!0\b)\w{{1,2}}: |Health issue observed, unrecognized)",
        Action.CONTACT_SUPPORT,
        "the adapter's firmware reports a fault that no table has",
    ),
    _failed(
        "firmware",
        rf"{_MLX5}Fatal error \d{{1,3}} detected",
        Action.REBOOT,
        "the driver found the adapter in a fatal state",
    ),
    _failed(
        "firmware",
        rf"{_MLX5}Driver is in error state\. Unloading",
        Action.REBOOT,
        "the driver gave the adapter up after a fatal fault of its firmware",
    ),
    _failed(
        "firmware",
        rf"{_MLX5}(?:health recovery failed|health recovery flow aborted|PCI slot is unavailable)",
        Action.REBOOT,
        "the driver could not bring the adapter back",
    ),
    _over(
        ("firmware", "overheated", "command_timeout"),
        rf"{_MLX5}health recovery succeeded",
        "the driver brought the adapter back",
    ),
    _failed(
        "command_timeout",
        rf"{_MLX5}(?:cmd\[\d{{1,3}}\]: )?\w{{1,48}}\(0x\w{{1,4}}\) (?:Async, )?timeout\. Will cause a leak",
        Action.REBOOT,
        "the adapter's firmware did not answer its driver",
    ),
    _degraded(
        "hot",
        rf"{_MLX5}High temperature on sensors with bit set",
        Action.NONE,
        "the adapter is too hot: look at its cooling",
    ),
    _degraded(
        "module_hot",
        rf"{_MLX5}Port module event\[error\]: module \d{{1,3}}, Cable error, High Temperature",
        Action.NONE,
        "the cable's module is too hot, and its link may be switched off: look at its cooling",
    ),
    _failed(
        "pcie_power",
        rf"{_MLX5}Port module event\[error\]: module \d{{1,3}}, Cable error, One or more network ports",
        Action.CONTACT_SUPPORT,
        "ports are switched off because the slot does not give the power that their modules need",
    ),
    _degraded(
        "pcie_power",
        rf"{_MLX5}Detected insufficient power on the PCIe slot",
        Action.NONE,
        "the slot says that it gives less power than adapter and modules may need",
    ),
    _over(
        ("pcie_power",),
        rf"{_MLX5}PCIe slot advertised sufficient power",
        "the slot gives enough power",
    ),
    _degraded(
        "module_error",
        rf"{_MLX5}Port module event\[error\]: module \d{{1,3}}, Cable error, ",
        Action.CHECK_CABLING,
        "the adapter does not take the cable or its module",
    ),
    _over(
        ("module_error", "module_hot"),
        rf"{_MLX5}Port module event: module \d{{1,3}}, Cable plugged",
        "a cable was plugged in and is taken",
    ),
)
"""Source: kernel, drivers/net/ethernet/mellanox/mlx5/core/{health,events,cmd}.c, syndromes by
include/linux/mlx5/device.h; fatal as in NVSentinel's NIC monitor. Heat and slot power are no fault by themselves there
and in gpud."""

EFA = (
    _failed(
        "admin_queue",
        rf"{_EFA}(?:Wait for completion \(polling\) timeout|The device didn't send any completion for admin cmd"
        r"|The device sent a completion but the driver didn't receive any|Admin queue is closed)",
        Action.REBOOT,
        "the adapter does not answer its driver, and no job can begin to use it",
    ),
    _failed(
        "reset_failed",
        rf"{_EFA}(?:Reset indication didn't turn o(?:n|ff)|Device isn't ready, )",
        Action.REBOOT,
        "the adapter could not be reset",
    ),
    _degraded(
        "keep_alive",
        rf"(?:efa|ena) {_ADDRESS}{_INTERFACE}: Keep alive watchdog timeout",
        Action.NONE,
        "the adapter was silent and its driver resets it",
    ),
)
"""Source: kernel, drivers/infiniband/hw/efa/efa_com.c; drivers/net/ethernet/amazon/ena/ena_netdev.c, which alone has
the watchdog: the network interface beside the EFA. Fatal as in NVSentinel."""

BNXT = (
    _failed(
        "firmware",
        rf"{_BNXT}(?:Firmware reset aborted|Firmware not responding, status|Firmware init phase \d failed)",
        Action.REBOOT,
        "the adapter's firmware could not be brought back",
    ),
    _degraded(
        "firmware_reset",
        rf"{_BNXT}(?:Firmware (?:non-)?fatal reset event|Detected firmware fatal condition, initiating reset)",
        Action.NONE,
        "the adapter's firmware is reset, and every job over it loses its connections",
    ),
    _failed(
        "command_timeout",
        rf"{_BNXT}(?:QPLIB: )?cmdq\[0x\w{{1,8}}\]=0x\w{{1,4}} timedout",
        Action.REBOOT,
        "the adapter's firmware did not answer its RDMA driver",
    ),
    _degraded(
        "command_slow",
        rf"{_BNXT}Error \(timeout: \d{{1,9}}\) msg \{{0x\w{{1,4}} 0x\w{{1,4}}\}}",
        Action.NONE,
        "the adapter's firmware did not answer its network driver",
    ),
)
"""Source: kernel, drivers/net/ethernet/broadcom/bnxt/{bnxt,bnxt_hwrm}.c, drivers/infiniband/hw/bnxt_re/qplib_rcfw.c."""

ANY = (
    _degraded(
        "tx_timeout",
        rf"{_WATCHDOG}.{{0,40}}transmit queue",
        Action.NONE,
        "a queue of the adapter sent nothing for seconds, and its driver starts it anew",
    ),
    _degraded(
        "tx_timeout",
        rf"{_MLX5}TX timeout detected",
        Action.NONE,
        "a queue of the adapter sent nothing for seconds, and its driver starts it anew",
    ),
    _degraded(
        "tx_timeout",
        rf"{_BNXT}TX timeout detected",
        Action.NONE,
        "a queue of the adapter sent nothing for seconds, and its driver starts it anew",
    ),
    _degraded(
        "peer_memory",
        r"nvidia-peermem \w{1,64}:\d{1,6} ERROR detected invalid context",
        Action.NONE,
        "memory of a GPU was given back while an adapter still used it",
    ),
)
"""Source: kernel, net/sched/sch_generic.c before and since Linux 6.8, mlx5's en_main.c, bnxt.c; NVIDIA's open kernel
modules, nvidia-peermem.c."""

MAY_MATTER = re.compile(r"mlx5_core |NETDEV WATCHDOG|efa |ena |infiniband |bnxt_en |irdma |ice |ionic |nvidia-peermem ")
"""How all of them begin: tried before any, since in a flood nearly every line is about something else."""

LINES = (*MLX5, *EFA, *BNXT, *ANY)
"""In the order in which they are tried; the first that matches counts. Intel's irdma has no line here that we found
captured or certain."""
