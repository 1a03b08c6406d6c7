"""The benchmarks' processes, one file each: `python -m agent.bench.children.<name>`, and nothing else starts them."""
