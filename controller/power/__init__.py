"""Who switches nodes off and on: one file an adapter."""
