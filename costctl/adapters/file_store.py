"""The folder of files and batches that came over HTTP (port FileStore); nobody but its owner may look into it.

    file-1.json   what is known of a file          file-1      its content
    batch_2.json  what is known of a batch         batch_2/    where it is worked on: its input under its own name,
                                                               and what `costctl batch` writes

A file exists from the instant its record does; content without one is what a crash has left. Everything is made safe
before it is named.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from costctl.errors import CostctlError, StorageFullError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RECORD, _PART = ".json", ".part"
_RESULTS, _ERRORS = "results.jsonl", "results.errors.jsonl"
_TAIL_BYTES = 2**20
_LEAST_ROOM_BYTES = 2**24


class DiskUpload:
    """A file that is coming in (port Upload)."""

    def __init__(self, final: Path) -> None:
        self._final = final
        self._part = final.with_name(final.name + _PART)
        with _told(self._part):
            self._fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, content: bytes) -> None:
        """Append to it; blocking. Raises CostctlError."""
        rest = memoryview(content)
        with _told(self._part):
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def keep(self) -> None:
        """Make it safe under its name; blocking. Raises CostctlError."""
        with _told(self._part):
            os.fsync(self._fd)
            self._part.replace(self._final)
        os.close(self._fd)

    def discard(self) -> None:
        """Forget it."""
        os.close(self._fd)
        self._part.unlink(missing_ok=True)


class FolderStore:
    """The store in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> list[Mapping[str, Any]]:
        """Return all records, and remove what a crash has left; blocking. Raises CostctlError."""
        with _told(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            found = sorted(self._folder.iterdir())
        records = [record for path in found if path.suffix == _RECORD if (record := _read(path))]
        known = {path.stem for path in found if path.suffix == _RECORD}
        for path in found:
            if path.suffix != _RECORD and path.name not in known:
                _remove(path)
        return records

    def save(self, identity: str, record: Mapping[str, Any]) -> None:
        """Keep a record, in place of the one there was; blocking. Raises CostctlError."""
        final = self._folder / f"{identity}{_RECORD}"
        part = final.with_name(final.name + _PART)
        with _told(final):
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(json.dumps(record).encode())
                file.flush()
                os.fsync(fd)
            part.replace(final)
            self._sync()

    def remove(self, identity: str) -> None:
        """Remove a record and all that belongs to it; blocking. Raises CostctlError."""
        with _told(self._folder):
            (self._folder / f"{identity}{_RECORD}").unlink(missing_ok=True)
            _remove(self.content(identity))

    def content(self, identity: str) -> Path:
        """Return where a file's content is."""
        return self._folder / identity

    def upload(self, identity: str) -> DiskUpload:
        """Begin a file; blocking. Raises CostctlError."""
        return DiskUpload(self.content(identity))

    # --- batches -------------------------------------------------------------------------------------------------

    def prepare(self, batch: str, input_file: str) -> None:
        """Make the place where a batch is worked on: its input stays there whatever becomes of the file; blocking.

        Raises:
            CostctlError: it cannot be made.
        """
        place = self._folder / batch
        with _told(place):
            place.mkdir(mode=0o700)
            self.batch_input(batch).hardlink_to(self.content(input_file))

    def batch_input(self, batch: str) -> Path:
        """Return the batch's input."""
        return self._folder / batch / batch

    def batch_results(self, batch: str) -> Path:
        """Return where its results go."""
        return self._folder / batch / _RESULTS

    def take_output(self, batch: str, identity: str, *, failures: bool) -> int:
        """Give the results, or those that are failures, a name as a file's content; return their size, 0 for none.

        Of a batch that has not come to its end it is what there is so far. Doing it again changes nothing; blocking.

        Raises:
            CostctlError: it cannot be done.
        """
        results = self._folder / batch / (_ERRORS if failures else _RESULTS)
        part = results.with_name(results.name + _PART)
        final = self.content(identity)
        with _told(final):
            if not results.exists() and part.exists():
                _cut_torn_line(part)
                results = part
            if not results.exists() or not results.stat().st_size:
                return 0
            final.unlink(missing_ok=True)
            final.hardlink_to(results)
            final.chmod(0o600)
            self._sync()
            return final.stat().st_size

    def has_room(self) -> bool:
        """Return whether the disk has room to go on with; blocking."""
        try:
            return shutil.disk_usage(self._folder).free >= _LEAST_ROOM_BYTES
        except OSError:
            return True  # whoever writes next will say what is wrong

    def clear(self, batch: str) -> None:
        """Remove the place where a batch was worked on; blocking."""
        _remove(self._folder / batch)

    def _sync(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        logger.error("%s cannot be read and is left out: %s", path, error)  # noqa: TRY400 - the words say it
        return None
    return record if isinstance(record, dict) else None


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _cut_torn_line(path: Path) -> None:
    """Cut off what follows the last line's end: whoever was to write the rest was killed."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        begin = size
        while begin:
            begin = max(0, begin - _TAIL_BYTES)
            file.seek(begin)
            end = file.read(_TAIL_BYTES).rfind(b"\n")
            if end >= 0:
                file.truncate(begin + end + 1)
                return
        file.truncate(0)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError(f"cannot keep {path.name}: the disk is full") from error
        raise CostctlError(f"cannot keep {path.name}: {error.strerror}") from error
