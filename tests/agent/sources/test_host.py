"""Host readings: processes, and this very host."""

from __future__ import annotations

from pathlib import Path

from agent.sources.host import HostSource, process_states, read_facts
from tests.support.surroundings import SOON, surroundings_at


def test_processes_are_read_by_name_and_state(tmp_path: Path) -> None:
    stats = {
        "1": "1 (systemd) S 0 1",
        "20": "20 (a) b) (c)) D 1 20",
        "21": "21 (nvidia-smi) D 1 20",
        "22": "22 (sh) Z 1 20",
        "self": "22 (sh) Z 1 20",
        "30": "",
    }
    for name, text in stats.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "stat").write_text(text)
    (tmp_path / "40").mkdir()
    expected = {("systemd", "S"), ("a) b) (c)", "D"), ("nvidia-smi", "D"), ("sh", "Z")}
    assert expected == set(process_states(tmp_path))
    facts = read_facts(tmp_path)
    assert (facts.zombies, facts.uninterruptible) == (1, ("a) b) (c)", "nvidia-smi"))


async def test_this_very_host_is_read() -> None:
    source = HostSource(surroundings_at(Path("/")), SOON)
    reading = await source.read()
    await source.close()
    assert (reading.memory_total_bytes or 0) > (reading.memory_available_bytes or 0) > 0
    assert (reading.cpu_count or 0) >= 1
    assert (reading.uptime_s or 0) > 0
