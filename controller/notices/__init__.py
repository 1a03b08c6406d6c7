"""Tickets and pages: what they say, and where any kind of them can go."""
