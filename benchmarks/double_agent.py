"""The agent over a simulated machine whose NVML is the C double under the real pynvml, in place of Python's.

Where the double is and what it answers from, the environment says: LD_LIBRARY_PATH and NVML_DOUBLE_STATE.
"""

from __future__ import annotations

from agent.__main__ import main
from agent.simulation import sources

if __name__ == "__main__":
    sources.LIBRARY = "agent.sources.nvml_child"  # type: ignore[misc] # the one thing that a benchmark may change
    main()
