"""Playbooks from their files: exact, or refused with every reason at once.

What a playbook is, is said by controller/policy/playbook.py; here it is read, checked, described and shown.
"""

from controller.playbooks.files import default_directory, lint, load_default, load_directory, parse
from controller.playbooks.problems import PlaybookErrors, Problem
from controller.playbooks.schema import schema
from controller.playbooks.text import describe, render

__all__ = [
    "PlaybookErrors",
    "Problem",
    "default_directory",
    "describe",
    "lint",
    "load_default",
    "load_directory",
    "parse",
    "render",
    "schema",
]
