"""`make sbom`: what is in a release, as CycloneDX JSON. It is uv's export of the lock, with licences."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

from scripts.packing import licences, uv
from scripts.packing.licences import Licensed, normal
from scripts.packing.release import EXTRAS, ROOT, Release, last_commit_s, project

NAMESPACE: Final = uuid.UUID("1f7c4e0a-5d52-5c0b-9f37-6f3c0f6f7a11")
"""The serial number of a document is its content's, below this."""


def text(release: Release, licensed: Iterable[Licensed]) -> str:
    """Return the document of what the lock names for a release.

    Args:
        licensed: what is in it; the rest of the lock's packages are for other machines, and left out.
    """
    licence_by_name = {each.name: each.licence for each in licensed}
    document = json.loads(uv.export(release, "--format=cyclonedx1.5", "--preview-features=sbom-export"))
    document["components"] = [
        {**each, "licenses": [{"expression": licence_by_name[normal(each["name"])]}]}
        for each in document["components"]
        if normal(each["name"]) in licence_by_name
    ]
    _describe(document, release)
    return json.dumps(document, indent=2) + "\n"


def _describe(document: dict[str, Any], release: Release) -> None:
    """Say what it is of, and from when, by the release alone."""
    ours = document["metadata"]["component"]
    ours |= {"type": "application", "purl": f"pkg:pypi/fleetmend@{release.version}"}
    ours["licenses"] = [{"expression": project()["license"]}]
    known = {ours["bom-ref"], *(each["bom-ref"] for each in document["components"])}
    document["dependencies"] = [
        each | {"dependsOn": [reference for reference in each.get("dependsOn", []) if reference in known]}
        for each in document["dependencies"]
        if each["ref"] in known
    ]
    document["metadata"]["timestamp"] = release.date.isoformat().replace("+00:00", "Z")
    del document["serialNumber"]
    document["serialNumber"] = uuid.uuid5(NAMESPACE, json.dumps(document, sort_keys=True)).urn


def main() -> int:
    """Write the document of everything that the lock names for a host, with every extra."""
    parser = argparse.ArgumentParser(prog="make sbom ARGS=...", description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "dist", help="the folder to write it into")
    into: Path = parser.parse_args().into
    release = Release(version=str(project()["version"]), epoch_s=last_commit_s(), extras=EXTRAS)
    licensed, wrong = licences.judged((distribution(name) for name in licences.locked()), licences.rules())
    if wrong:
        print("".join(f"make sbom: {problem}\n" for problem in wrong), end="", file=sys.stderr)
        return 1
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"fleetmend-{release.version}.cdx.json"
    path.write_text(text(release, licensed), encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
