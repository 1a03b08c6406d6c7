"""Which node, link or switch makes collectives slow: groups to run next, and in the end the verdicts. Pure."""
