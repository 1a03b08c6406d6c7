"""The large bundle of evidence: gathered into a folder on the state disk, packed, and sent beside all other work."""
