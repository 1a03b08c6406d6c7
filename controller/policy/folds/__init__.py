"""How each kind of event changes belief: one function a kind, which controller/policy/folding.py finds."""
