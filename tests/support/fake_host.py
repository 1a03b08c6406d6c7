"""A host for its repairs: fake programs on PATH that print captured text, keep state, and note how they were called."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

UUID = "GPU-11111111-2222-3333-4444-555555555555"
OTHER = "GPU-66666666-7777-8888-9999-000000000000"
BOOT = "0f1e2d3c-0000-4000-8000-000000000001"

RESET_DONE = "GPU 00000000:3B:00.0 was successfully reset.\nAll done.\n"
IN_USE = """The following GPUs could not be reset:
  GPU 00000000:3B:00.0: In use by another client

1 device is currently being used by one or more other processes (e.g., Fabric Manager, CUDA application, graphics
application such as an X server, or a monitoring application such as another instance of nvidia-smi). Please first kill
all processes using this device and all compute applications running in the system.
"""
"""What nvidia-smi 535 to 580 print. Source: NVIDIA/NVSentinel, issue 1690; NVIDIA/mig-parted, issue 181."""

H100 = "{uuid}, 00000000:{bus}:00.0, NVIDIA H100 80GB HBM3, 9.0, {mig}, {persistence}, Disabled"
A100 = "{uuid}, 00000000:{bus}:00.0, NVIDIA A100-SXM4-80GB, 8.0, {mig}, {persistence}, Disabled"
V100 = "{uuid}, 00000000:{bus}:00.0, Tesla V100-SXM2-32GB, 7.0, [N/A], {persistence}, Disabled"
LINKED = f"GPU 0: NVIDIA A100-SXM4-80GB (UUID: {UUID})\n\t Link 0: 25 GB/s\n\t Link 1: 25 GB/s\n"

NVIDIA_SMI = """
case "$*" in
  --query-gpu=persistence_mode*) cat "$S/persistence" 2>/dev/null || echo Enabled;;
  --query-gpu=*) cat "$S/gpus"; exit $(cat "$S/gpus.code" 2>/dev/null || echo 0);;
  --query-compute-apps=*) cat "$S/apps" 2>/dev/null; exit $(cat "$S/apps.code" 2>/dev/null || echo 0);;
  "mig -lgi"*) cat "$S/instances" 2>/dev/null || { echo "No GPU instances found: Not Found"; exit 6; };;
  "nvlink --status"*) cat "$S/links" 2>/dev/null; exit 0;;
  *"-pm 0") [ -e "$S/stays" ] || echo Disabled > "$S/persistence"; exit $(cat "$S/pm.code" 2>/dev/null || echo 0);;
  *"-pm 1") [ -e "$S/stays" ] || echo Enabled > "$S/persistence"; exit $(cat "$S/pm.code" 2>/dev/null || echo 0);;
  --gpu-reset*) [ -e "$S/reset.hangs" ] && exec sleep 600
    cat "$S/reset" 2>/dev/null; exit $(cat "$S/reset.code" 2>/dev/null || echo 0);;
esac
"""

SYSTEMCTL = """
unit=$(eval echo \\${$#})
case "$1" in
  show)
    load=not-found; active=inactive; sub=dead
    [ -e "$S/units/$unit" ] && load=loaded && active=$(cat "$S/units/$unit") && sub=running
    [ -e "$S/masked/$unit" ] && load=masked
    [ "$active" = active ] || sub=dead
    started=$(cat "$S/started/$unit" 2>/dev/null | tr -d "\\n")
    result=$(cat "$S/result/$unit" 2>/dev/null || echo success)
    printf 'LoadState=%s\\nActiveState=%s\\nSubState=%s\\nType=simple\\nResult=%s\\nNRestarts=0\\nInvocationID=%s\\n' \\
      $load $active $sub $result "$started"
    [ -e "$S/loops/$unit" ] && echo x >> "$S/started/$unit"
    exit 0;;
  stop)
    [ -e "$S/stubborn/$unit" ] && { echo "Job for $unit canceled."; exit 1; }
    echo inactive > "$S/units/$unit"; rm -rf "$S/../root/proc/$(cat "$S/pids/$unit" 2>/dev/null || echo none)/fd"
    [ -e "$S/killer" ] && { kill -9 $(cat "$S/killer"); rm "$S/killer"; }
    exit 0;;
  start|restart)
    [ -e "$S/broken/$unit" ] && { echo failed > "$S/units/$unit"; echo "Job for $unit failed."; exit 1; }
    echo active > "$S/units/$unit"; echo x >> "$S/started/$unit"
    [ -e "$S/dies/$unit" ] && echo failed > "$S/units/$unit"
    exit 0;;
esac
exit $(cat "$S/systemctl.code" 2>/dev/null || echo 0)
"""

MODPROBE = """
module=$(eval echo \\${$#})
if [ "$1" = -r ]; then
  [ -e "$S/in-use/$module" ] && { echo "modprobe: FATAL: Module $module is in use."; exit 1; }
  rm -rf "$S/../root/sys/module/$module"; exit 0
fi
[ -e "$S/unloadable/$module" ] && { echo "modprobe: ERROR: could not insert '$module': No such device"; exit 1; }
mkdir -p "$S/../root/sys/module/$module"
[ "$module" = nvidia ] && echo 580.82 > "$S/../root/sys/module/nvidia/version"
exit 0
"""


@dataclass(slots=True)
class FakeHost:
    """A host with one H100 that nobody uses; tests change what they are about.

    Attributes:
        slept: every pause that a repair made.
    """

    directory: Path
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the programs and the folders."""
        for folder in (self.bin, self.root / "run/systemd/system", self.root / "dev", self.state / "units"):
            folder.mkdir(parents=True)
        for kind in ("started", "loops"):
            (self.state / kind).mkdir()
        self.write("proc/sys/kernel/random/boot_id", f"{BOOT}\n")
        for name, script in (("nvidia-smi", NVIDIA_SMI), ("systemctl", SYSTEMCTL), ("modprobe", MODPROBE)):
            self.program(name, script)
        self.gpus(H100)
        self.say("reset", RESET_DONE)

    @property
    def bin(self) -> Path:
        """Where the programs are."""
        return self.directory / "bin"

    @property
    def root(self) -> Path:
        """Below it lie /proc, /sys, /run and /dev."""
        return self.directory / "root"

    @property
    def state(self) -> Path:
        """What the programs know."""
        return self.directory / "state"

    @property
    def calls(self) -> list[str]:
        """Return how the programs were called, questions left out."""
        quiet = ("nvidia-smi --query", "nvidia-smi mig -lgi", "nvidia-smi nvlink", "systemctl show")
        return [call for call in self.every_call if not call.startswith(quiet)]

    @property
    def every_call(self) -> list[str]:
        """Return how the programs were called."""
        file = self.directory / "calls"
        return file.read_text().splitlines() if file.exists() else []

    async def sleep(self, seconds: float) -> None:
        """Let no time pass."""
        self.slept.append(seconds)

    def program(self, name: str, script: str) -> None:
        """Put a program in place."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\nS={self.state}\necho "{name} $*" >> {self.directory}/calls\n{script}\n')
        path.chmod(0o755)

    def remove(self, name: str) -> None:
        """Take a program away."""
        (self.bin / name).unlink()

    def note(self, text: str) -> None:
        """Write something between the calls."""
        with (self.directory / "calls").open("a") as calls:
            calls.write(f"{text}\n")

    def say(self, about: str, text: str) -> None:
        """Let the programs print this, or know it."""
        path = self.state / about
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def write(self, path: str, text: str) -> None:
        """Write a file of the host."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def gpus(self, model: str, *, count: int = 1, persistence: str = "Disabled", mig: str = "Disabled") -> None:
        """Let nvidia-smi tell of these GPUs, and the driver of their device files."""
        names = ((UUID, "3B"), (OTHER, "86"))[:count]
        lines = [model.format(uuid=uuid, bus=bus, persistence=persistence, mig=mig) for uuid, bus in names]
        self.say("gpus", "".join(f"{line}\n" for line in lines))
        for index, (uuid, bus) in enumerate(names):
            told = f"Model: \t\t NVIDIA\nIRQ:   \t\t 1\nGPU UUID: \t {uuid}\nDevice Minor: \t {index}\n"
            self.write(f"proc/driver/nvidia/gpus/0000:{bus.lower()}:00.0/information", told)

    def unit(self, name: str, active: str = "active") -> None:
        """Install a unit."""
        self.say(f"units/{name}", active)

    def process(self, pid: int, name: str, *files: str, unit: str = "", group: str = "") -> None:
        """Let a process hold files, in a unit, which ends with the unit."""
        folder = self.root / f"proc/{pid}"
        (folder / "fd").mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} ({name}) S 1 {' '.join(['0'] * 17)} 12345 ")
        place = group or (f"/system.slice/{unit}" if unit else "/user.slice")
        (folder / "cgroup").write_text(f"0::{place}\n")
        for number, file in enumerate(files):
            (folder / "fd" / str(number)).symlink_to(file)
        if unit:
            self.say(f"pids/{unit}", str(pid))

    def modules(self, *names: str, version: str = "580.65") -> None:
        """Load kernel modules."""
        for name in names:
            (self.root / "sys/module" / name).mkdir(parents=True, exist_ok=True)
        self.write("sys/module/nvidia/version", f"{version}\n")
