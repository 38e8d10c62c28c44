"""Where a store's file may lie: in a folder of ours that nobody else can reach, on a disk of this machine."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Final

from recloser.stores.protocol import StoreError

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")  # blanks in its paths
# Locks and shared memory do not work there.
_REMOTE: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.s3fs", "fuse.sshfs", "glusterfs", "nfs", "nfs4", "smb3", "smbfs"}
)


def default_path(namespace: str) -> Path:
    """Return the file of a namespace in the user's runtime folder."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "recloser" if runtime else Path(tempfile.gettempdir()) / f"recloser-{_user()}"
    return folder / f"{namespace}.db"


def prepare(path: Path) -> None:
    """Make the folder and the file, or refuse those that others could reach (SEMANTICS F1).

    Raises:
        StoreError: Says what is wrong with which of them, and what to do.
    """
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(folder, os.lstat(folder), is_folder=True)
        _refuse_remote(folder)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        _refuse_foreign(path, os.lstat(path), is_folder=False)
    except OSError as error:
        raise StoreError(f"the store's file {path} cannot be used: {error.strerror or error}") from error


def identity(path: Path) -> tuple[int, int]:
    """Tell which file lies there now: workers must not go on with one that was deleted.

    Raises:
        StoreError: None does.
    """
    try:
        there = path.stat()
    except OSError as error:
        raise StoreError(f"the store's file {path} is gone: {error.strerror or error}") from error
    return there.st_dev, there.st_ino


def boot_id() -> str:
    """Return what tells this boot of this machine from others: monotonic clocks are comparable within one."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (
        OSError
    ):  # not a Linux: one boot is taken for all, and times of an earlier one are cut to their caps
        return "unknown"


def _refuse_foreign(path: Path, found: os.stat_result, *, is_folder: bool) -> None:
    kind = "folder" if is_folder else "file"
    right = stat.S_ISDIR(found.st_mode) if is_folder else stat.S_ISREG(found.st_mode)
    if not right:
        raise StoreError(f"the store's {kind} {path} must be a plain {kind}, and no link")
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise StoreError(f"the store's {kind} {path} belongs to another user ({found.st_uid})")
    loose = stat.S_IMODE(found.st_mode) & 0o077
    if loose and not is_folder:
        raise StoreError(f"the store's file {path} is open to others: chmod 600 {path}")
    if loose & 0o022:
        raise StoreError(f"others may write into the store's folder {path}: chmod 700 {path}")


def _refuse_remote(folder: Path) -> None:
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    place = os.path.realpath(folder)
    best, kind = "", ""
    for line in mounts:
        left, _, right = line.partition(" - ")
        point = _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), left.split()[4])
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split()[0]
    if kind in _REMOTE:
        raise StoreError(
            f"the store's folder {folder} lies on a network file system ({kind}): "
            "use a disk of this machine, or a Redis store"
        )


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
