"""The bytes of a journal: a header, then one record for each line that is done.

A record is written only after the result that it points to is safe on the disk. Records of results are contiguous, and
so are those of errors: a record that does not begin where the last one ended is not one.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from costctl.batch.checking import Fingerprint
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_MAGIC = b"costctlB"
_VERSION = 1
_FIELDS = struct.Struct("<8sIQ16s16s")
_CHECKSUM = struct.Struct("<I")
FINISHED_AT = _FIELDS.size + _CHECKSUM.size
"""Where the byte is that says whether the batch is finished; changed alone, so never half."""
HEADER_BYTES = FINISHED_AT + 1
_RECORD = struct.Struct("<I?IQ")
RECORD_BYTES = _RECORD.size + _CHECKSUM.size
_RECORDS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """Which batch a journal is of."""

    fingerprint: Fingerprint
    total: int
    is_finished: bool = False
    """Whether the results have their final names."""

    def packed(self) -> bytes:
        """Return the header's bytes."""
        both = self.fingerprint
        fields = _FIELDS.pack(_MAGIC, _VERSION, self.total, both.source, both.defaults)
        return fields + _CHECKSUM.pack(zlib.crc32(fields)) + bytes([self.is_finished])


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """Where a line's result is."""

    line: int
    is_failed: bool
    """Whether it is among the errors."""
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.offset + self.length

    def packed(self) -> bytes:
        """Return the record's bytes."""
        fields = _RECORD.pack(self.line, self.is_failed, self.length, self.offset)
        return fields + _CHECKSUM.pack(zlib.crc32(fields))


def read_header(file: BinaryIO) -> Header | None:
    """Return the header at the beginning of a journal, None if it was never finished: nothing followed it.

    Raises:
        BadValueError: the file is no journal that this costctl can read.
    """
    content = file.read(HEADER_BYTES)
    if len(content) < HEADER_BYTES and _MAGIC.startswith(content[: len(_MAGIC)]):
        return None
    if not content.startswith(_MAGIC):
        raise BadValueError("it is no journal of costctl")
    fields = content[: _FIELDS.size]
    _, version, total, source, defaults = _FIELDS.unpack(fields)
    if content[_FIELDS.size : FINISHED_AT] != _CHECKSUM.pack(zlib.crc32(fields)):
        raise BadValueError("it is damaged")
    if version != _VERSION:
        raise BadValueError("it was written by another version of costctl")
    fingerprint = Fingerprint(source=source, defaults=defaults)
    return Header(fingerprint=fingerprint, total=total, is_finished=bool(content[FINISHED_AT]))


def read_records(file: BinaryIO) -> Iterator[Record]:
    """Yield the records that follow the header, up to the first that is torn."""
    ends = [0, 0]
    while content := file.read(RECORD_BYTES * _RECORDS_AT_ONCE):
        for begin in range(0, len(content) - RECORD_BYTES + 1, RECORD_BYTES):
            fields = content[begin : begin + _RECORD.size]
            line, is_failed, length, offset = _RECORD.unpack(fields)
            checksum = content[begin + _RECORD.size : begin + RECORD_BYTES]
            if checksum != _CHECKSUM.pack(zlib.crc32(fields)) or not line or offset != ends[is_failed]:
                return
            ends[is_failed] += length
            yield Record(line=line, is_failed=is_failed, length=length, offset=offset)
