"""When a node may be benchmarked, what the results mean, and what is learnt of them. Pure."""
