"""Who asks, and what they may have done: roles, tokens, sessions, limits."""
