"""NVLinks and the NVLink fabric, for the process that asks NVML (agent/sources/nvml_child.py).

A GPU has up to 36 links with some thirty counters each, so all of one kind are asked in one call. What a generation of
NVLink does not have is found out at one link and then not asked of the others.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, takewhile
from typing import Any, Final

import pynvml

from agent.sources.nvml_fields import ABSENT, NO_SUCH_FIELD, field, fields

COUNTERS_EVERY_S: Final = 60.0
"""Source: our choice: a counter that grew is as good a witness a minute later, and each reading asks the hardware."""

COUNTERS: Final = {
    "replays": pynvml.NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY,
    "recoveries": pynvml.NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY,
    "crc_errors": pynvml.NVML_FI_DEV_NVLINK_ERROR_DL_CRC,
    "malformed_packets": pynvml.NVML_FI_DEV_NVLINK_COUNT_MALFORMED_PACKET_ERRORS,
    "buffer_overruns": pynvml.NVML_FI_DEV_NVLINK_COUNT_BUFFER_OVERRUN_ERRORS,
    "receive_errors": pynvml.NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS,
    "remote_errors": pynvml.NVML_FI_DEV_NVLINK_COUNT_RCV_REMOTE_ERRORS,
    "general_errors": pynvml.NVML_FI_DEV_NVLINK_COUNT_RCV_GENERAL_ERRORS,
    "integrity_errors": pynvml.NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS,
    "transmit_discards": pynvml.NVML_FI_DEV_NVLINK_COUNT_XMIT_DISCARDS,
    "recoveries_succeeded": pynvml.NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_SUCCESSFUL_EVENTS,
    "recoveries_failed": pynvml.NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS,
    "recovery_events": pynvml.NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS,
    "effective_errors": pynvml.NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS,
    "effective_ber": pynvml.NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_BER,
    "symbol_errors": pynvml.NVML_FI_DEV_NVLINK_COUNT_SYMBOL_ERRORS,
    "symbol_ber": pynvml.NVML_FI_DEV_NVLINK_COUNT_SYMBOL_BER,
    "plr_blocks": pynvml.NVML_FI_DEV_NVLINK_PLR_XMIT_BLOCKS,
    "plr_retries": pynvml.NVML_FI_DEV_NVLINK_PLR_XMIT_RETRY_BLOCKS,
}
"""Counter → its field, whose scope is the link. Source: nvml.h."""

FEC_HISTORY: Final = tuple(
    range(pynvml.NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_0, pynvml.NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_15 + 1)
)

OLD_COUNTERS: Final = {
    "replays": (pynvml.NVML_NVLINK_ERROR_DL_REPLAY,),
    "recoveries": (pynvml.NVML_NVLINK_ERROR_DL_RECOVERY,),
    "crc_errors": (pynvml.NVML_NVLINK_ERROR_DL_CRC_FLIT, pynvml.NVML_NVLINK_ERROR_DL_CRC_DATA),
}
"""Counter → what nvmlDeviceGetNvLinkErrorCounter calls its parts, for drivers without the fields."""

Reading = dict[str, Any]


class LinkReader:
    """Reads the links of all GPUs of a host, their counters at intervals."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read nothing yet."""
        self._monotonic = monotonic
        self._counted_at_s: dict[int, float] = {}

    def read(self, handle: Any) -> Reading | None:
        """Return what NvlinkReading holds, `None` of a GPU without NVLink.

        Raises:
            NVMLError: the states of the links are not told.
        """
        states, mig = link_states(handle), mig_is_on(handle)
        if not states and not mig:
            return None
        reading: Reading = {"mig": mig, "states": states}
        if states and self.is_due(handle):
            reading |= _counted(handle, states)
        return reading

    def is_due(self, handle: Any) -> bool:
        """Return whether the counters of the GPU are to be read now, and remember that they were."""
        now_s, gpu = self._monotonic(), ctypes.cast(handle, ctypes.c_void_p).value or 0
        if gpu in self._counted_at_s and now_s - self._counted_at_s[gpu] < COUNTERS_EVERY_S:
            return False
        self._counted_at_s[gpu] = now_s
        return True


def mig_is_on(handle: Any) -> bool:
    """Return whether the GPU is divided into instances now."""
    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
    except pynvml.NVMLError as error:
        if error.value in ABSENT:
            return False
        raise


def link_states(handle: Any) -> list[int | None]:
    """Return the state of each link that the GPU has, `None` for one that does not tell it.

    How many those are is the GPU's to say: NVML_NVLINK_MAX_LINKS is a bound of the library, above what most have.
    """
    count = field(handle, pynvml.NVML_FI_DEV_NVLINK_LINK_COUNT)
    if count is None:
        links = range(pynvml.NVML_NVLINK_MAX_LINKS)
        return list(takewhile(lambda state: state is not None, (_state(handle, link) for link in links)))
    states = fields(handle, [(pynvml.NVML_FI_DEV_NVLINK_GET_STATE, link) for link in range(count)])
    return [_state(handle, link) if state is None else state for link, state in enumerate(states)]


def _state(handle: Any, link: int) -> int | None:
    """Return the state of one link by the call that drivers without the field have."""
    try:
        return int(pynvml.nvmlDeviceGetNvLinkState(handle, link))
    except pynvml.NVMLError as error:
        if error.value in NO_SUCH_FIELD:
            return None
        raise


def _counted(handle: Any, states: Sequence[int | None]) -> Reading:
    """Return the counters, or why there are none. A GPU that is lost is no matter of its counters."""
    try:
        return {"counters": _counters(handle, states)}
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
            raise
        return {"counters_unreadable": f"{error} ({error.value})"}


def _counters(handle: Any, states: Sequence[int | None]) -> Reading:
    probe = next((link for link, state in enumerate(states) if state), 0)
    numbers = (*COUNTERS.values(), *FEC_HISTORY)
    answers = fields(handle, [(number, probe) for number in numbers])
    known = [number for number, answer in zip(numbers, answers, strict=True) if answer is not None]
    if not known:
        return _old_counters(handle, probe, len(states))
    values = iter(fields(handle, [(number, link) for number in known for link in range(len(states))]))
    by_number = {number: list(islice(values, len(states))) for number in known}
    counters: Reading = {name: by_number[number] for name, number in COUNTERS.items() if number in by_number}
    history = [by_number[number] for number in FEC_HISTORY if number in by_number]
    return counters | ({"fec_history": history} if len(history) == len(FEC_HISTORY) else {})


def _old_counters(handle: Any, probe: int, count: int) -> Reading:
    """Return the counters of a driver that does not have them as fields: a call each."""
    known = {name: parts for name, parts in OLD_COUNTERS.items() if _old_counter(handle, probe, parts) is not None}
    return {name: [_old_counter(handle, link, parts) for link in range(count)] for name, parts in known.items()}


def _old_counter(handle: Any, link: int, parts: Iterable[int]) -> int | None:
    try:
        return sum(int(pynvml.nvmlDeviceGetNvLinkErrorCounter(handle, link, part)) for part in parts)
    except pynvml.NVMLError as error:
        if error.value in NO_SUCH_FIELD:
            return None
        raise


def read_fabric(handle: Any) -> Reading | None:
    """Return what FabricReading holds, `None` where driver or GPU know of no fabric."""
    for structure in (pynvml.c_nvmlGpuFabricInfo_v3_t, pynvml.c_nvmlGpuFabricInfo_v2_t):
        information = structure()
        try:
            pynvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(information))
        except pynvml.NVMLError as error:
            if error.value not in NO_SUCH_FIELD:
                raise
        else:
            return _fabric(information)
    return None


def _fabric(information: Any) -> Reading:
    return {
        "state": information.state,
        "status": information.status,
        "cluster_uuid": bytes(information.clusterUuid).hex(),
        "clique_id": information.cliqueId,
        "health_mask": information.healthMask,
        "health_summary": getattr(information, "healthSummary", None),
    }
