"""Tickets and pages as the policy sees them: where they are, what is due, and what belongs together."""
