"""The agent over a simulated machine whose NVML is the C double under the real pynvml, in place of Python's.

Where the double is and what it answers from, the environment says: LD_LIBRARY_PATH and NVML_DOUBLE_STATE.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from agent.__main__ import leave_out, main

if __name__ == "__main__":
    leave_out()
    sources: Any = import_module("agent.simulation.sources")
    sources.LIBRARY = "agent.sources.nvml_child"
    main()
