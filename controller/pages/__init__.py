"""Ways to page people: one file a system."""
