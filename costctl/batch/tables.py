"""Requests in a CSV table: a column `prompt`, and if they are there `custom_id` or `id`, and `system`."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from costctl.batch.lines import job_of, prompt_draft
from costctl.batch.sources import LONGEST_LINE_BYTES
from costctl.batch.values import Form, Job, Problem, shown
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from costctl.batch.defaults import Defaults

    Texts = Iterator[tuple[int, str] | Problem]

_SEPARATORS = (",", ";", "\t")
_PROMPT = "prompt"


def header_of(line: str) -> Mapping[str, int]:
    """Return where each column of a table with this first line is, by its name in small letters; none if it is none."""
    try:
        row = next(csv.reader([line], delimiter=_separator(line)), [])
    except csv.Error:
        return {}
    names = [name.strip().casefold() for name in row]
    return {name: names.index(name) for name in names}


def is_header(line: str) -> bool:
    """Return whether a file that begins with this line is a table of prompts."""
    return _PROMPT in header_of(line)


def table_jobs(texts: Texts, defaults: Defaults) -> Iterator[Job | Problem]:
    """Yield the request of each row, or why there is none."""
    csv.field_size_limit(LONGEST_LINE_BYTES)  # of the whole process; csv's own is 128 KiB
    feed = _Feed(texts)
    header = next(feed, "")
    columns = header_of(header)
    if _PROMPT not in columns:
        yield Problem(
            line=feed.number, text=f"a table needs the column {_PROMPT!r}, and this has {shown(list(columns))}"
        )
        return
    rows = csv.reader(feed, delimiter=_separator(header), strict=True)
    ended = False
    while not ended:
        begin = feed.number + 1
        try:
            row = next(rows, None)
            ended = row is None
            if row:
                yield _job(begin, row, columns, defaults)
        except csv.Error as error:
            yield Problem(line=begin, text=f"not CSV: {error}")
        except BadValueError as error:
            yield Problem(line=begin, text=str(error))
        yield from feed.problems()


def _job(line: int, row: Sequence[str], columns: Mapping[str, int], defaults: Defaults) -> Job:
    cells = {name: row[place] for name, place in columns.items() if place < len(row)}
    fields = {name: cells[name] for name in (_PROMPT, "system") if cells.get(name, "").strip()}
    custom_id = cells.get("custom_id", "").strip() or cells.get("id", "").strip() or None
    draft = prompt_draft(custom_id, {_PROMPT: "", **fields}, Form.TABLE, as_chat=defaults.prompts_are_chats)
    return job_of(line, draft, defaults)


class _Feed:
    """Gives the CSV reader its lines, and keeps what is wrong with one until the row is over."""

    def __init__(self, texts: Texts) -> None:
        self.number = 0
        self._texts = texts
        self._problems: list[Problem] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        found = next(self._texts)
        if isinstance(found, Problem):
            self.number = found.line
            self._problems.append(found)
            return "\n"
        self.number, text = found
        return text

    def problems(self) -> Iterator[Problem]:
        while self._problems:
            yield self._problems.pop(0)


def _separator(line: str) -> str:
    return max(_SEPARATORS, key=line.count)
