"""Opening the files of a batch: new ones, those of a batch that was interrupted, or those of one that is finished."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from costctl.batch import disk
from costctl.batch.paths import renewed
from costctl.batch.records import HEADER_BYTES, Header, Record, read_header, read_records
from costctl.errors import BadValueError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from costctl.batch.paths import BatchPaths

_OTHERWISE = "name another file for the results, or begin anew with --restart"


@dataclass(kw_only=True, slots=True)
class OpenFiles:
    """Descriptors of a batch's files; the journal's holds the lock. Of a finished batch only the journal is open."""

    journal: int
    parts: tuple[int, ...] = ()
    """Results and errors."""
    are_closed: bool = False

    def part(self, *, is_failed: bool) -> int:
        """Return the descriptor of the errors, or of the results."""
        return self.parts[is_failed]

    def close(self) -> None:
        """Close all of them, and let another process in."""
        for fd in (*self.parts, self.journal):
            os.close(fd)
        self.are_closed = True


def open_journal(paths: BatchPaths, asked: Header, *, restart: bool, rerun_failed: bool) -> tuple[int, Header]:
    """Lock the journal of the batch that was asked for; return its descriptor and its header.

    Raises:
        RefusedError: what is there is of another batch or something else, or another process is at work on it.
        OSError: it cannot be read or written.
    """
    fd = disk.take(paths.journal)
    try:
        _remove(paths.unfinished)
        if restart:
            _remove(_files(paths))
            os.ftruncate(fd, 0)
        header = _header(paths, fd)
        if header is None:
            header = _begin(paths, fd, asked)
        else:
            _demand_same(paths, header, asked)
        if rerun_failed and any(record.is_failed for record in records_in(fd)):
            return _forget_failures(paths, fd, header)
    except BaseException:
        os.close(fd)
        raise
    return fd, header


def open_parts(paths: BatchPaths, journal: int) -> OpenFiles:
    """Open the results so far and the errors so far.

    Raises:
        OSError: they cannot be.
    """
    for part, final in ((paths.results_part, paths.results), (paths.errors_part, paths.errors)):
        if not part.exists() and final.exists():
            final.replace(part)  # finishing was interrupted after it got its final name
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    results = os.open(paths.results_part, flags, 0o666)
    try:
        errors = os.open(paths.errors_part, flags, 0o666)
    except OSError:
        os.close(results)
        raise
    disk.sync_folder(paths.journal)
    return OpenFiles(journal=journal, parts=(results, errors))


def records_in(fd: int) -> Iterator[Record]:
    """Yield the records of an open journal."""
    with os.fdopen(fd, "rb", closefd=False) as file:
        file.seek(HEADER_BYTES)
        yield from read_records(file)


def replace_journal(path: Path, header: Header, records: Iterable[Record]) -> int:
    """Put another journal in the place of the one at `path`; return its descriptor, which holds the lock too.

    Raises:
        OSError: it cannot be written; the one there is as it was.
    """
    new = renewed(path)
    fd = disk.take(new)
    try:
        os.ftruncate(fd, 0)
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(header.packed())
            for record in records:
                file.write(record.packed())
        os.fsync(fd)
        new.replace(path)
        disk.sync_folder(path)
    except BaseException:
        new.unlink(missing_ok=True)
        os.close(fd)
        raise
    return fd


def _header(paths: BatchPaths, fd: int) -> Header | None:
    """Return the journal's header, None for a new batch, as after one whose finished results were taken away."""
    try:
        with os.fdopen(fd, "rb", closefd=False) as file:
            file.seek(0)
            header = read_header(file)
    except BadValueError as error:
        raise RefusedError(f"cannot go on with {paths.journal}, {error}: {_OTHERWISE}") from None
    if header is not None and header.is_finished and not paths.results.exists():
        return None
    return header


def _begin(paths: BatchPaths, fd: int, header: Header) -> Header:
    for path in _files(paths):
        if path.exists():
            paths.journal.unlink()
            raise RefusedError(f"{path} exists already, and no journal says that it is of this batch: {_OTHERWISE}")
    os.ftruncate(fd, 0)
    disk.write_at(fd, header.packed(), 0)
    disk.sync_folder(paths.journal)
    return header


def _demand_same(paths: BatchPaths, found: Header, asked: Header) -> None:
    if found.fingerprint.source != asked.fingerprint.source:
        raise RefusedError(
            f"{paths.results} is of another batch: its input was another file, or this one before it was changed: "
            f"{_OTHERWISE}"
        )
    if found.fingerprint.defaults != asked.fingerprint.defaults:
        raise RefusedError(
            f"{paths.results} was begun with other values for all lines (--model, --max-tokens, --temperature, "
            f"--system, --extra-body ...): give the same, {_OTHERWISE}"
        )


def _forget_failures(paths: BatchPaths, fd: int, header: Header) -> tuple[int, Header]:
    """Make lines that failed undone again."""
    if header.is_finished:
        _remove((paths.results_part, paths.errors_part))
    unfinished = replace(header, is_finished=False)
    done = (record for record in records_in(fd) if not record.is_failed)
    new = replace_journal(paths.journal, unfinished, done)
    os.close(fd)
    return new, unfinished


def _files(paths: BatchPaths) -> tuple[Path, ...]:
    return paths.results, paths.errors, paths.results_part, paths.errors_part


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
