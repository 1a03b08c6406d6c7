"""A recorded log, thought about again: what was decided then, and what these rules decide."""
