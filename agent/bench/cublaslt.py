"""cuBLASLt, as far as one product of two matrices needs it: bfloat16 in, float32 out, no sum split over the GPU.

The library comes with CUDA's toolkit and with every framework, and needs no compiler. Sums that are not split are added
in one order, so that the same library on the same kind of GPU gives the same bits each time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import ExitStack
from ctypes import POINTER, byref, c_float, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Final

from agent.bench.child import Broken, NotHere
from agent.bench.cuda import Context, Stream

LIBRARIES: Final = (
    *(f"libcublasLt.so.{major}" for major in (13, 12, 11)),
    "/usr/local/cuda/lib64/libcublasLt.so",
)
"""Where it is looked for, the newest first. Source: the names of CUDA 11 to 13, and the toolkit's usual place."""

SUCCESS: Final = 0
EXECUTION_FAILED: Final = 13
_SENTENCES: Final = {
    1: "it could not be set up on this GPU",
    3: "it could not get the memory that it needs",
    7: "a value is not valid",
    8: "this GPU is too old or too new for it",
    13: "the GPU did not carry it out",
    14: "it failed inside",
    15: "it cannot do that on this GPU",
}
"""Source: cublas_api.h of CUDA 12, cublasStatus_t."""

COMPUTE_FLOAT32: Final = 68
FLOAT32, BFLOAT16 = 0, 14
TRANSPOSE_FIRST: Final = 3
TRANSPOSED: Final = 1
MOST_WORKSPACE, REDUCTION_SCHEMES = 1, 3
NO_REDUCTION: Final = 0
"""Source: cublas_api.h, library_types.h and cublasLt.h of CUDA 12: CUBLAS_COMPUTE_32F, CUDA_R_32F and CUDA_R_16BF,
CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T, CUBLASLT_MATMUL_PREF_..., CUBLASLT_REDUCTION_SCHEME_NONE."""

BFLOAT16_BYTES, FLOAT32_BYTES = 2, 4
WORKSPACE_BYTES: Final = 32 << 20
"""Source: cuBLAS documentation, cublasSetWorkspace: what it wants on Hopper."""


class _Algorithm(ctypes.Structure):
    _fields_ = (("data", c_uint64 * 8),)


class _Heuristic(ctypes.Structure):
    """Source: cublasLt.h of CUDA 12, cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", _Algorithm),
        ("workspace_bytes", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


_OUT: Final = POINTER(c_void_p)
_SIGNATURES: Final[dict[str, tuple[object, ...]]] = {
    "cublasLtCreate": (_OUT,),
    "cublasLtDestroy": (c_void_p,),
    "cublasLtMatmulDescCreate": (_OUT, c_int, c_int),
    "cublasLtMatmulDescSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "cublasLtMatmulDescDestroy": (c_void_p,),
    "cublasLtMatrixLayoutCreate": (_OUT, c_int, c_uint64, c_uint64, c_int64),
    "cublasLtMatrixLayoutDestroy": (c_void_p,),
    "cublasLtMatmulPreferenceCreate": (_OUT,),
    "cublasLtMatmulPreferenceSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "cublasLtMatmulPreferenceDestroy": (c_void_p,),
    "cublasLtMatmulAlgoGetHeuristic": (*[c_void_p] * 7, c_int, POINTER(_Heuristic), POINTER(c_int)),
    "cublasLtMatmul": (
        *[c_void_p] * 3,
        *[c_uint64, c_void_p] * 2,
        c_void_p,
        *[c_uint64, c_void_p] * 2,
        POINTER(_Algorithm),
        c_uint64,
        c_size_t,
        c_void_p,
    ),
}
"""Every call; addresses on the GPU are numbers here. Source: cublasLt.h of CUDA 12; all are there since CUDA 11."""


class CublasFailed(Broken):
    """A call did not succeed. `code`: the library's."""

    def __init__(self, call: str, code: int) -> None:
        """Keep what failed."""
        self.code = code
        super().__init__(f"cuBLASLt's {call} failed with {code}: {_SENTENCES.get(code, 'an error without words')}")


class CublasLt:
    """The library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Declare what is called.

        Raises:
            Broken: it lacks a call.
        """
        self._library = library
        for name, arguments in _SIGNATURES.items():
            try:
                function = getattr(library, name)
            except AttributeError as error:
                raise Broken(f"libcublasLt has no {name}: it is older than CUDA 11") from error
            function.argtypes, function.restype = arguments, c_int
        library.cublasLtGetVersion.restype = c_size_t

    @property
    def version(self) -> str:
        """As the library says it, e.g. `120804` for that of CUDA 12.8.4."""
        return str(self._library.cublasLtGetVersion())

    def call(self, name: str, *arguments: object) -> None:
        """Make one call.

        Raises:
            CublasFailed: it did not succeed.
        """
        code = int(getattr(self._library, name)(*arguments))
        if code != SUCCESS:
            raise CublasFailed(name, code)

    def made(self, kind: str, taken: ExitStack, *arguments: object) -> c_void_p:
        """Return a new object of the library, which is destroyed with `taken`."""
        handle = c_void_p()
        self.call(f"cublasLt{kind}Create", byref(handle), *arguments)
        taken.callback(getattr(self._library, f"cublasLt{kind}Destroy"), handle)
        return handle


class MatrixProduct:
    """One product of two square matrices on one GPU, ready to be queued again and again.

    Attributes:
        first, second, result: addresses of the matrices on the GPU.
        size: rows and columns of each; `matrix_bytes` of the first two, `result_bytes` of the result.
    """

    def __init__(self, library: CublasLt, context: Context, size: int, taken: ExitStack) -> None:
        """Take the memory and let the library choose how to multiply.

        Raises:
            Broken: there is too little memory, or the library has no way to multiply these.
        """
        self._library, self._context, self.size = library, context, size
        self.matrix_bytes, self.result_bytes = BFLOAT16_BYTES * size * size, FLOAT32_BYTES * size * size
        self.first, self.second = context.allocate(self.matrix_bytes), context.allocate(self.matrix_bytes)
        self.result = context.allocate(self.result_bytes)
        self._workspace = context.allocate(WORKSPACE_BYTES)
        context.make_current()
        self._handle = library.made("", taken)
        self._product = library.made("MatmulDesc", taken, COMPUTE_FLOAT32, FLOAT32)
        self._set("MatmulDesc", self._product, TRANSPOSE_FIRST, c_int(TRANSPOSED))
        self._in = library.made("MatrixLayout", taken, BFLOAT16, size, size, size)
        self._out = library.made("MatrixLayout", taken, FLOAT32, size, size, size)
        self._one, self._none = c_float(1.0), c_float(0.0)
        self._algorithm = self._chosen(taken)

    def queue(self, stream: Stream) -> None:
        """Put one multiplication on the stream.

        Raises:
            CublasFailed: it cannot be started.
        """
        self._context.make_current()
        self._library.call(
            "cublasLtMatmul",
            self._handle,
            self._product,
            byref(self._one),
            self.first,
            self._in,
            self.second,
            self._in,
            byref(self._none),
            self.result,
            self._out,
            self.result,
            self._out,
            byref(self._algorithm),
            self._workspace,
            WORKSPACE_BYTES,
            stream.handle,
        )

    def _chosen(self, taken: ExitStack) -> _Algorithm:
        wanted = self._library.made("MatmulPreference", taken)
        self._set("MatmulPreference", wanted, MOST_WORKSPACE, c_uint64(WORKSPACE_BYTES))
        self._set("MatmulPreference", wanted, REDUCTION_SCHEMES, c_uint32(NO_REDUCTION))
        found, count = _Heuristic(), c_int()
        layouts = (self._in, self._in, self._out, self._out)
        self._library.call(
            "cublasLtMatmulAlgoGetHeuristic",
            self._handle,
            self._product,
            *layouts,
            wanted,
            1,
            byref(found),
            byref(count),
        )
        if count.value < 1 or found.state != SUCCESS:
            raise Broken(f"cuBLASLt has no way to multiply bfloat16 matrices on GPU {self._context.gpu.uuid}")
        return _Algorithm.from_buffer_copy(found.algorithm)

    def _set(self, kind: str, target: c_void_p, attribute: int, value: c_int | c_uint32 | c_uint64) -> None:
        self._library.call(f"cublasLt{kind}SetAttribute", target, attribute, byref(value), ctypes.sizeof(value))


def load_cublaslt(load: Callable[[str], ctypes.CDLL] = ctypes.CDLL) -> CublasLt:
    """Return the library.

    Raises:
        NotHere: the host does not have it.
        Broken: it is too old.
    """
    for name in LIBRARIES:
        try:
            return CublasLt(load(name))
        except OSError:
            continue
    raise NotHere("this host has no libcublasLt, which comes with CUDA's toolkit")
