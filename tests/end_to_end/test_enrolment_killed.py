"""A controller killed by SIGKILL while many hosts show one token: as many enrol as it has uses, and all of them can."""

from __future__ import annotations

import threading
from pathlib import Path

from cli.client import Client, Failed
from cli.enrolment.controllers import Pin
from cli.exit_codes import ExitCode
from tests.support.enrolling import Host
from tests.support.enrolling_site import Site, running_site

USES = 3
HOSTS = 8


def enrol_at_once(site: Site, hosts: list[Host], token: str, *, killed: bool = False) -> dict[str, str]:
    """Have every host ask at the same time; return what became of each that was answered."""
    outcomes: dict[str, str] = {}
    first = threading.Event()
    client = Pin(ca_file=site.folder / "pki" / "ca.pem").client(site.url, token)

    def ask(host: Host) -> None:
        outcomes[host.node] = _asked(client, host)
        first.set()

    threads = [threading.Thread(target=ask, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    if killed:
        assert first.wait(timeout=30)
        site.kill()
    for thread in threads:
        thread.join()
    return {node: outcome for node, outcome in outcomes.items() if outcome != "lost"}


def _asked(client: Client, host: Host) -> str:
    try:
        client.post("enrol", node=host.node, csr=host.request())
    except Failed as failure:
        return "lost" if failure.code is ExitCode.UNREACHABLE else "refused"
    return "enrolled"


def test_a_token_has_its_uses_and_no_more_when_the_controller_is_killed(tmp_path: Path) -> None:
    with running_site(tmp_path) as site:
        token = site.token("--nodes", "gpu-*", "--uses", str(USES)).read_text().strip()
        hosts = [Host.new(f"gpu-{number}") for number in range(HOSTS)]
        before = enrol_at_once(site, hosts, token, killed=True)
        site.start()
        after = enrol_at_once(site, hosts, token)
        enrolled = {node for node, outcome in after.items() if outcome == "enrolled"}
        assert (len(after), len(enrolled)) == (HOSTS, USES)
        assert {node for node, outcome in before.items() if outcome == "enrolled"} <= enrolled
        assert {each["node"] for each in site.told() if "granted" in each["kind"]} == enrolled
