"""Files of requests, read line by line, in whatever form they are."""

from __future__ import annotations

import codecs
from itertools import chain, dropwhile
from pathlib import PurePath
from typing import TYPE_CHECKING

from costctl.batch.lines import job_of, read_draft
from costctl.batch.tables import is_header, table_jobs
from costctl.batch.values import Job, Problem
from costctl.errors import BadValueError, CostctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from costctl.batch.defaults import Defaults
    from costctl.batch.sources import Feed, Source

    Wanted = Callable[[int], bool]
    Texts = Iterator[tuple[int, str] | Problem]

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_TABLE_SUFFIXES = (".csv", ".tsv")


def _every(_line: int) -> bool:
    return True


def read_jobs(source: Source, defaults: Defaults, *, wanted: Wanted = _every) -> Iterator[Job]:
    """Yield the requests of a file that was checked, in its order, in constant memory.

    Args:
        source: the file.
        defaults: what it was checked with.
        wanted: of which lines to yield the request; of all if left out.

    Raises:
        CostctlError: the file has changed since it was checked.
    """
    for job in jobs_and_problems(source, defaults, wanted=wanted):
        if isinstance(job, Problem):
            raise CostctlError(f"{source.name} {job}")
        yield job


def jobs_and_problems(
    source: Source, defaults: Defaults, *, feed: Feed | None = None, wanted: Wanted = _every
) -> Iterator[Job | Problem]:
    """Yield each wanted request of a file, or why a line is none; `feed` is given every byte."""
    texts = _texts(source, feed)
    first = next(texts, None)
    if first is None:
        return
    texts = chain((first,), texts)
    if _is_table(source, first):
        yield from (job for job in table_jobs(texts, defaults) if wanted(job.line))
    elif not isinstance(first, Problem) and first[1].lstrip().startswith("["):
        yield Problem(line=first[0], text="a JSON array: write one request a line, as `jq -c '.[]'` does")
    else:
        yield from _line_jobs(texts, defaults, wanted)


def _texts(source: Source, feed: Feed | None) -> Texts:
    """Yield the lines from the first that is not blank, as text."""
    for found in dropwhile(_is_blank, source.lines(feed=feed)):
        if isinstance(found, Problem):
            yield found
            continue
        number, raw = found
        if number == 1 and raw.startswith(_UTF_16_MARKS):
            yield Problem(line=1, text="the file is in UTF-16: save it as UTF-8")
            return
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            yield Problem(line=number, text=f"byte {error.start + 1} is not UTF-8: save the file as UTF-8")


def _is_blank(found: tuple[int, bytes] | Problem) -> bool:
    return not isinstance(found, Problem) and not found[1].removeprefix(codecs.BOM_UTF8).strip()


def _line_jobs(texts: Texts, defaults: Defaults, wanted: Wanted) -> Iterator[Job | Problem]:
    for found in texts:
        if isinstance(found, Problem):
            yield found
            continue
        number, text = found
        if not wanted(number) or not text.strip():
            continue
        try:
            yield job_of(number, read_draft(text, prompts_are_chats=defaults.prompts_are_chats), defaults)
        except BadValueError as error:
            yield Problem(line=number, text=str(error))


def _is_table(source: Source, first: tuple[int, str] | Problem) -> bool:
    if isinstance(first, Problem):
        return False
    suffix = PurePath(source.name.removesuffix(".gz")).suffix.casefold()
    return suffix in _TABLE_SUFFIXES or (not first[1].lstrip().startswith(("{", "[")) and is_header(first[1]))
