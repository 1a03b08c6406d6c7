"""What `fleetmend doctor` looks at: one file a check, each reads facts and judges them apart from that."""
