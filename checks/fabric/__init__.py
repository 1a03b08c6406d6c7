"""Checks about NVLink and RDMA: one file a check."""
