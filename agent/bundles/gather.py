"""The process that gathers and packs one bundle: `python -m agent.bundles.gather FOLDER`.

It lives for minutes in place of the agent's own memory, ends its tools when the agent ends, and goes on after each that
fails: a sick host gives what it can. It prints nothing; `packed.json` in its folder says that the bundle is whole.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import sys
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

import msgspec

from agent.bundles.plan import (
    BUNDLE,
    FILES,
    MANIFEST,
    PACKED,
    FileSaid,
    Manifest,
    Packed,
    Plan,
    load_plan,
)
from agent.bundles.running import DiskFull, Ran, Running
from agent.bundles.tools import COPIED, FIRST_SHARE, MIB, RING, TOOLS, Copied, Tool, short_name

EX_IOERR: Final = 74
PR_SET_PDEATHSIG: Final = 1
"""Source: linux/prctl.h."""

PACKING_S: Final = 20.0
"""Kept for packing. Source: our measurement; 256 MiB of logs take 6 s on one busy core."""

WINDOW_BEFORE_S: Final = 900.0
"""How long before the fault the window of logs begins. Source: our choice; what leads to a fault shows in minutes."""

RING_RECORD_BYTES: Final = 16_384
LEVEL: Final = 3
"""Of gzip: logs come down to a tenth, at a third of the time that the usual level takes. Source: our measurement."""

NOT_RUN: Final = Ran("", 0.0)

HEADROOM: Final = MIB
"""For the manifest and for what cannot be compressed, in the bundle as on the disk."""


class Gathering:
    """One bundle in the making."""

    def __init__(self, folder: Path, plan: Plan, *, running: Running, root: Path = Path("/")) -> None:
        """Gather nothing yet."""
        self._folder, self._plan, self._running, self._root = folder, plan, running, root
        self._files = folder / FILES
        self._said: list[FileSaid] = []
        self._left_out: dict[str, str] = {}
        self._stuck: dict[str, int] = {}
        self._cut = ""
        self._began = time.monotonic()
        self._ends = self._began + max(0.0, plan.limit_s - PACKING_S)

    def gather(self) -> Packed:
        """Gather what there is, and pack it.

        Raises:
            OSError: not even that could be written.
        """
        self._files.mkdir()
        try:
            for step in (self._write_texts, self._copy_files, self._copy_ring, self._run_tools):
                step()
        except DiskFull as full:
            self._cut = f"{full}: what would have come after that is not here"
        return self._pack()

    def _write_texts(self) -> None:
        for name, text in self._plan.texts.items():
            self._put(name, text.encode("utf-8", "backslashreplace"), why="what the agent knows")

    def _copy_files(self) -> None:
        for copied in COPIED if self._plan.tools else ():
            if copied.name not in self._plan.left_out:
                self._copy_file(copied)

    def _copy_file(self, copied: Copied) -> None:
        path = self._root / copied.path.lstrip("/")
        try:
            content, cut = _tail(path, self._most(copied.most_bytes))
        except FileNotFoundError:
            return
        except OSError as error:
            self._left_out[copied.name] = f"{copied.path}: {error.strerror}"
            return
        self._put(copied.name, content, why=copied.why, cut=cut)

    def _copy_ring(self) -> None:
        if not self._plan.tools or RING in self._plan.left_out:
            return
        try:
            content = b"".join(_ring(self._root / "dev/kmsg"))
        except OSError as error:
            self._left_out[RING] = f"/dev/kmsg: {error.strerror}"
            return
        self._put(RING, content[-self._most(16 * MIB) :], why="all that is left in the kernel's ring")

    def _run_tools(self) -> None:
        for tool in TOOLS if self._plan.tools else ():
            name = short_name(tool)
            if name in self._plan.left_out:
                self._left_out[name] = "this node's configuration leaves it out"
            elif why := self._why_not(tool):
                self._left_out[name] = why
            else:
                for command, file in self._each(tool):
                    self._run_tool(tool, command, file)

    def _why_not(self, tool: Tool) -> str:
        program = tool.command[0]
        hanging = self._stuck.get(program) or self._plan.stuck.get(program, 0)
        if shutil.which(program) is None:
            return f"{program} is not installed"
        if hanging and Path(f"/proc/{hanging}").exists():
            return f"process {hanging} of {program} still hangs, and nothing is started behind it"
        if tool.takes_root and os.geteuid() != 0:
            return f"{program} takes root, and this agent runs without"
        if self._left_s() < 1.0:
            return "no time was left"
        return ""

    def _each(self, tool: Tool) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield the command and the file's name for each device that the tool is asked about."""
        kinds = {"{interface}": self._interfaces, "{rdma}": self._rdma_devices}
        found = next((kind for kind in kinds if kind in tool.name), "")
        for device in kinds[found]() if found else ("",):
            fill = {**({found: device} if found else {}), "{since}": f"@{self._since():.0f}"}
            yield tuple(_filled(word, fill) for word in tool.command), _filled(tool.name, fill)

    def _run_tool(self, tool: Tool, command: tuple[str, ...], file: str) -> None:
        if self._left_s() < 1.0:
            self._left_out[file] = "no time was left"
            return
        share = FIRST_SHARE if tool.again else 1.0
        ran = self._run(tool, command, file, limit_s=self._left_s() * share)
        if ran.late and not ran.stuck and tool.again and self._left_s() > 1.0:
            self._run(tool, tool.again, f"{file}-safe-mode", limit_s=self._left_s())

    def _run(self, tool: Tool, command: tuple[str, ...], file: str, *, limit_s: float) -> Ran:
        most = self._most(tool.most_bytes)
        output = self._files / f"{file}.log"
        command = tuple(_filled(word, {"{output}": str(output)}) for word in command)
        target = self._files / (f"{file}.printed.txt" if any("{output}" in word for word in tool.command) else file)
        ran = self._running.run(command, target, limit_s=min(tool.limit_s, limit_s), most_bytes=most)
        if ran.stuck:
            self._stuck[command[0]] = ran.pid
        for path in (target, output, output.with_name(f"{output.name}.gz")):
            if path.exists():
                self._note(path, why=tool.why, command=command, ran=ran)
        return ran

    def _put(self, name: str, content: bytes, *, why: str, cut: str = "") -> None:
        most = self._most(self._plan.file_bytes)
        if len(content) > most:
            content, cut = content[:most], f"only {most} bytes of it had room"
        path = self._files / _safe(name)
        try:
            path.write_bytes(content)
        except OSError as error:
            raise DiskFull(f"the disk of the node became full ({error.strerror})") from error
        self._note(path, why=why, cut=cut)

    def _note(self, path: Path, *, why: str, command: tuple[str, ...] = (), ran: Ran = NOT_RUN, cut: str = "") -> None:
        self._said.append(
            FileSaid(
                path.name,
                path.stat().st_size,
                why=why,
                command=command,
                ended=ran.ended,
                took_s=round(ran.took_s, 2),
                late=ran.late or ran.stuck,
                cut=cut or ran.cut,
            )
        )

    def _most(self, wanted: int) -> int:
        """Return how long the next file may be: by itself, in the bundle, and for the disk.

        Raises:
            DiskFull: nothing more has room.
        """
        used = sum(said.size_bytes for said in self._said)
        free = shutil.disk_usage(self._folder).free - self._plan.keep_free_bytes
        room, disk = self._plan.most_bytes - HEADROOM - used, (free - used - HEADROOM) // 2
        if room <= 0:
            raise DiskFull(f"the bundle is as long as it may be, {self._plan.most_bytes} bytes")
        if disk <= 0:
            raise DiskFull(f"the disk of the node has no more than {self._plan.keep_free_bytes} bytes left")
        return min(wanted, self._plan.file_bytes, room, disk)

    def _left_s(self) -> float:
        return self._ends - time.monotonic()

    def _since(self) -> float:
        origin = self._plan.origin
        return (origin.since or origin.asked_at) - WINDOW_BEFORE_S

    def _interfaces(self) -> list[str]:
        """Return the interfaces that a device is behind: bridges and tunnels count nothing of their own."""
        return [path.parent.name for path in sorted((self._root / "sys/class/net").glob("*/device"))]

    def _rdma_devices(self) -> list[str]:
        return [path.name for path in sorted((self._root / "sys/class/infiniband").glob("*"))]

    def _pack(self) -> Packed:
        """Pack what was gathered, the manifest first, and say that it is whole."""
        said = tuple(msgspec.structs.replace(each, sha256=_sha256(self._files / each.name)) for each in self._said)
        took_s = round(time.monotonic() - self._began, 2)
        manifest = Manifest(self._plan.origin, time.time(), took_s, said, self._left_out, self._cut)
        partial = self._folder / f"{BUNDLE}.partial"
        with tarfile.open(partial, "w:gz", compresslevel=LEVEL) as archive:
            _add(archive, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
            for each in said:
                archive.add(self._files / each.name, each.name, filter=_anonymous)
        packed = Packed(partial.stat().st_size, _sha256(partial), len(said), tuple(_notes(manifest)), self._stuck)
        shutil.rmtree(self._files)
        partial.rename(self._folder / BUNDLE)
        (self._folder / PACKED).write_bytes(msgspec.json.encode(packed))
        return packed


def _notes(manifest: Manifest) -> Iterator[str]:
    """Yield what is missing that somebody may look for."""
    if manifest.cut:
        yield manifest.cut
    yield from (f"{said.name}: {said.cut}" for said in manifest.files if said.cut)
    yield from (
        f"{said.name}: {said.ended}" for said in manifest.files if "killed" in said.ended or "die" in said.ended
    )


def _filled(word: str, values: dict[str, str]) -> str:
    for mark, value in values.items():
        word = word.replace(mark, value)
    return word


def _safe(name: str) -> str:
    """Return a name that is no path: sources and sites name files, too."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name).lstrip(".") or "_"


def _tail(path: Path, most_bytes: int) -> tuple[bytes, str]:
    """Return the end of a file, and why it is not the whole. Files of /proc have no length before they are read."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            file.seek(size - most_bytes)
            return file.read(most_bytes), f"only its last {most_bytes} of {size} bytes are here"
        content = file.read(most_bytes + 1)
    return content[:most_bytes], "" if len(content) <= most_bytes else f"only its first {most_bytes} bytes are here"


def _ring(path: Path) -> Iterator[bytes]:
    """Yield every record that is in the kernel's ring, and end where it would wait for more."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            try:
                record = os.read(descriptor, RING_RECORD_BYTES)
            except BrokenPipeError:
                continue
            except BlockingIOError:
                return
            if not record:
                return
            yield record
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = _anonymous(tarfile.TarInfo(name))
    member.size, member.mtime = len(content), int(time.time())
    archive.addfile(member, BytesIO(content))


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return the member as nobody's, readable by its owner: whose files they were says nothing."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o600
    return member


def _end_with_the_agent(running: Running) -> None:
    """Have the kernel say when the agent is gone, and take the tools along."""

    def end(*_: object) -> None:
        running.end()
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.nice(10)


def main() -> None:
    """Gather into the folder that is named."""
    folder = Path(sys.argv[1])
    running = Running()
    _end_with_the_agent(running)
    try:
        Gathering(folder, load_plan(folder), running=running).gather()
    except (OSError, tarfile.TarError, msgspec.MsgspecError) as error:
        print(f"{type(error).__name__}: {error}")
        sys.exit(EX_IOERR)


if __name__ == "__main__":
    main()
