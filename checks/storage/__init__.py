"""Checks about file systems and disks: one file a check."""
