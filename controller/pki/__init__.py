"""The cell's own certificate authority: who may speak to the broker, and as whom."""
