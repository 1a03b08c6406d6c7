"""Alert rules, by Prometheus' own tool, and the page that says what to do about each."""

from __future__ import annotations

import re
import subprocess

from ruamel.yaml import YAML

from tests.support.checkout import ROOT
from tests.support.prometheus import program
from tests.support.promql import ALERTS, alerts

CASES = ALERTS.with_name("alerts_test.yaml")
DOCUMENTS = "{{ $externalLabels.fleetmend_docs }}"
SEVERITIES = {"critical", "warning", "info"}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tool."""
    return subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_prometheus_takes_the_rules() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_when_they_should_and_not_before() -> None:
    tested = promtool("test", "rules", str(CASES))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_tested_both_ways() -> None:
    cases = [case for test in YAML(typ="safe").load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(alerts())
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(alerts())


def test_every_alert_says_what_it_means_and_where_is_told_what_to_do() -> None:
    headings = {text.lower() for text in re.findall(r"^## (\w+)$", _page(), re.MULTILINE)}
    for name, rule in alerts().items():
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name
        assert rule["annotations"]["runbook_url"] == f"{DOCUMENTS}/how-to/alerts.md#{name.lower()}"
        assert rule["labels"]["severity"] in SEVERITIES, name
    assert headings == {name.lower() for name in alerts()}


def _page() -> str:
    return (ROOT / "docs" / "how-to" / "alerts.md").read_text()
