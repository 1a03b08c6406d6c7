"""Where pages go, one file an adapter."""
