"""Text that can travel. Names on a host are bytes: a mount point may hold any, and JSON in UTF-8 cannot."""

from __future__ import annotations

from dataclasses import replace

from checks.finding import Finding


def plain(text: str) -> str:
    """Return the text, with what UTF-8 cannot hold written out as `\\udc80`."""
    return text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    """Return what of the text can be printed, without the blanks around it."""
    return "".join(character for character in text if character.isprintable()).strip()


def plain_finding(finding: Finding) -> Finding:
    """Return the finding, with all of its texts plain."""
    texts = (finding.device, finding.code, finding.because, finding.pci, finding.serial)
    if all(map(_is_plain, (*texts, *finding.evidence, *finding.evidence.values()))):
        return finding
    device, code, because, pci, serial = map(plain, texts)
    evidence = {plain(name): plain(text) for name, text in finding.evidence.items()}
    return replace(finding, device=device, code=code, because=because, pci=pci, serial=serial, evidence=evidence)


def _is_plain(text: str) -> bool:
    return text.isascii() or text == plain(text)
