"""Files that survive a power cut."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from costctl.errors import RefusedError

if TYPE_CHECKING:
    from pathlib import Path


def take(path: Path) -> int:
    """Open a file, which is made if there is none, and lock it; return its descriptor, whose closing unlocks it.

    Raises:
        RefusedError: another process has it.
        OSError: it cannot be opened.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, fd):
                return fd
        except BlockingIOError:
            os.close(fd)
            raise RefusedError(f"another process is at work on {path}: wait for it, or stop it") from None
        except OSError:
            os.close(fd)
            raise
        os.close(fd)


def write_at(fd: int, content: bytes, offset: int) -> None:
    """Write all of `content` at `offset` of a file, and wait until it is safe.

    Raises:
        OSError: it is not; writing it again later is right.
    """
    rest = memoryview(content)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written
    os.fsync(fd)


def sync_folder(path: Path) -> None:
    """Wait until the names in the folder of `path` are safe.

    Raises:
        OSError: they are not.
    """
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_still(path: Path, fd: int) -> bool:
    """Return whether `path` is the file that was opened: it may have been replaced before it was locked."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
