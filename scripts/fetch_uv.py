"""Fetch the newest uv from the package index into a folder, with nothing but Python itself.

For machines whose Python has neither venv nor pip. Runs on any Python 3.9 or newer.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import sys
import urllib.parse
import urllib.request
import zipfile
from html.parser import HTMLParser
from pathlib import Path

WHEEL = re.compile(r"/uv-(\d+)\.(\d+)\.(\d+)-py3-none-(?P<tag>[^/]+)\.whl$")


class Links(HTMLParser):
    """Collects the files an index page offers, those withdrawn left out.

    Source: https://packaging.python.org/en/latest/specifications/simple-repository-api/
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self._page = page
        self.files: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the address of a link, made absolute."""
        attributes = dict(attrs)
        if tag == "a" and attributes.get("href") and "data-yanked" not in attributes:
            self.files.append(urllib.parse.urljoin(self._page, attributes["href"]))


def fetch(url: str) -> bytes:
    """Return what the address answers."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{url!r} is no web address")
    request = urllib.request.Request(url, headers={"Accept": "text/html, */*"})  # noqa: S310 - the scheme is checked
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the same
        content: bytes = answer.read()
    return content


def platform_pattern() -> re.Pattern[str]:
    """Return what the platform tag of a wheel for this machine looks like."""
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform == "darwin":
        return re.compile(r"macosx_.*_" + {"aarch64": "arm64"}.get(machine, machine))
    library = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    return re.compile(rf"(.*\.)?{library}[^.]*_{machine}(\..*)?")


def newest(files: list[str]) -> str:
    """Return the address of the newest wheel for this machine, with its checksum in the fragment.

    Raises:
        LookupError: the index has none.
    """
    here = platform_pattern()
    candidates = []
    for file in files:
        match = WHEEL.search(urllib.parse.urlsplit(file).path)
        if match and here.fullmatch(match["tag"]):
            candidates.append((tuple(int(part) for part in match.groups()[:3]), file))
    if not candidates:
        raise LookupError(f"the index has no uv for {platform.machine()} {sys.platform}")
    return max(candidates)[1]


def unpack(wheel: bytes, prefix: Path) -> None:
    """Put the one program of the wheel into `prefix`/bin."""
    target = prefix / "bin" / "uv"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        target.write_bytes(archive.read(member))
    target.chmod(0o755)


def main(prefix: Path) -> None:
    """Fetch, verify, unpack."""
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
    page = index.rstrip("/") + "/uv/"
    links = Links(page)
    links.feed(fetch(page).decode())
    url, _, checksum = newest(links.files).partition("#sha256=")
    wheel = fetch(url)
    if hashlib.sha256(wheel).hexdigest() != checksum:
        raise ValueError(f"{url} does not have the SHA-256 that {page} names ({checksum or 'none'})")
    unpack(wheel, prefix)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
