import csv
import io

import pytest

from costctl.domain.csv_cells import csv_text, harmless


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+49",
        "-x",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        '=HYPERLINK("http://x")',
        "-",
        "+1+1",
        "\N{FULLWIDTH EQUALS SIGN}1",
    ],
)
def test_a_formula_becomes_text(cell):
    # A number with a sign alone is no formula, and is left to be one.
    assert harmless(cell) == (f"'{cell}" if cell != "+49" else cell)


@pytest.mark.parametrize("cell", ["A10G", "", "1.80", "-0.05", "+1.5", "-1e-7", "a=b", None, 7, -7, -1.5])
def test_other_cells_stay(cell):
    assert harmless(cell) == cell


def test_a_whole_table():
    text = csv_text(["name", "cost"], [{"name": "=cmd|' /C calc'!A0", "cost": "-1.50"}, {"name": "a,b", "cost": None}])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows == [{"name": "'=cmd|' /C calc'!A0", "cost": "-1.50"}, {"name": "a,b", "cost": ""}]
