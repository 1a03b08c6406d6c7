"""What each line of the kernel means that is about disks, arrays, file systems and storage servers.

`storage.kernel` judges records by them. A line that says that a fault is over ends it; what a device refuses (discard,
write zeroes) and what virtual drives say is no fault.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from checks.finding import Action, Verdict

STORM_COUNT = 3
STORM_S = 3600.0
"""Resets of one controller that are a storm. Source: our choice; one reset is mended by itself, and real reports show
the disk lost for good after two or three."""

_DISK = r"(?P<device>(?!fd\d|sr\d|loop|zram|ram\d|nbd|mtdblock)[\w!-]{1,64})"
"""A block device; floppies, CD drives and the like fail by being empty."""

_ON = r"\((?P<device>[\w!:.-]{1,64})\)"
_BTRFS = r"\(device (?P<device>[\w!.-]{1,64})(?::? state \w{1,16})?\)"
_NVME = r"nvme (?P<device>nvme\d{1,5})"
_LUSTRE = r"(?:\d{1,5}-\w: |\d{1,10}:\d{1,5}:\([^()\n]{1,100}(?:\(\)\)|\)) )?"


@dataclass(frozen=True, slots=True)
class StorageLine:
    """One kind of line.

    Attributes:
        pattern: matched at the message's start; a group `device` names what it is about.
        ends: it says that the fault of this code and device is over; its own verdict is `ok` then.
        least: how many such lines about one device within an hour are a fault.
    """

    code: str
    pattern: re.Pattern[str]
    verdict: Verdict
    action: Action
    reason: str
    ends: bool = False
    least: int = 1


def _failed(code: str, pattern: str, action: Action, reason: str, *, least: int = 1) -> StorageLine:
    return StorageLine(code, re.compile(pattern), Verdict.FAILED, action, reason, least=least)


def _degraded(code: str, pattern: str, action: Action, reason: str) -> StorageLine:
    return StorageLine(code, re.compile(pattern), Verdict.DEGRADED, action, reason)


def _over(code: str, pattern: str, reason: str) -> StorageLine:
    return StorageLine(code, re.compile(pattern), Verdict.OK, Action.NONE, reason, ends=True)


_RESET = (
    rf"{_NVME}: (?:I/O (?:tag )?\d{{1,6}} [^\n]{{0,80}}timeout, reset controller|controller is down; will reset: "
    r"|resetting controller due to |frozen state error detected, reset controller)"
)

FILE_SYSTEMS = (
    _failed(
        "read_only",
        rf"EXT4-fs {_ON}: Remounting filesystem read-only",
        Action.REBOOT,
        "the file system was made read-only after an error",
    ),
    _failed(
        "read_only",
        rf"BTRFS info {_BTRFS}: forced readonly",
        Action.REBOOT,
        "the file system was made read-only after an error",
    ),
    _failed(
        "read_only",
        r"Aborting journal on device (?P<device>[\w!]{1,64}?)(?:-\d{1,4})?\.",
        Action.REBOOT,
        "the journal was given up, so nothing can be written any more",
    ),
    _failed(
        "filesystem_shutdown",
        rf"XFS {_ON}: [^\n]{{0,200}}?"
        r"(?:xfs_do_force_shutdown|[Ss]hutting down filesystem|Filesystem has been shut down)",
        Action.REBOOT,
        "the file system shut itself down after an error",
    ),
    _degraded(
        "filesystem_error",
        r"EXT4-fs (?:error|critical) \(device (?P<device>[\w!:.-]{1,64})\)",
        Action.REBOOT,
        "the file system is damaged and has to be checked",
    ),
    _degraded(
        "filesystem_error",
        rf"XFS {_ON}: (?:Metadata (?:corruption|CRC error) detected|Corruption detected|[Mm]etadata I/O error)",
        Action.REBOOT,
        "the file system is damaged and has to be checked",
    ),
    _degraded(
        "filesystem_error",
        rf"BTRFS(?::|) (?:error|critical) {_BTRFS}",
        Action.REBOOT,
        "the file system is damaged and has to be checked",
    ),
    _degraded(
        "superblock",
        rf"(?:EXT4-fs|XFS) {_ON}: (?:unable to read superblock|error loading journal|SB validate failed)",
        Action.NONE,
        "the file system cannot be mounted",
    ),
    _degraded(
        "beyond_end",
        rf"(?:[^:\n]{{1,64}}: )?attempt to access beyond end of device(?:\n{_DISK}: |\s*$)",
        Action.NONE,
        "a file system is larger than its device",
    ),
)

DISKS = (
    _degraded(
        "medium_error",
        rf"(?:blk_update_request: |print_req_error: )?critical medium error, dev {_DISK}, sector \d{{1,20}}",
        Action.CONTACT_SUPPORT,
        "the disk cannot read back what was written",
    ),
    _degraded(
        "io_error",
        rf"(?:blk_update_request: |print_req_error: )?(?:I/O|timeout|critical nexus) error, dev {_DISK}, "
        r"sector \d{1,20}\b(?! op 0x\w{1,2}:\((?:DISCARD|SECURE_ERASE|WRITE_ZEROES)\))",
        Action.NONE,
        "a read or write of the disk failed",
    ),
    _degraded(
        "io_error",
        rf"Buffer I/O error on dev(?:ice)? {_DISK}, logical block \d{{1,20}}",
        Action.NONE,
        "a read or write of the disk failed",
    ),
    _failed(
        "disk_offline",
        r"sd \d{1,5}(?::\d{1,10}){3}: (?:\[(?P<device>sd\w{1,16})\] )?(?:tag#\d{1,6} )?"
        r"(?:rejecting I/O to offline device|Device offlined|device offline error)",
        Action.REBOOT,
        "the disk was taken offline",
    ),
    _failed("disk_offline", rf"device offline error, dev {_DISK}, sector", Action.REBOOT, "the disk was taken offline"),
    _failed(
        "nvme_disabled",
        rf"{_NVME}: (?:Disabling device after reset failure|Removing after probe failure)",
        Action.REBOOT,
        "the disk's controller no longer answers",
    ),
    _failed(
        "nvme_reset_storm", _RESET, Action.REBOOT, "the disk's controller is reset again and again", least=STORM_COUNT
    ),
    _degraded("nvme_reset", _RESET, Action.NONE, "the disk's controller did not answer and was reset"),
    _failed("no_path", rf"block {_DISK}: no available path", Action.REBOOT, "no path to the disk is left"),
    _degraded("no_path", rf"block {_DISK}: no usable path", Action.NONE, "no path to the disk works at the moment"),
    _degraded(
        "path_lost",
        r"device-mapper: multipath: (?:\d{1,5}:\d{1,5}: )?Failing path (?P<device>\d{1,5}:\d{1,5})\.",
        Action.NONE,
        "one of the paths to a disk failed",
    ),
    _over(
        "path_lost",
        r"device-mapper: multipath: (?:\d{1,5}:\d{1,5}: )?Reinstating path (?P<device>\d{1,5}:\d{1,5})\.",
        "the path works again",
    ),
    _degraded(
        "nvme_connection",
        rf"{_NVME}: (?:Reconnecting in \d{{1,6}} seconds|starting error recovery|Failed reconnect attempt)",
        Action.NONE,
        "the connection to remote disks was lost",
    ),
    _over("nvme_connection", rf"{_NVME}: Successfully reconnected", "the connection to remote disks is back"),
)

ARRAYS = (
    _failed(
        "raid_failed",
        r"md/raid\d{0,2}:?(?P<device>md\w{1,32}): (?:Disk failure on [\w!-]{1,64} detected, failing array"
        r"|Cannot continue operation)",
        Action.CONTACT_SUPPORT,
        "the array lost more disks than it can",
    ),
    _degraded(
        "raid_degraded",
        r"md/raid\d{0,2}:?(?P<device>md\w{1,32}): Disk failure on [\w!-]{1,64}, disabling device",
        Action.CONTACT_SUPPORT,
        "the array lost a disk",
    ),
    _degraded(
        "raid_degraded",
        r"md: kicking non-fresh (?P<device>[\w!-]{1,64}) from array",
        Action.CONTACT_SUPPORT,
        "the array goes on without one of its disks",
    ),
    _over(
        "raid_degraded",
        r"md: (?P<device>md\w{1,32}): (?:recovery|resync) done\.",
        "the array has all its disks again",
    ),
)

SERVERS = (
    _degraded(
        "nfs_server",
        r"nfs: server (?P<device>\S{1,255}) not responding",
        Action.NONE,
        "the file server does not answer",
    ),
    _over("nfs_server", r"nfs: server (?P<device>\S{1,255}) OK", "the file server answers again"),
    _degraded(
        "nfs_state",
        r"NFS: state manager: [^\n]{1,120}? (?:failed )?on NFSv4 server (?P<device>\S{1,255})",
        Action.NONE,
        "the file server no longer knows this client",
    ),
    _degraded(
        "cifs_server",
        r"CIFS: (?:VFS: )?\\\\(?P<device>[^\s\\]{1,255})(?:\\\S{0,255})? has not responded in \d{1,6} seconds",
        Action.NONE,
        "the file server does not answer",
    ),
    _failed(
        "lustre_bug",
        rf"LustreError: {_LUSTRE}(?:LBUG|ASSERTION\()",
        Action.REBOOT,
        "the Lustre client has stopped at a defect of its own",
    ),
    _degraded(
        "lustre_evicted",
        rf"LustreError: {_LUSTRE}[^\s:]{{1,128}}: This client was evicted by (?P<device>[^\s;]{{1,64}})",
        Action.NONE,
        "the server dropped this client, and what jobs had not yet written to it is lost",
    ),
    _degraded(
        "lustre_connection",
        rf"Lustre(?:Error)?: {_LUSTRE}[^\s:]{{1,128}}: Connection to (?P<device>\S{{1,64}}) "
        r"\(at \S{1,128}\) was lost",
        Action.NONE,
        "the connection to a Lustre server was lost, which mostly is the server's matter",
    ),
    _over(
        "lustre_connection",
        rf"Lustre: {_LUSTRE}[^\s:]{{1,128}}: Connection restored to (?P<device>\S{{1,64}})",
        "the connection to the Lustre server is back",
    ),
    _degraded(
        "ceph_server",
        r"ceph: (?:\[[^\]\n]{1,80}\]: )?(?P<device>mds\d{1,5}) (?:hung|caps stale)",
        Action.NONE,
        "the metadata server does not answer",
    ),
    _over(
        "ceph_server",
        r"ceph: (?:\[[^\]\n]{1,80}\]: )?(?P<device>mds\d{1,5}) (?:came back|caps renewed|recovery completed)",
        "the metadata server answers again",
    ),
)

MAY_MATTER = re.compile(
    r"EXT4-fs |XFS |BTRFS|Aborting journal|(?:[^:\n]{1,64}: )?attempt to access|blk_update|print_req|critical "
    r"|I/O error|timeout error|Buffer I/O|sd |device |device-mapper|nvme |block |md|nfs: |NFS: |CIFS: |Lustre|ceph: "
)
"""How all of them begin: tried before any, since in a flood nearly every line is about something else."""

LINES = (*FILE_SYSTEMS, *DISKS, *ARRAYS, *SERVERS)
"""In the order in which they are tried; the first that matches counts.

Source: the kernel's own formats (fs/ext4/super.c, fs/jbd2/journal.c, fs/xfs, fs/btrfs/messages.c, block/blk-core.c,
block/blk-mq.c, fs/buffer.c, drivers/nvme/host/{core,pci,fabrics,multipath}.c, drivers/scsi/scsi_lib.c, drivers/md,
net/sunrpc/clnt.c, fs/nfs/nfs4state.c, fs/smb/client/connect.c, fs/ceph/mds_client.c), and Lustre's lustre/ptlrpc."""
