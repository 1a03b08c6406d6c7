"""One node: sources read it, checks judge it, the outbox keeps what was found until the controller has stored it."""
