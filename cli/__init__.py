"""The `fleetmend` command, thin."""
