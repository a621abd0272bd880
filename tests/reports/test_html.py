import re
from html.parser import HTMLParser

import pytest

from costctl import __version__
from costctl.adapters.vega import svg_renderer
from costctl.reports.html import render_html
from costctl.reports.outline import Column, Document, Section, Table
from costctl.reports.wording import Wording
from tests.reports.sample_document import FOREIGN_NAMES, ZONE, sample_document
from tests.reports.sample_month import CHINESE, month_document

ENGLISH = Wording.of("en")
_VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """The elements of a page in order, each with its attributes and the text directly in it."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        if tag not in _VOID:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if self._open:
            self._open[-1][2].append(data)

    def all(self, *tags):
        return [(attributes, "".join(text)) for tag, attributes, text in self.elements if tag in tags]

    def texts(self, *tags):
        return [text for _, text in self.all(*tags)]

    def ids(self):
        return [attributes["id"] for _, attributes, _ in self.elements if "id" in attributes]


def page_of(*tables):
    section = Section(key="s", title="S", blocks=tables)
    document = Document(title="Tables", subtitle="", zone=ZONE, sections=(section,))
    return Page(render_html(document, ENGLISH, None))


def table_of(rows, columns, cell="x"):
    return Table(key="t", columns=(Column(heading="model"),) * columns, rows=((cell,) * columns,) * rows)


@pytest.fixture(scope="module")
def drawn():
    return render_html(sample_document(), ENGLISH, svg_renderer())


@pytest.fixture(scope="module")
def month():
    return render_html(month_document(ENGLISH), ENGLISH, svg_renderer())


def test_foreign_text_is_only_text(drawn):
    page = Page(drawn)
    cells = page.texts("th", "td")
    assert [name for name in FOREIGN_NAMES if name.isprintable() and name not in cells] == []
    assert page.texts("title", "h1") == ["January 2026 <i>"] * 2
    assert not page.all("script", "b", "i", "img")


def test_what_steers_terminals_is_not_in_the_page(drawn):
    assert "\x1b" not in drawn
    assert "line break" in "".join(Page(drawn).texts("th"))


def test_nothing_is_fetched_and_nothing_runs(drawn, month):
    for text in (drawn, month):
        page = Page(text)
        assert not page.all("script", "link", "img", "iframe", "object", "use", "image", "foreignObject")
        attributes = [(name, value) for _, found, _ in page.elements for name, value in found.items()]
        assert [
            name for name, _ in attributes if name.startswith("on") or name in {"src", "srcset", "xlink:href"}
        ] == []
        assert all(value.startswith("#") for name, value in attributes if name == "href")
        assert not re.search(r"url\(|@import", text)
        [policy] = [found for found, _ in page.all("meta") if found.get("http-equiv") == "Content-Security-Policy"]
        assert policy["content"].startswith("default-src 'none';")


def test_every_reference_has_its_one_target(drawn, month):
    for text in (drawn, month):
        page = Page(text)
        ids = page.ids()
        assert len(set(ids)) == len(ids)
        named = {
            target
            for _, found, _ in page.elements
            for name in ("aria-labelledby", "aria-describedby", "href")
            for target in found.get(name, "").removeprefix("#").split()
        }
        assert named <= set(ids)


def test_sections_are_headed_and_listed(month):
    page = Page(month)
    assert len(page.all("h1")) == 1
    assert page.texts("h2") == ["In short", "Sessions", "Use", "Comparison"] == page.texts("a")


def test_every_chart_is_drawn_for_two_widths_and_told_in_words(month):
    page = Page(month)
    pictures = [found for found, _ in page.all("div") if found.get("role") == "img"]
    captions = {found["id"]: text for found, text in page.all("figcaption")}
    assert [picture["class"] for picture in pictures] == ["wide", "narrow"] * 3
    assert {picture["aria-describedby"] for picture in pictures} == set(captions)
    assert len(page.all("svg")) == len(pictures)
    assert all("CNY" in text or "Busiest" in text for text in captions.values())


def test_without_what_draws_charts_the_page_is_whole_and_says_how_to_get_them():
    page = Page(render_html(month_document(ENGLISH), ENGLISH, None))
    assert not page.all("svg")
    assert len(page.all("figcaption")) == 3
    assert [text for text in page.texts("p") if "costctl[report]" in text] == [
        "The charts are told in words; to see them, install what draws them: pip install 'costctl[report]'"
    ]


def test_a_page_without_charts_asks_for_nothing():
    document = Document(title="Empty", subtitle="", sections=(), zone=ZONE)
    page = Page(render_html(document, ENGLISH, None))
    assert [text for text in page.texts("p") if text] == [f"Made by costctl {__version__}."]


def test_a_table_has_a_caption_headings_and_its_sums(drawn):
    page = Page(drawn)
    assert page.texts("span") == ["By phase", "按模型统计的费用", "Nothing"]
    assert len(page.all("caption")) == 3
    scopes = [found["scope"] for found, _ in page.all("th")]
    assert scopes.count("col") == 5 + 5 + 1
    assert scopes.count("row") == 3 + 1 + len(FOREIGN_NAMES)
    assert len(page.all("tfoot")) == 1
    assert page.texts("td")[-1] == "none"


def test_numbers_are_set_right_and_long_text_may_be_broken():
    columns = (Column(heading="model"), Column(heading="what it needs"), Column(heading="cost", numeric=True))
    table = Table(key="t", columns=columns, rows=(("T4", "--dtype half, since it has no bfloat16", "9"),))
    assert [found["class"] for found, _ in page_of(table).all("th", "td")] == ["short", "long", "number"] * 2


def test_a_table_too_wide_for_paper_is_set_smaller():
    assert [found.get("class") for found, _ in page_of(table_of(1, 4, "x" * 20)).all("table")] == [None]
    assert [found.get("class") for found, _ in page_of(table_of(1, 5, "x" * 20)).all("table")] == ["crowded"]


def test_a_long_table_scrolls_in_its_own_box():
    assert "table" in [found.get("class") for found, _ in page_of(table_of(40, 1)).all("div")]
    assert "table tall" in [found.get("class") for found, _ in page_of(table_of(41, 1)).all("div")]


def test_the_page_says_its_language():
    assert Page(render_html(month_document(CHINESE), CHINESE, None)).all("html")[0][0]["lang"] == "zh-Hans"
    assert Page(render_html(month_document(ENGLISH), ENGLISH, None)).all("html")[0][0]["lang"] == "en"


def test_dark_pages_have_every_colour_that_charts_have(month):
    drawn = set(re.findall(r'(?:fill|stroke)="(#\w+)"', month))
    darkened = set(re.findall(r'svg \[fill="(#\w+)"\] \{ fill: #\w{6}; \}', month))
    assert drawn
    assert drawn <= darkened


def test_the_same_document_is_the_same_page(month):
    assert render_html(month_document(ENGLISH), ENGLISH, svg_renderer()) == month
