"""The end of a batch: its results get their final names, whole or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from costctl.batch import disk
from costctl.batch.opening import replace_journal
from costctl.batch.paths import ordered
from costctl.batch.records import FINISHED_AT, Header, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from costctl.batch.opening import OpenFiles
    from costctl.batch.paths import BatchPaths
    from costctl.batch.places import Places

_BUFFER_BYTES = 2**20


def finish_as_done(paths: BatchPaths, files: OpenFiles) -> None:
    """Give the results their final names, in the order in which they came.

    Raises:
        OSError: they cannot be renamed.
    """
    if os.fstat(files.part(is_failed=True)).st_size:
        paths.errors_part.replace(paths.errors)
    else:
        paths.errors_part.unlink()
    paths.results_part.replace(paths.results)
    disk.sync_folder(paths.results)
    disk.write_at(files.journal, b"\1", FINISHED_AT)
    paths.spool.unlink(missing_ok=True)


def finish_in_order(paths: BatchPaths, files: OpenFiles, header: Header, places: Places) -> None:
    """Write the results again in the order of their lines.

    Args:
        paths: the batch's files.
        files: the same, open; the journal among them is replaced.
        header: of the journal.
        places: where each line's result is.

    Raises:
        OSError: they cannot be written.
    """
    _write_in_order(files.part(is_failed=False), paths.results, places.of(is_failed=False))
    records: Iterable[Record] = _records(paths.results, places, is_failed=False)
    if places.count(is_failed=True):
        _write_in_order(files.part(is_failed=True), paths.errors, places.of(is_failed=True))
        records = chain(records, _records(paths.errors, places, is_failed=True))
    os.close(replace_journal(paths.journal, replace(header, is_finished=True), records))
    remove_parts(paths)


def remove_parts(paths: BatchPaths) -> None:
    """Remove what a finished batch needs no longer.

    Raises:
        OSError: it cannot be removed.
    """
    for path in (paths.results_part, paths.errors_part, paths.spool):
        path.unlink(missing_ok=True)


def _write_in_order(fd: int, final: Path, places: Iterable[tuple[int, int]]) -> None:
    """Write the lines that begin at `places` of an open file, each a line and an offset, to where they belong."""
    new = ordered(final)
    try:
        with os.fdopen(fd, "rb", closefd=False) as part, new.open("wb", _BUFFER_BYTES) as file:
            for _, offset in places:
                part.seek(offset)
                file.write(part.readline())
            file.flush()
            os.fsync(file.fileno())
        new.replace(final)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    disk.sync_folder(final)


def _records(final: Path, places: Places, *, is_failed: bool) -> Iterator[Record]:
    """Yield the records of a file that is in order."""
    offset = 0
    with final.open("rb", _BUFFER_BYTES) as file:
        for (line, _), content in zip(places.of(is_failed=is_failed), file, strict=True):
            yield Record(line=line, is_failed=is_failed, offset=offset, length=len(content))
            offset += len(content)
