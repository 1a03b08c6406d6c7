"""What the agent does to a real host when it is ordered to: one file a repair, and what they have in common."""
