"""What a report needs to know that no log tells."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.policy.reporting.asked import Prices
from controller.sections.section import Section

_Price = Annotated[float, Field(ge=0)]


class ReportSection(Section):
    """What GPU-hours are worth, for `fleetmend report`; nothing is decided by it."""

    gpu_hour_price: _Price | None = Field(
        default=None, description="of every GPU that `gpu_hour_price_by_sku` does not name; default: no money is shown"
    )
    gpu_hour_price_by_sku: dict[str, _Price] = Field(
        default={}, description="part of the model's name, in any case → price, e.g. `H100 = 2.5`; the longest holds"
    )
    currency: Annotated[str, Field(max_length=12)] = Field(default="", description="shown with it, e.g. `EUR`")

    def prices(self) -> Prices:
        """Return the prices as a report takes them."""
        return Prices(self.gpu_hour_price, dict(self.gpu_hour_price_by_sku), self.currency)
