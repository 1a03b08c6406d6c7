"""Benchmarks: each measures something beside a peer or a limit in the same run, prints a table and writes JSON."""
