"""Who is paged: one file an adapter."""
