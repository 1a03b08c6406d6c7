"""Where facts come from: one file a source, and all of the agent's input from the machine."""
