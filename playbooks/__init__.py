"""Playbooks are data: one YAML file a fault family, read by controller.playbooks."""
