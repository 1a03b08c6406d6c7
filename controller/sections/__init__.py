"""The tables of the controller's configuration: one file a subject. controller/settings.py puts them together."""
