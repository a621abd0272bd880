"""A document as Markdown in GitHub's dialect; foreign text is shown as it is, and never markup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, assert_never

from costctl.reports.cells import formatted, printable, value_text
from costctl.reports.outline import Chart, Figures, Notes, Prose, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from zoneinfo import ZoneInfo

    from costctl.reports.outline import Block, Document
    from costctl.reports.wording import Wording

# What is markup anywhere, what makes a link of a bare address, and what begins a list or a rule.
_MARKUP = re.compile(r"[\\`*_\[\]<>&|~$#]|:(?=//)|(?<=www)\.|^[-+=]|(?<=\d)[.)](?=\s|$)", re.IGNORECASE)


def render_markdown(document: Document, words: Wording) -> str:
    """Return `document` as Markdown."""
    blocks = [f"# {_escaped(document.title)}", _escaped(document.subtitle)]
    for section in document.sections:
        blocks.append(f"## {_escaped(section.title)}")
        for block in section.blocks:
            blocks.extend(_rendered(block, words, document.zone))
    return "\n\n".join(filter(None, blocks)) + "\n"


def _rendered(block: Block, words: Wording, zone: ZoneInfo) -> Iterator[str]:
    match block:
        case Figures():
            yield "\n".join(_figure_lines(block, words, zone))
        case Table():
            yield f"### {_escaped(block.title)}" if block.title else ""
            yield "\n".join(_table_lines(block, words, zone))
        case Prose(text):
            yield _escaped(text)
        case Chart(alt=text):
            yield f"*{_escaped(text)}*"
        case Notes(items):
            yield "\n".join(f"- {_escaped(item)}" for item in items)
        case _:
            assert_never(block)


def _figure_lines(figures: Figures, words: Wording, zone: ZoneInfo) -> Iterator[str]:
    for figure in figures.items:
        note = f" ({_escaped(figure.note)})" if figure.note else ""
        yield f"- {_escaped(figure.label)}: {_bold(value_text(figure.value, words, zone))}{note}"


def _table_lines(table: Table, words: Wording, zone: ZoneInfo) -> Iterator[str]:
    texts = formatted(table, words, zone)
    yield _row(_escaped(column.heading) for column in table.columns)
    yield _row("--:" if column.numeric else "---" for column in table.columns)
    yield from (_row(map(_escaped, row)) for row in texts.rows)
    if texts.footer:
        yield _row(map(_bold, texts.footer))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _bold(text: str) -> str:
    escaped = _escaped(text)
    return f"**{escaped}**" if escaped else ""


def _escaped(text: str) -> str:
    """Return one line of `text` that shows as it is, even where a block begins with it."""
    return _MARKUP.sub(r"\\\g<0>", printable(text).strip())
