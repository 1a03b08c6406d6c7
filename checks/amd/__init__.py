"""Checks of AMD GPUs."""
