"""The calls of CUDA's driver that benchmarks make: their names in the library, what they are given, and their codes."""

from __future__ import annotations

from ctypes import POINTER, c_char_p, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from typing import Final

LIBRARY: Final = "libcuda.so.1"
SUCCESS: Final = 0
OUT_OF_MEMORY: Final = 2
NOT_READY: Final = 600
PEER_ACCESS_ALREADY_ENABLED: Final = 704
"""Source: cuda.h of CUDA 13.0, enum CUresult."""

SENTENCES: Final = {
    34: "the library is the toolkit's stub and not the driver's",
    46: "the GPU is in use by another process, or in a mode that lets nobody in",
    100: "the driver finds no GPU",
    802: "the driver is not ready: the NVSwitches are not set up, which is the fabric manager's work",
    803: "the library and the kernel's module are of different driver versions",
    804: "the library is a newer one for compatibility, which these GPUs do not support",
}
"""Source: cuda.h of CUDA 13.0, remarks on CUresult."""

HARDWARE: Final = {214: "uncorrectable_memory", 220: "uncorrectable_link", 226: "contained_error"}
"""Results that speak of the GPU and not of the test. Source: cuda.h of CUDA 13.0: ECC_UNCORRECTABLE,
NVLINK_UNCORRECTABLE, CONTAINED."""

CAPABILITY_MAJOR, CAPABILITY_MINOR, MULTICAST = 75, 76, 132
PERFORMANCE_RANK: Final = 1
"""Source: cuda.h of CUDA 13.0, enums CUdevice_attribute and CUdevice_P2PAttribute."""

OF_THE_WHOLE_GPU: Final = "cuDeviceGetUuid"
"""Answers with the GPU where `cuDeviceGetUuid_v2` answers with the part of it that MIG made. It may go: CUDA 13
declares it no more, though its drivers have it. Source: cuda.h of CUDA 12 and 13, cudaTypedefs.h."""

NON_BLOCKING_STREAM: Final = 1
PORTABLE: Final = 1

_OUT_INT, _OUT_POINTER, _OUT_ADDRESS = POINTER(c_int), POINTER(c_void_p), POINTER(c_ulonglong)
SIGNATURES: Final[dict[str, tuple[object, ...]]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (_OUT_INT,),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
    "cuDeviceGetCount": (_OUT_INT,),
    "cuDeviceGet": (_OUT_INT, c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetUuid": (c_char_p, c_int),
    "cuDeviceGetUuid_v2": (c_char_p, c_int),
    "cuDeviceGetPCIBusId": (c_char_p, c_int, c_int),
    "cuDeviceTotalMem_v2": (POINTER(c_size_t), c_int),
    "cuDeviceGetAttribute": (_OUT_INT, c_int, c_int),
    "cuDeviceCanAccessPeer": (_OUT_INT, c_int, c_int),
    "cuDeviceGetP2PAttribute": (_OUT_INT, c_int, c_int, c_int),
    "cuDevicePrimaryCtxRetain": (_OUT_POINTER, c_int),
    "cuDevicePrimaryCtxRelease_v2": (c_int,),
    "cuCtxSetCurrent": (c_void_p,),
    "cuCtxEnablePeerAccess": (c_void_p, c_uint),
    "cuMemGetInfo_v2": (POINTER(c_size_t), POINTER(c_size_t)),
    "cuMemAlloc_v2": (_OUT_ADDRESS, c_size_t),
    "cuMemFree_v2": (c_ulonglong,),
    "cuMemHostAlloc": (_OUT_POINTER, c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuMemsetD32Async": (c_ulonglong, c_uint, c_size_t, c_void_p),
    "cuMemcpyHtoDAsync_v2": (c_ulonglong, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_ulonglong, c_size_t, c_void_p),
    "cuMemcpyDtoDAsync_v2": (c_ulonglong, c_ulonglong, c_size_t, c_void_p),
    "cuMemcpyPeerAsync": (c_ulonglong, c_void_p, c_ulonglong, c_void_p, c_size_t, c_void_p),
    "cuStreamCreate": (_OUT_POINTER, c_uint),
    "cuStreamQuery": (c_void_p,),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuEventCreate": (_OUT_POINTER, c_uint),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventQuery": (c_void_p,),
    "cuEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cuEventDestroy_v2": (c_void_p,),
}
"""Every call, under the name that it has in the library. Source: cuda.h of CUDA 13.0; all are there since CUDA 11.4."""
