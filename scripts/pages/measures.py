"""The page of what is compared between nodes."""

from __future__ import annotations

from checks.measures import MEASURES
from controller.policy import peers
from scripts.pages.markdown import code, page, table


def measures_page() -> str:
    """Return what is compared between nodes."""
    intro = (
        "Numbers that mean something only beside those of other nodes: one a node, the worst of its devices. A node "
        f"that stands out by more than {peers.DEVIATIONS:g} robust deviations for {peers.CONTINUITY_S:g} s among "
        f"{peers.LEAST_PEERS} peers or more is found as `{peers.CHECK}`, which is a warning and causes no action. See "
        "[how history decides](../explanation/history.md#peers)."
    )
    rows = [
        (
            code(measure.name),
            measure.summary,
            "higher" if measure.higher_is_worse else "lower",
            "nodes of the same job" if measure.within_job else "nodes of the same model",
            f"{measure.least_spread:g} {measure.unit}: {measure.because}",
        )
        for measure in MEASURES
    ]
    return page("Measures", intro, table(("measure", "what it is", "worse is", "beside", "least deviation"), rows))
