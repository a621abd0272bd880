"""Where requests come from: a file, compressed or not, or a stream that is kept in one so that it can be read twice."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from costctl.batch.values import Problem
from costctl.errors import BadValueError, CostctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from costctl.batch.paths import BatchPaths

    Feed = Callable[[bytes], object]

LONGEST_LINE_BYTES = 64 * 2**20
_STDIN = "-"
_BUFFER_BYTES = 2**20
_GZIP_MARK = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file of requests as it was when it was opened first."""

    path: Path
    name: str
    """What people call it."""
    size_bytes: int
    changed_ns: int

    def lines(
        self, *, feed: Feed | None = None, longest_bytes: int = LONGEST_LINE_BYTES
    ) -> Iterator[tuple[int, bytes] | Problem]:
        """Yield each line's number and its bytes, unpacked.

        Args:
            feed: is given every unpacked byte.
            longest_bytes: what is longer is a problem, and is skipped without being held in memory.

        Raises:
            CostctlError: the file cannot be read, or has changed since it was opened first.
        """
        try:
            with self._open() as file:
                yield from _lines(file, feed or _ignore, longest_bytes)
        except OSError as error:
            raise CostctlError(f"cannot read {self.name}: {error.strerror}") from error

    def _open(self) -> io.BufferedReader:
        file: io.BufferedReader = io.BufferedReader(io.FileIO(self.path), _BUFFER_BYTES)
        found = os.fstat(file.fileno())
        if (found.st_size, found.st_mtime_ns) != (self.size_bytes, self.changed_ns):
            file.close()
            raise CostctlError(f"{self.name} was changed while it was used: run the command again")
        if not file.peek(2).startswith(_GZIP_MARK):
            return file
        file.close()
        return io.BufferedReader(gzip.GzipFile(self.path), _BUFFER_BYTES)


def open_source(given: str, paths: BatchPaths) -> Source:
    """Return the source that a person named.

    Args:
        given: a path, or `-` for standard input.
        paths: the batch's files. A stream is kept in one of them, since it has to be read twice.

    Raises:
        BadValueError: there is no such file, it cannot be read, or the batch would overwrite it.
        CostctlError: the stream cannot be kept.
    """
    path = Path(given)
    if given == _STDIN:
        return _spooled(sys.stdin.buffer, "standard input", paths.spool)
    if path.is_dir():
        raise BadValueError(f"{given} is a directory, not a file of requests")
    try:
        if path.is_file():
            paths.demand_apart_from(path)
            with path.open("rb"):
                return _source(path, given)
        with path.open("rb") as stream:
            return _spooled(stream, given, paths.spool)
    except OSError as error:
        raise BadValueError(f"cannot read {given}: {error.strerror}") from error


def _source(path: Path, name: str) -> Source:
    found = path.stat()
    return Source(path=path, name=name, size_bytes=found.st_size, changed_ns=found.st_mtime_ns)


def _spooled(stream: BinaryIO, name: str, spool: Path) -> Source:
    try:
        with spool.open("wb") as file:
            shutil.copyfileobj(stream, file, _BUFFER_BYTES)
    except OSError as error:
        raise CostctlError(f"cannot keep {name} in {spool}: {error.strerror}") from error
    return _source(spool, name)


def _lines(file: BinaryIO, feed: Feed, longest_bytes: int) -> Iterator[tuple[int, bytes] | Problem]:
    number = 1
    try:
        while raw := file.readline(longest_bytes + 1):
            feed(raw)
            if len(raw) > longest_bytes:
                length = len(raw) + _skip_line(file, raw, feed)
                yield Problem(line=number, text=f"{length:,} bytes long, of at most {longest_bytes:,}")
            else:
                yield number, raw
            number += 1
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield Problem(line=number, text=f"the gzip file is damaged from here on: {error}")


def _skip_line(file: BinaryIO, begun: bytes, feed: Feed) -> int:
    """Read to the end of a line; return how many bytes that were."""
    skipped = 0
    while begun and not begun.endswith(b"\n"):
        begun = file.readline(_BUFFER_BYTES)
        feed(begun)
        skipped += len(begun)
    return skipped


def _ignore(_raw: bytes) -> None:
    pass
