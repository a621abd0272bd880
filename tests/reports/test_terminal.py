import io
import time

from rich.cells import cell_len
from rich.console import Console

from costctl.reports.outline import Column, Count, Document, Figures, Notes, Prose, Section, Table
from costctl.reports.printing import console_for, print_table
from costctl.reports.terminal import print_document
from costctl.reports.wording import Wording
from tests.reports.sample_document import ZONE, sample_document

ENGLISH = Wording.of("en")


def printed(document=None, console=None, words=ENGLISH):
    console = console or console_for(io.StringIO())
    print_document(document or sample_document(), console, words)
    return console.file.getvalue().splitlines()


def one_table(*columns, rows):
    table = Table(key="one", columns=columns, rows=tuple(rows))
    section = Section(key="one", title="One", blocks=(table,))
    return Document(title="T", subtitle="", sections=(section,), zone=ZONE)


def test_a_document_in_a_pipe():
    lines = printed()
    assert (
        "\n".join(lines[:27])
        == """\
January 2026 <i>
2026-01-01 to 2026-01-31, times in Asia/Shanghai

In short
cost                   4.00 CNY  at 1.98 CNY/h
空闲 share                66.7%
length                 90.0 min
requests                 12,345
price                   unknown  say what an hour costs
newest      2026-02-01 00:30:15

Two thirds of the bill were idle time: *not* one request <came>.

What a session was: 1/2 [phases]?
By phase
phase  minutes   share      cost   in USD
-----------------------------------------
busy       1.7   33.3%  1.33 CNY   0.0033
空闲       1.6   33.4%  1.34 CNY   0.0034
off        1.7   33.3%  1.33 CNY  unknown
-----------------------------------------
all        5.0  100.0%  4.00 CNY   0.0067

The cost was highest on 31 January.

One note.
Another, of <b>x</b>."""
    )


def test_foreign_names_are_shown_but_steer_nothing():
    text = "\n".join(printed())
    assert "[click](javascript:alert(1))" in text
    assert "line break  ?[31mred" in text
    assert "\x1b" not in text


def test_what_is_unknown_is_so_in_the_readers_language():
    assert any("未知" in line for line in printed(words=Wording.of("zh")))


def test_only_columns_that_shrink_are_cut_and_wide_characters_stay_in_line():
    name, model = Column(heading="name"), Column(heading="model", shrinks=True)
    rows = [("n" * 40, "显卡四号" * 20, Count(1)), ("short", "plain", Count(22))]
    lines = printed(one_table(name, model, Column(heading="count", numeric=True), rows=rows))[3:]
    assert {cell_len(line) for line in lines} == {120}
    assert lines[2].startswith("n" * 40 + "  显卡四号显")
    assert lines[2].endswith("..      1")
    assert lines[3].endswith("     22")


def test_a_table_that_cannot_shrink_is_shown_whole():
    assert "x" * 150 in printed(one_table(Column(heading="a"), rows=[("x" * 150,)]))


def test_the_last_column_goes_on_in_further_lines():
    console = console_for(io.StringIO())
    print_table(console, ["rule", "words"], [["a", "word " * 30], ["显卡", "费用" * 50]], wrap=True)
    lines = console.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= 120
    assert lines[3].startswith("      word")
    assert "".join(lines[4:]).count("用") == 50


def test_what_is_empty_prints_nothing():
    empty = Section(key="e", title="", blocks=(Figures(()), Notes(()), Prose("")))
    assert "".join(printed(Document(title="T", subtitle="", sections=(empty,), zone=ZONE))) == "T"


def test_bold_and_lines_on_a_terminal_but_no_colour_if_asked():
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100, _environ={"TERM": "xterm"})
    text = "\n".join(printed(console=terminal))
    assert "\x1b[1mIn short" in text
    assert "─" * 20 in text
    colourless = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb", "NO_COLOR": "1"})
    assert "\x1b" not in "\n".join(printed(console=colourless))


def test_thousands_of_rows_are_printed_at_once():
    rows = [(f"model {number}", Count(number), Count(number * 1000)) for number in range(5_000)]
    document = one_table(Column(heading="model", shrinks=True), Column(heading="a"), Column(heading="b"), rows=rows)
    begin = time.process_time()
    assert len(printed(document)) > 5_000
    assert time.process_time() - begin < 2, "rich's own tables take 3 s for this"
