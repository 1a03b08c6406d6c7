"""What `fleetmend setup` does: read the host, plan files, write them whole or not at all, start units, look again."""
