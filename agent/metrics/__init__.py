"""What an agent tells Prometheus, where somebody scrapes it."""
