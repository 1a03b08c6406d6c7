"""Settings [report]: what GPU-hours are worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.settings import SettingsError, load


def settings(tmp_path: Path, text: str) -> Path:
    """Return a file with a state directory and this text."""
    file = tmp_path / "controller.toml"
    file.write_text(f'state = "{tmp_path}"\n[report]\n{text}\n')
    return file


def test_prices_are_read(tmp_path: Path) -> None:
    text = 'gpu_hour_price = 2\ngpu_hour_price_by_sku = { H100 = 2.5 }\ncurrency = "EUR"'
    prices = load(settings(tmp_path, text)).report.prices()
    assert (prices.of("NVIDIA H100 NVL"), prices.of("NVIDIA B200"), prices.currency) == (2.5, 2.0, "EUR")


def test_no_price_is_no_money(tmp_path: Path) -> None:
    assert load(settings(tmp_path, "")).report.prices().of("NVIDIA H100 NVL") is None


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("gpu_hour_price = -1", "report.gpu_hour_price"),
        ("gpu_hour_price = inf", "report.gpu_hour_price"),
        ("gpu_hour_price_by_sku = { H100 = -1 }", "report.gpu_hour_price_by_sku.H100"),
        ("gpu_price = 1", "report.gpu_price"),
        ('currency = "thirteen long"', "report.currency"),
    ],
)
def test_what_is_no_price_is_named(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(SettingsError, match=where):
        load(settings(tmp_path, text))
