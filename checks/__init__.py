"""Ground floor, pure: what a check says, what it judges, and the checks themselves."""
