"""What is believed of hosts that enrol."""
