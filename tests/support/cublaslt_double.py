"""The C double of libcublasLt.so.12, beside those of CUDA's driver."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support.cuda_double import SOURCES
from tests.support.parts import missing


def build_cublaslt_double(doubles: Path) -> Path:
    """Compile it into the folder of `build_cuda_doubles`, and return it."""
    compiler = shutil.which("gcc")
    if compiler is None:
        missing("gcc, which builds the C double of cuBLASLt,")
    library = doubles / "libcublasLt.so.12"
    flags = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-Wl,-rpath,$ORIGIN"]
    subprocess.run([*flags, "-o", library, SOURCES / "libcublasLt.c", doubles / "libcuda.so.1"], check=True)
    return library
