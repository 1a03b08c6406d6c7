"""Field values of NVML, and which of its answers mean that a GPU or driver does not have what was asked.

It belongs to the process that asks NVML (agent/sources/nvml_child.py), and imports no more than that needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pynvml

ABSENT: Final = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_DEPRECATED,
    }
)
"""This GPU or driver cannot tell: the value is None, and nothing is wrong. Source: NVML API reference, nvmlReturn_t."""

NO_SUCH_FIELD: Final = ABSENT | {pynvml.NVML_ERROR_INVALID_ARGUMENT}
"""How drivers answer for a field, or a link, that they do not know."""

MEMBERS: Final = {
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}
"""Member of the value's union by type. Source: nvml.h, nvmlValueType_t."""


def field(handle: Any, number: int) -> int | None:
    """Return the value of an NVML field, `None` where driver or GPU do not have it.

    Raises:
        NVMLError: it has one and does not tell it.
    """
    return fields(handle, [(number, 0)])[0]


def fields(handle: Any, wanted: Sequence[tuple[int, int]]) -> list[int | None]:
    """Return the value of each field in its scope, `None` where driver or GPU do not have it.

    Raises:
        NVMLError: one of them is there and is not told.
    """
    if not wanted:
        return []
    try:
        values = pynvml.nvmlDeviceGetFieldValues(handle, wanted)
    except pynvml.NVMLError as error:
        if error.value in NO_SUCH_FIELD:
            return [None] * len(wanted)
        raise
    return [_number(value) for value in values]


def _number(value: Any) -> int | None:
    if value.nvmlReturn in NO_SUCH_FIELD:
        return None
    if value.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(value.nvmlReturn)
    member = MEMBERS.get(value.valueType)
    return int(getattr(value.value, member)) if member else None
