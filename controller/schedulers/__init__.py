"""Who places work on nodes: one file an adapter."""
