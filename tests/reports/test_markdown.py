import re

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from costctl.reports.cells import printable
from costctl.reports.markdown import render_markdown
from costctl.reports.outline import Column, Document, Figure, Figures, Notes, Prose, Section, Table
from costctl.reports.wording import Wording
from tests.reports.sample_document import FOREIGN_NAMES, ZONE, sample_document

# HTML is let through here, so that what would be markup somewhere is found here.
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
SIGNS = st.sampled_from("`*_[]()<>&|~$#+-=.!:\\\"' \n1aw显;/@{}^")


def with_everything(text):
    """A document that says `text` in every place there is."""
    table = Table(
        key="t",
        title=text,
        columns=(Column(heading=text), Column(heading="b", numeric=True)),
        rows=((text, "1"),),
        footer=(text, None),
    )
    figures = Figures((Figure(label=text, value=text, note=text),))
    blocks = (table, figures, Prose(text), Notes((text,)))
    return Document(title=text, subtitle=text, sections=(Section(key="s", title=text, blocks=blocks),), zone=ZONE)


def lines_of(text):
    """What a reader sees where `text` stands everywhere, and every kind of markup that is in it."""
    lines, kinds = [], []
    for token in PARSER.parse(render_markdown(with_everything(text), Wording.of("en"))):
        kinds += [part.type for part in token.children or [token] if part.type not in {"text", "text_special"}]
        if token.type == "inline":
            lines.append("".join(part.content for part in token.children))
    return lines, kinds


def is_shown_as_it_is(text):
    shown = printable(text).strip()
    expected = [shown] * 5 + ["b", shown, "1", shown, "", f"{shown}: {shown} ({shown})", shown, shown]
    return lines_of(text) == (expected, lines_of("plain")[1])


def test_a_table_has_its_alignment_and_its_footer():
    text = render_markdown(sample_document(), Wording.of("en"))
    assert (
        """\
### By phase

| phase | minutes | share | cost | in USD |
| --- | --: | --: | --: | --: |
| busy | 1.7 | 33.3% | 1.33 CNY | 0.0033 |
| 空闲 | 1.6 | 33.4% | 1.34 CNY | 0.0034 |
| off | 1.7 | 33.3% | 1.33 CNY | unknown |
| **all** | **5.0** | **100.0%** | **4.00 CNY** | **0.0067** |

*The cost was highest on 31 January.*

- One note.
"""
        in text
    )
    assert text.startswith(
        "# January 2026 \\<i\\>\n\n2026-01-01 to 2026-01-31, times in Asia/Shanghai\n\n## In short\n\n"
    )
    assert "- cost: **4.00 CNY** (at 1.98 CNY/h)\n" in text


def test_foreign_names_are_shown_and_are_never_markup():
    assert [name for name in FOREIGN_NAMES if not is_shown_as_it_is(name)] == []


@given(st.text(SIGNS, min_size=1, max_size=12).filter(lambda text: text.strip()))
def test_no_text_becomes_markup(text):
    assert is_shown_as_it_is(text)


def test_bare_addresses_do_not_become_links():
    text = render_markdown(with_everything("see https://example.org and www.example.org"), Wording.of("en"))
    assert not re.search(r"https?://|www\.", text)
