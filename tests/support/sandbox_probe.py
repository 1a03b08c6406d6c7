"""Run by a unit in place of its daemon: tries what a daemon that was broken into would try, and prints how each went.

It needs nothing but Python's own library, and ends by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
INIT_MODULE = 175
"""Source: Linux, arch/x86/entry/syscalls/syscall_64.tbl."""

PTRACE_TRACEME, NEW_USER, BIND_MOUNT = 0, 0x10000000, 4096
"""Source: Linux, include/uapi/linux/ptrace.h, sched.h, mount.h."""


def call(result: int) -> None:
    """Raise what the C library left in errno, if the call failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), "")


def write(path: str) -> None:
    """Open a file for writing, making it if it is not there."""
    with Path(path).open("ab"):
        pass


def open_socket(family: int, kind: int) -> None:
    """Make a socket."""
    socket.socket(family, kind).close()


def gain_root() -> None:
    """Run a program that belongs to root and has the set-user-ID bit."""
    said = subprocess.run(["/usr/local/bin/become-root", "-u"], capture_output=True, text=True, check=True).stdout
    if said.strip() != "0":
        raise OSError(errno.EPERM, "")


def set_user_bit() -> None:
    """Leave a program behind whoever runs which becomes this user."""
    own = Path(os.environ.get("STATE_DIRECTORY", "/run")) / "left-behind"
    own.touch()
    try:
        own.chmod(0o4755)
    finally:
        own.unlink()


def find_others() -> None:
    """Look for the first process."""
    Path("/proc/1/cmdline").stat()


ACTS: dict[str, Callable[[], object]] = {
    "write below /etc": lambda: write("/etc/fleetmend/probe"),
    "write below /usr": lambda: write("/usr/local/lib/probe"),
    "write below /var": lambda: write("/var/lib/probe"),
    "write below /home": lambda: write("/home/probe"),
    "read below /root": lambda: list(Path("/root").iterdir()),
    "write a kernel setting": lambda: write("/proc/sys/net/ipv4/ip_forward"),
    "read another daemon's secret": lambda: list(Path("/etc/fleetmend/credentials/other").iterdir()),
    "load a module": lambda: call(LIBC.syscall(INIT_MODULE, b"", 0, b"")),
    "trace a process": lambda: call(LIBC.ptrace(PTRACE_TRACEME, 0, 0, 0)),
    "make a namespace": lambda: call(LIBC.unshare(NEW_USER)),
    "mount": lambda: call(LIBC.mount(b"/mnt", b"/mnt", None, BIND_MOUNT, None)),
    "rename the host": lambda: socket.sethostname(socket.gethostname()),
    "talk to the link layer": lambda: open_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "talk netlink": lambda: open_socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "talk to a virtual machine's host": lambda: open_socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    "run memory it wrote": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
    "leave a program that becomes it": set_user_bit,
    "become root": gain_root,
    "change the owner of a file": lambda: os.chown("/proc/self/comm", os.getuid(), os.getgid()),
    "look at other processes": find_others,
    "read the kernel log": lambda: Path("/dev/kmsg").open("rb").close(),
    "open a device": lambda: Path("/dev/probe").stat(),
}


def outcome(act: Callable[[], object]) -> str:
    """Return `done`, or the name of the error."""
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def main() -> None:
    """Try everything, each in a process of its own: what one of them did must not help the next."""
    tried = {}
    for name, act in ACTS.items():
        reading, writing = os.pipe()
        if os.fork() == 0:
            with contextlib.suppress(BaseException):
                os.write(writing, outcome(act).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as told:
            tried[name] = told.read() or "killed"
        os.wait()
    json.dump(tried, sys.stdout)


if __name__ == "__main__":
    main()
