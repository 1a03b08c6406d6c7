"""Sweeps: many nodes in groups, what the groups mean, and what follows of the verdicts. Pure."""
