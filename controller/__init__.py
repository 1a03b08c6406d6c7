"""The cell: takes findings in, decides, acts through adapters, and remembers everything."""
