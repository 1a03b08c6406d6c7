"""One command a file; cli/main.py holds the table."""
