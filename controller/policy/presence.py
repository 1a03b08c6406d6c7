"""What the controller itself finds when a node is not heard: its agent is lost, or the node is, and these differ."""

from __future__ import annotations

from checks.finding import FindingKey

AGENT_LOST = FindingKey("agent.presence", "node", "lost")
"""Nothing is heard of the agent. The node may well compute; nothing acts on it (I1)."""

NODE_LOST = FindingKey("node.presence", "node", "lost")
"""Nothing is heard of the agent, and somebody else who watches the node says that it does not answer either."""

FLOODING = FindingKey("node.messages", "node", "flood")
"""The node says more than it may (controller/allowance.py). Nothing acts on it for that."""

OURS = frozenset({AGENT_LOST.check, NODE_LOST.check})
"""Checks that no agent makes, so that none can be asked for them."""
