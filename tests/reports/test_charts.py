from fractions import Fraction
from xml.etree import ElementTree as ET

import pytest
from vl_convert import vegalite_to_svg

from costctl.adapters.vega import svg_renderer
from costctl.domain.sessions import Phase
from costctl.reports.charts.comparison import GpuCost, comparison_chart
from costctl.reports.charts.daily_cost import DayCost, daily_cost_chart
from costctl.reports.charts.frame import NARROW, WIDE, narrow
from costctl.reports.charts.palette import ALWAYS_ON, AS_RUN, INK, MUTED, PAGE, PANEL, PHASES, TONES
from costctl.reports.charts.use import WeekUse, use_chart
from costctl.reports.names import phase_names
from costctl.reports.wording import Wording
from tests.reports.colours import SIGHTS, contrast, least_difference
from tests.reports.sample_month import CHINESE, FIRST_DAY, GPUS, days, week_use

ENGLISH = Wording.of("en")
FREE = GpuCost(name="T4", as_run_micros=0, always_on_micros=0, is_estimated=False)
NEVER = WeekUse(busy=((Fraction(0),) * 24,) * 7)


def charts(words=ENGLISH):
    return [
        daily_cost_chart(days(), currency="CNY", words=words),
        daily_cost_chart(days(366), currency="USD", words=words),
        comparison_chart(GPUS, currency="CNY", words=words),
        use_chart(week_use(), words=words),
    ]


def empty_charts():
    return [
        daily_cost_chart([], currency="CNY", words=ENGLISH),
        daily_cost_chart([DayCost(day=FIRST_DAY, phase_micros={})], currency="CNY", words=ENGLISH),
        comparison_chart([FREE], currency="CNY", words=ENGLISH),
        use_chart(NEVER, words=ENGLISH),
    ]


def texts(chart):
    svg = ET.fromstring(svg_renderer()(chart.spec))
    return ["".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colours_stand_out_from_the_page(mode):
    page = getattr(PAGE, mode)
    assert min(contrast(getattr(tone, mode), page) for tone in (*PHASES.values(), AS_RUN, ALWAYS_ON)) >= 3
    assert (
        min(contrast(getattr(tone, mode), getattr(ground, mode)) for tone in (INK, MUTED) for ground in (PAGE, PANEL))
        >= 4.5
    )


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_phases_can_be_told_apart_without_one_kind_of_cone(sight, mode):
    assert least_difference([getattr(tone, mode) for tone in PHASES.values()], sight) > 15


def test_a_light_colour_has_one_dark_one():
    assert len({tone.light for tone in TONES}) == len(TONES)


def test_every_phase_has_a_colour_and_a_name():
    assert set(PHASES) == set(Phase) == set(phase_names(ENGLISH))


def test_days_are_bars_of_whole_micro_units():
    values = daily_cost_chart(days(), currency="CNY", words=ENGLISH).spec["data"]["values"]
    assert sum(value["micros"] for value in values) == sum(day.micros for day in days())
    assert {type(value["micros"]) for value in values} == {int}


def test_days_without_cost_keep_their_place():
    domain = daily_cost_chart(days(), currency="CNY", words=ENGLISH).spec["encoding"]["x"]["scale"]["domain"]
    assert (len(domain), domain[3]) == (31, "Jan 4")


def test_a_year_is_told_by_month():
    chart = daily_cost_chart(days(366), currency="CNY", words=ENGLISH)
    assert chart.title == "Cost per month by phase"
    months = chart.spec["encoding"]["x"]["scale"]["domain"]
    assert (len(months), months[0], months[-1]) == (13, "Jan 2026", "Jan 2027")
    assert sum(value["micros"] for value in chart.spec["data"]["values"]) == sum(day.micros for day in days(366))


def test_a_phase_has_its_colour_also_when_others_are_missing():
    only_idle = [DayCost(day=FIRST_DAY, phase_micros={Phase.IDLE: 5})]
    scale = daily_cost_chart(only_idle, currency="CNY", words=ENGLISH).spec["encoding"]["color"]["scale"]
    assert scale == {"domain": ["idle"], "range": [PHASES[Phase.IDLE].light]}


def test_the_alternative_of_days_has_total_shares_and_the_highest():
    both = [
        DayCost(day=FIRST_DAY, phase_micros={Phase.BUSY: 3_000_000}),
        DayCost(day=FIRST_DAY.replace(day=2), phase_micros={Phase.IDLE: 2_000_000, Phase.BUSY: 5_000_000}),
    ]
    chart = daily_cost_chart(both, currency="CNY", words=ENGLISH)
    assert (
        chart.alt.replace("\xa0", " ") == "10.00 CNY in all: busy 80.0% and idle 20.0%. Highest: Jan 2 with 7.00 CNY."
    )


def test_estimates_are_called_so_in_the_chart_and_in_words():
    chart = comparison_chart(GPUS, currency="CNY", words=ENGLISH)
    assert [text for text in texts(chart) if "estimated" in text] == ["L4(estimated)", "A10G(estimated)"]
    assert chart.alt.replace("\xa0", " ").startswith(
        "T4: 86.40 CNY as run, 1,339.20 CNY always on. L4 (estimated): 97.50 CNY as run"
    )


def test_the_alternative_of_use_names_the_busiest_hour():
    assert use_chart(week_use(), words=ENGLISH).alt == (
        "Busiest: Monday from 11:00 to 12:00, busy for 88% of it. 78 of 168 hours had no use."
    )


@pytest.mark.parametrize(
    ("percent", "shade"),
    [(0, "no use"), (1, "up to 20%"), (20, "up to 20%"), (21, "up to 40%"), (100, "up to 100%")],
)
def test_a_shade_is_named_by_the_most_it_stands_for(percent, shade):
    monday = (Fraction(percent, 100), *(Fraction(1),) * 23)
    chart = use_chart(WeekUse(busy=(monday, *NEVER.busy[1:])), words=ENGLISH)
    assert chart.spec["data"]["values"][0] == {"day": "Mon", "hour": 0, "shade": shade}


def test_little_use_has_shades_of_its_own():
    monday = (Fraction(14, 100), Fraction(6, 100), *(Fraction(0),) * 22)
    chart = use_chart(WeekUse(busy=(monday, *NEVER.busy[1:])), words=ENGLISH)
    assert [value["shade"] for value in chart.spec["data"]["values"][:3]] == ["up to 15%", "up to 10%", "no use"]


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: WeekUse(busy=NEVER.busy[1:]),
        lambda: WeekUse(busy=((Fraction(11, 10),) * 24,) * 7),
        lambda: DayCost(day=FIRST_DAY, phase_micros={Phase.BUSY: -1}),
        lambda: GpuCost(name="T4", as_run_micros=-1, always_on_micros=1, is_estimated=False),
        lambda: comparison_chart([], currency="CNY", words=ENGLISH),
        lambda: comparison_chart([GPUS[0], GPUS[0]], currency="CNY", words=ENGLISH),
    ],
)
def test_nonsense_is_refused(nonsense):
    with pytest.raises(ValueError, match=r"."):
        nonsense()


@pytest.mark.parametrize("chart", [*charts(), *charts(CHINESE), *empty_charts()], ids=lambda chart: chart.alt[:20])
def test_a_chart_is_drawn_as_wide_as_asked_and_always_the_same(chart):
    draw = svg_renderer()
    for spec, width in ((chart.spec, WIDE), (narrow(chart.spec), NARROW)):
        svg = draw(spec)
        root = ET.fromstring(svg)
        assert float(root.get("width")) <= width + 1
        assert " id=" not in svg  # two charts on a page cannot clash
        assert "NaN" not in svg
        assert draw(spec) == svg


def test_specifications_give_vega_lite_nothing_to_complain_about(capfd):
    for chart in (*charts(), *empty_charts()):
        for spec in (chart.spec, narrow(chart.spec)):
            vegalite_to_svg(spec, show_warnings=True)
    assert capfd.readouterr() == ("", "")
    vegalite_to_svg({**chart.spec, "encoding": {"nonsense": {"field": "day"}}}, show_warnings=True)
    assert "nonsense" in "".join(capfd.readouterr())


def test_only_colours_of_the_palette_are_drawn():
    known = {tone.light for tone in TONES}
    for chart in charts():
        root = ET.fromstring(svg_renderer()(chart.spec))
        drawn = {element.get(name) for element in root.iter() for name in ("fill", "stroke")}
        assert drawn - {None, "none", "transparent"} <= known


def test_labels_are_in_the_readers_language():
    by_day, _, _, use = charts(CHINESE)
    assert {"1月1日", "1月31日"} <= set(texts(by_day))
    assert {"周一", "周日"} <= set(texts(use))


def test_a_foreign_name_is_only_text():
    name = "</text><script>alert(1)</script>&"
    chart = comparison_chart(
        [GpuCost(name=name, as_run_micros=1, always_on_micros=2, is_estimated=False)], currency="CNY", words=ENGLISH
    )
    svg = svg_renderer()(chart.spec)
    assert "<script" not in svg
    assert any(text.startswith("</text><script>") for text in texts(chart))
