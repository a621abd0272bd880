"""A document as one HTML page that needs nothing else: no network, no script, no second file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.cells import cell_len

from costctl import __version__, resources
from costctl.reports.cells import formatted, printable, value_text
from costctl.reports.charts import palette
from costctl.reports.charts.frame import narrow
from costctl.reports.outline import Chart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from zoneinfo import ZoneInfo

    from costctl.reports.outline import Block, Column, Document, Table
    from costctl.reports.wording import Wording

    RenderSvg = Callable[[Mapping[str, Any]], str]

_LANGUAGE_TAGS = {"en": "en", "zh": "zh-Hans"}
_MOST_ROWS = 40
_LONGEST_UNBROKEN = 24  # in letters, as are the next two; Chinese ones count twice
_WIDTH_OF_PAPER = 110
_GAP = 3  # between columns


@dataclass(frozen=True, kw_only=True, slots=True)
class _TableView:
    rows: tuple[tuple[str, ...], ...]
    footer: tuple[str, ...]
    settings: list[str]
    """How each column is set: a number, or text that is short enough for one line, or long."""
    is_tall: bool
    """Whether it would push all else off a screen."""
    is_crowded: bool
    """Whether it only fits on paper if every column may be broken."""


def render_html(document: Document, words: Wording, svg: RenderSvg | None) -> str:
    """Return `document` as a page; `svg` draws Vega-Lite specifications, without it charts are told in words."""
    template = _environment().get_template("report.html.j2")
    return template.render(
        document=document,
        language=_LANGUAGE_TAGS[words.language],
        contents=words.say("Contents"),
        nothing=words.say("none"),
        remarks=_remarks(document, words, draws_charts=svg is not None),
        palette=palette,
        kind=_kind,
        sentence=_sentence,
        table_view=partial(_table_view, words=words, zone=document.zone),
        text=partial(value_text, words=words, zone=document.zone),
        drawings=partial(_drawings, svg=svg),
    )


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(resources.folder("templates")),
        autoescape=True,
        finalize=_inert,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _inert(value: object) -> object:
    return printable(value) if type(value) is str else value


def _kind(block: Block) -> str:
    return type(block).__name__.lower()


def _sentence(text: str) -> Markup:
    """Return a sentence with what stands between backticks as code; all of it stays text."""
    parts = enumerate(printable(text).split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in parts)


def _remarks(document: Document, words: Wording, *, draws_charts: bool) -> list[str]:
    made_by = words.say("Made by costctl {version}.", version=__version__)
    blocks = (block for section in document.sections for block in section.blocks)
    if draws_charts or not any(isinstance(block, Chart) for block in blocks):
        return [made_by]
    command = "pip install 'costctl[report]'"
    return [
        words.say("The charts are told in words; to see them, install what draws them: {command}", command=command),
        made_by,
    ]


def _drawings(spec: Mapping[str, Any], *, svg: RenderSvg | None) -> dict[str, Markup]:
    """Return a chart by the room it is drawn for."""
    if svg is None:
        return {}
    return {"wide": Markup(svg(spec)), "narrow": Markup(svg(narrow(spec)))}  # noqa: S704 - Vega escapes its texts


def _table_view(table: Table, *, words: Wording, zone: ZoneInfo) -> _TableView:
    texts = formatted(table, words, zone)
    headings = tuple(column.heading for column in table.columns)
    longest = [max(map(cell_len, column)) for column in zip(headings, *texts.rows, strict=True)]
    settings = [_setting(column, length) for column, length in zip(table.columns, longest, strict=True)]
    width = sum(min(length, _LONGEST_UNBROKEN) + _GAP for length in longest)
    return _TableView(
        rows=texts.rows,
        footer=texts.footer,
        settings=settings,
        is_tall=len(texts.rows) > _MOST_ROWS,
        is_crowded=width > _WIDTH_OF_PAPER,
    )


def _setting(column: Column, longest: int) -> str:
    if column.numeric:
        return "number"
    return "short" if longest <= _LONGEST_UNBROKEN else "long"
