"""What an adapter may say when an effect did not happen: instructions to the engine, not mere failures."""

from __future__ import annotations


class Retryable(Exception):
    """It may work later: time-outs, 429, 5xx, a scheduler that is restarting."""

    def __init__(self, because: str, *, after_s: float = 1.0) -> None:
        super().__init__(because)
        self.after_s = after_s


class InDoubt(Exception):
    """Nobody can say whether it happened: a request that went out, was not answered, and must not be sent twice."""


class Permanent(Exception):
    """It will not work however often it is tried: unknown node, bad credentials, a refused request."""


class Refused(Exception):
    """A guard said no, which is an answer, not a failure: e.g. the node is cordoned by somebody else."""


class NotLeading(Exception):
    """This controller stands by; `leader_url` says where the one answers that leads, empty while nobody is known to."""

    def __init__(self, leader_url: str) -> None:
        super().__init__("this controller stands by and changes nothing")
        self.leader_url = leader_url
