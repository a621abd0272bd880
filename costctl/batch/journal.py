"""What of a batch is done: kept so that a process killed at any instant loses nothing that it was told is safe.

Results and errors are appended to two files and made safe together; only then are their records appended to the
journal. So every record in it is true, and what follows the last recorded byte is cut off when the batch goes on.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Self

from costctl.batch import disk
from costctl.batch.finishing import finish_as_done, finish_in_order, remove_parts
from costctl.batch.opening import OpenFiles, open_journal, open_parts, records_in
from costctl.batch.places import Places
from costctl.batch.records import HEADER_BYTES, RECORD_BYTES, Header, Record
from costctl.batch.results import Failure, Result, renamed, result_line
from costctl.errors import CostctlError, StorageFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from costctl.batch.checking import Fingerprint
    from costctl.batch.paths import BatchPaths

_CHUNK_BYTES = 65_536
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Journal:
    """The results of one batch, new or gone on with.

    One thread records; `sync` may be called from another.
    """

    def __init__(self, paths: BatchPaths, header: Header, files: OpenFiles, places: Places) -> None:
        self._paths = paths
        self._header = header
        self._files = files
        self._places = places
        self._key = header.fingerprint.source.hex()[:8]
        self._safe_ends = [places.end(is_failed=False), places.end(is_failed=True)]
        self._safe_records = self.done_count
        self._pending: list[tuple[Record, bytes]] = []
        self._pending_lock = Lock()
        self._sync_lock = Lock()

    @classmethod
    def open(
        cls,
        paths: BatchPaths,
        fingerprint: Fingerprint,
        total: int,
        *,
        restart: bool = False,
        rerun_failed: bool = False,
    ) -> Self:
        """Begin a batch, go on with it where it was left, or look at it after it is finished.

        Args:
            paths: where its files are.
            fingerprint: what it is, from `check`.
            total: how many requests it has.
            restart: whether to remove all results that are there and begin anew.
            rerun_failed: whether lines that failed count as not done.

        Raises:
            RefusedError: what is there is of another batch or something else, or another process is at work on it.
            CostctlError: the files cannot be read or written.
        """
        with _told(paths):
            asked = Header(fingerprint=fingerprint, total=total)
            fd, header = open_journal(paths, asked, restart=restart, rerun_failed=rerun_failed)
            try:
                if header.is_finished:
                    remove_parts(paths)
                    return cls(paths, header, OpenFiles(journal=fd), _all_places(fd))
                files = open_parts(paths, fd)
            except BaseException:
                os.close(fd)
                raise
            try:
                return cls(paths, header, files, _cut(files))
            except BaseException:
                files.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    @property
    def is_finished(self) -> bool:
        """Whether the results have their final names: nothing is left to do."""
        return self._header.is_finished

    @property
    def done_count(self) -> int:
        """How many lines are done, failed ones among them."""
        return self._places.count(is_failed=False) + self.failed_count

    @property
    def failed_count(self) -> int:
        """How many lines failed."""
        return self._places.count(is_failed=True)

    @property
    def pending_count(self) -> int:
        """How many of the lines that are done the next `sync` will make safe."""
        return len(self._pending)

    def is_done(self, line: int) -> bool:
        """Return whether a line succeeded or failed."""
        return line in self._places

    def failed_lines(self) -> Iterator[int]:
        """Yield the lines that failed, in their order."""
        return (line for line, _ in self._places.of(is_failed=True))

    def record(self, line: int, custom_id: str, outcome: Result | Failure) -> None:
        """Take note of how a line ended; the next `sync` makes it safe.

        Raises:
            ValueError: the line is done already, or the batch is finished.
        """
        is_failed = isinstance(outcome, Failure) or not outcome.is_success
        self._add(line, result_line(self._name(line), custom_id, outcome), is_failed=is_failed)

    def copy(self, line: int, custom_id: str, *, of: int) -> None:
        """Take note that a line ended as the line `of` did, which asks for the same.

        Raises:
            KeyError: the line `of` is not done.
            ValueError: as for `record`.
            CostctlError: its result cannot be read.
        """
        offset, is_failed = self._places.find(of)
        if offset >= self._safe_ends[is_failed]:
            self.sync()
        with _told(self._paths):
            found = _line_at(self._files.part(is_failed=is_failed), offset)
        self._add(line, renamed(found, self._name(line), custom_id), is_failed=is_failed)

    def sync(self) -> None:
        """Make everything safe that was recorded so far; blocks while the disk is at work.

        Raises:
            CostctlError: the disk is full or broken. What was safe is safe, and another try may succeed.
        """
        with self._sync_lock:
            with self._pending_lock:
                group = self._pending[:]
            if not group:
                return
            with _told(self._paths, safe=self._safe_records):
                self._write(group)
            with self._pending_lock:
                del self._pending[: len(group)]

    def finish(self, *, in_order: bool = False) -> None:
        """Give the results of a batch that is done their final names, and let go of its files; once is enough.

        Args:
            in_order: whether to write the results in the order of their lines, not as they came.

        Raises:
            ValueError: lines are missing.
            CostctlError: the files cannot be written; opening the batch again goes on from here.
        """
        if self.is_finished:
            return
        if self.done_count != self._header.total:
            raise ValueError(f"{self.done_count} of {self._header.total} lines are done")
        self.sync()
        with _told(self._paths, safe=self._safe_records):
            if in_order:
                finish_in_order(self._paths, self._files, self._header, self._places)
            else:
                finish_as_done(self._paths, self._files)
        self._header = replace(self._header, is_finished=True)
        self._files.close()

    def abandon(self) -> None:
        """Make everything safe, and let go of the files; the batch can be gone on with. Does nothing after `finish`.

        Raises:
            CostctlError: as for `sync`; the files are let go of.
        """
        if self._files.are_closed:
            return
        try:
            self.sync()
        finally:
            self._files.close()

    def _name(self, line: int) -> str:
        return f"batch_req_{self._key}_{line}"

    def _add(self, line: int, content: bytes, *, is_failed: bool) -> None:
        if self.is_finished or line in self._places:
            raise ValueError(f"line {line} is done already")
        offset = self._places.end(is_failed=is_failed)
        record = Record(line=line, is_failed=is_failed, offset=offset, length=len(content))
        with self._pending_lock:
            self._pending.append((record, content))
        self._places.add(record)

    def _write(self, group: list[tuple[Record, bytes]]) -> None:
        """Write results, then errors, then their records; nothing counts as safe before all are."""
        ends = self._safe_ends[:]
        for is_failed in (False, True):
            content = b"".join(content for record, content in group if record.is_failed is is_failed)
            if content:
                disk.write_at(self._files.part(is_failed=is_failed), content, ends[is_failed])
                ends[is_failed] += len(content)
        records = b"".join(record.packed() for record, _ in group)
        disk.write_at(self._files.journal, records, HEADER_BYTES + RECORD_BYTES * self._safe_records)
        self._safe_ends, self._safe_records = ends, self._safe_records + len(group)


def _all_places(journal: int) -> Places:
    places = Places()
    for record in records_in(journal):
        places.add(record)
    return places


def _cut(files: OpenFiles) -> Places:
    """Return the places of all results that are whole, after cutting off what follows them."""
    places = Places()
    sizes = [os.fstat(files.part(is_failed=is_failed)).st_size for is_failed in (False, True)]
    for record in records_in(files.journal):
        if record.end > sizes[record.is_failed] or record.line in places:
            break
        places.add(record)
    for is_failed in (False, True):
        os.ftruncate(files.part(is_failed=is_failed), places.end(is_failed=is_failed))
    records = places.count(is_failed=False) + places.count(is_failed=True)
    os.ftruncate(files.journal, HEADER_BYTES + RECORD_BYTES * records)
    return places


def _line_at(fd: int, offset: int) -> bytes:
    content = b""
    while not content.endswith(b"\n"):
        chunk = os.pread(fd, _CHUNK_BYTES, offset + len(content))
        if not chunk:
            raise OSError(errno.EIO, "the result is not whole")
        content += chunk[: chunk.find(b"\n") + 1 or len(chunk)]
    return content


@contextmanager
def _told(paths: BatchPaths, safe: int | None = None) -> Iterator[None]:
    """Say what an error of the operating system means for the batch."""
    try:
        yield
    except OSError as error:
        kept = "" if safe is None else f"; {safe:,} lines are safe, and the same command goes on from there"
        is_full = error.errno in _FULL
        what = "the disk is full" if is_full else error.strerror
        kind = StorageFullError if is_full else CostctlError
        raise kind(f"cannot write {error.filename or paths.results}: {what}{kept}") from error
