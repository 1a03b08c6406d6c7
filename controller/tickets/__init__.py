"""Where tickets go, one file an adapter."""
