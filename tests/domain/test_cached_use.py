from datetime import timedelta
from fractions import Fraction

import pytest

from costctl.domain.cached import CacheUse

HOUR = timedelta(hours=1)


def use(**changed):
    facts = {
        "model": "m", "hits": 3, "misses": 1, "prompt_tokens": 200, "generation_tokens": 100, "worked_tokens": 600,
        "busy": HOUR, "billed": 2 * HOUR, "currency": "CNY", "cost_micros": 3_600_000,
    }  # fmt: skip
    return CacheUse(**facts | changed)


def test_saved_time_is_saved_tokens_at_the_models_own_pace():
    # 600 tokens in an hour of work: 300 tokens are half an hour, at 1.80 CNY/h.
    assert use().hit_rate == Fraction(3, 4)
    assert use().saved_time == HOUR / 2
    assert use().saved_micros == 900_000


def test_what_is_not_known_is_not_guessed():
    assert use(worked_tokens=0).saved_time is None
    assert use(worked_tokens=0).saved_micros is None
    assert use(currency=None, cost_micros=0).saved_time == HOUR / 2
    assert use(currency=None, cost_micros=0).saved_micros is None
    assert use(hits=0, misses=0).hit_rate is None


def test_less_than_nothing_is_refused():
    with pytest.raises(ValueError, match="from zero"):
        use(hits=-1)
