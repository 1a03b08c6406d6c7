"""Active benchmarks' thin shell: orders to nodes that have a lease, and what they say while they run."""
