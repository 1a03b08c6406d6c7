"""Why a block of commands is run nowhere: what stands behind `parse:` in a mark.

Each of these is something that no machine for tests has. A block that lacks none of them is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "broker": "the broker of a site; tests/wire/test_mutual_tls.py does the same at a real one",
        "clone": "a fresh clone that fetches every package: what CI begins with (.ci/run)",
        "container engine": "an engine that builds images; tests/kubernetes/test_settings.py looks at what they hold",
        "fleet": "many hosts that ssh reaches; the commands that they are given are run on one that is booted",
        "history": "a log of a site's own; tests/cli/test_replay.py and tests/controller/hindsight have some",
        "kubelet": "a kubelet that runs the images; those of tests run none, and the same commands are run on hosts",
        "internet": "packages or answers of the internet",
        "other release": "another release of Debian, measured once by hand",
        "postgresql and systemd": "PostgreSQL on the host that systemd boots; each is run with one or the other",
        "red hat": "Red Hat or its kin; tests/test_packaging.py builds the rpm and installs it into a folder",
        "service": "a service of a site's own: Kafka, ClickHouse",
        "slow": "minutes; test_packaging, test_supply_chain and test_policy_report, below tests, call what it calls",
    }
)
"""What stands in a mark → what the machine lacks, and what is tested in its place."""
