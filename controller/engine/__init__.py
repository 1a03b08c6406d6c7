"""Carries decisions out: intent, effect, outcome, each recorded."""
