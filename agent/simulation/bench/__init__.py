"""Active benchmarks of a simulated machine: numbers from its kind of GPU, its links and its faults."""
