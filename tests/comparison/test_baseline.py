import pytest

from costctl.domain.baseline import parse_baseline
from costctl.errors import BadValueError


def test_a_baseline_is_a_gpu_with_what_is_said_of_it(gpus, now):
    plain = parse_baseline("a10g", models=gpus, now=now)
    assert (plain.gpu.name, plain.is_always_on, plain.market, plain.price) == ("A10G", True, "on-demand", None)
    full = parse_baseline("Tesla T4 as-run spot at 0.9 cny/h", models=gpus, now=now)
    assert (full.gpu.name, full.is_always_on, full.market, str(full.price)) == ("T4", False, "spot", "0.90 CNY/h")
    assert parse_baseline("on-demand ALWAYS-ON L4", models=gpus, now=now).gpu.name == "L4"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is not a GPU"),
        ("always-on", "'' is not a GPU"),
        ("A10G alwayson", "'A10G alwayson' is not a GPU"),
        ("A10G at 3.0", "'3.0' is not a price"),
        ("A10G at 3.0 CNY", "is not a price"),
        ("A10G at -1 CNY/h", "must be more than 0"),
        ("A10G always-on as-run", "always-on and as-run cannot both be meant"),
        ("A10G spot on-demand", "spot and on-demand cannot both"),
    ],
)
def test_what_is_wrong_with_a_baseline_is_said_with_the_form(gpus, now, text, words):
    with pytest.raises(BadValueError, match=words) as caught:
        parse_baseline(text, models=gpus, now=now)
    assert "write it as GPU [always-on|as-run] [on-demand|spot] [at 3.0 CNY/h]" in str(caught.value)
