"""Active benchmarks: the gate before them, the processes that run them, and that nothing of them is left behind."""
