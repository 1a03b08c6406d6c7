"""Pure decisions: the same belief in, the same decisions out."""
