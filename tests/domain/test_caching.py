import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.caching import LARGEST_REQUEST, CacheRules, Wish, read_question
from costctl.errors import BadValueError

CHAT = "/v1/chat/completions"
ALL = CacheRules(models=frozenset("*"))
QUESTION = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "number", "minimum": 1.0}}}


def read(body, *, route=CHAT, rules=ALL, wish=None, revision="r1"):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_question(route, text, rules=rules, wish=wish, revision=revision)


def key(body, **options):
    question = read(body, **options)
    assert question is not None
    return question.key


def is_cached(body, **options):
    return read(body, **options) is not None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(st.dictionaries(st.sampled_from(["role", "content", "name"]), st.text(max_size=9)), max_size=3)
REQUESTS = st.builds(
    lambda body, messages: body | {"temperature": 0, "messages": messages},
    st.dictionaries(st.sampled_from(["tools", "stop", "top_p", "seed", "logit_bias", "documents"]), VALUES),
    MESSAGES,
)


def shuffled(mapping, chance):
    items = list(mapping.items())
    chance.shuffle(items)
    return dict(items)


@given(body=REQUESTS, seed=st.integers())
def test_the_order_of_keys_and_white_space_do_not_matter(body, seed):
    chance = random.Random(seed)
    same = shuffled(body, chance)
    same["messages"] = [shuffled(message, chance) for message in body["messages"]]
    spaced = json.dumps(same, indent=chance.choice([None, 2]), ensure_ascii=chance.random() < 0.5)
    assert key(spaced.encode(errors="surrogatepass") if spaced.isascii() else json.dumps(same).encode()) == key(body)


@given(body=REQUESTS, other=REQUESTS)
def test_requests_that_differ_have_different_keys(body, other):
    assert (key(body) == key(other)) == (canonical_by_hand(body) == canonical_by_hand(other))


def canonical_by_hand(body):
    """A second, slower statement of what may be equal: number forms only at the top and in logit_bias."""

    def number(value):
        return int(value) if isinstance(value, float) and value == int(value) else value

    def exact(value):
        return json.dumps(value)  # keeps the order of keys and 1.0 apart from 1

    parts = {}
    for name, value in body.items():
        if name == "messages":
            parts[name] = [sorted((field, exact(content)) for field, content in one.items()) for one in value]
        elif name == "logit_bias" and isinstance(value, dict):
            parts[name] = sorted((field, exact(number(one))) for field, one in value.items())
        else:
            parts[name] = exact(number(value))
    return parts


@pytest.mark.parametrize("form", ["0", "0.0", "-0.0", "0e0", "0E-5"])
def test_forms_of_a_number_are_one(form):
    body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": %s}' % form.encode()
    assert key(body) == key(QUESTION)


@pytest.mark.parametrize(
    "more", [{"max_tokens": 9}, {"top_p": 0.5}, {"seed": 1}, {"stop": None}, {"model": "n"}, {"tools": []}, {"n": True}]
)
def test_every_field_that_may_change_the_answer_changes_the_key(more):
    assert key(QUESTION | more) != key(QUESTION)


@pytest.mark.parametrize(
    "more",
    [{"user": "u"}, {"metadata": {"a": 1}}, {"priority": 3}, {"request_id": "x"}, {"stream": False},
     {"stream_options": {"include_usage": True}}],
)  # fmt: skip
def test_who_asks_and_how_urgently_does_not(more):
    assert key(QUESTION | more) == key(QUESTION)


def test_a_stream_is_another_answer_and_so_is_one_with_usage():
    streamed = QUESTION | {"stream": True}
    with_usage = streamed | {"stream_options": {"include_usage": True}}
    assert len({key(QUESTION), key(streamed), key(with_usage)}) == 3


def test_route_query_and_engine_are_part_of_the_key():
    others = [{"revision": "r2"}, {"route": "/v1/completions"}, {"route": f"{CHAT}?a=1"}]
    assert key(QUESTION) not in {key(QUESTION, **other) for other in others}


def test_the_order_in_a_schema_reaches_the_prompt_and_stays():
    turned = {"type": "object", "properties": dict(reversed(SCHEMA["properties"].items()))}
    for field in "response_format", "tools", "guided_json":
        assert key(QUESTION | {field: SCHEMA}) != key(QUESTION | {field: turned})


def test_only_what_has_one_answer_is_cached():
    asked = {name: value for name, value in QUESTION.items() if name != "temperature"}
    assert not is_cached(asked)
    assert not is_cached(asked | {"temperature": 0.7})
    assert not is_cached(asked | {"top_k": 1}), "engines may ignore it"
    assert is_cached(asked | {"temperature": 0.7, "seed": 7})
    assert not is_cached(asked | {"temperature": 1, "seed": None})
    assert not is_cached(asked | {"temperature": False})
    assert is_cached({"model": "m", "input": "hi"}, route="/v1/embeddings")


def test_anthropics_route_has_no_seed():
    assert not is_cached(QUESTION | {"temperature": 1, "seed": 7}, route="/v1/messages")
    assert is_cached(QUESTION, route="/v1/messages")


def test_a_temperature_above_zero_is_cached_only_where_that_is_wanted():
    rules = CacheRules(models=frozenset("*"), temperature_above_zero=True)
    assert is_cached(QUESTION | {"temperature": 0.7}, rules=rules)


def test_models_routes_and_the_header_turn_it_on():
    by_model, by_route = CacheRules(models=frozenset({"m"})), CacheRules(routes=frozenset({CHAT}))
    assert is_cached(QUESTION, rules=by_model)
    assert not is_cached(QUESTION | {"model": "n"}, rules=by_model)
    assert is_cached(QUESTION | {"model": "n"}, rules=by_model, wish=Wish.USE)
    assert is_cached(QUESTION, rules=by_route)
    assert not is_cached(QUESTION, rules=by_route, route="/v1/completions")
    assert not is_cached(QUESTION, rules=CacheRules())
    assert not is_cached(QUESTION, wish=Wish.BYPASS)
    assert not read(QUESTION, wish=Wish.REFRESH).looks


@pytest.mark.parametrize("route", ["/v1/responses", "/v1/audio/transcriptions", "/tokenize"])
def test_routes_whose_answers_do_not_stand_for_themselves_are_left_out(route):
    assert not is_cached(QUESTION, route=route, wish=Wish.USE)


@pytest.mark.parametrize(
    ("header", "wish"), [(None, None), (" Use ", Wish.USE), ("refresh", Wish.REFRESH), ("no-store", Wish.BYPASS)]
)
def test_what_the_header_means(header, wish):
    assert Wish.read(header) is wish


@pytest.mark.parametrize(
    ("header", "wish"),
    [
        ("no-store", Wish.BYPASS), ("no-cache, No-Store", Wish.BYPASS), ("No-Cache", Wish.NO_CACHE),
        ("max-age=0", Wish.NO_CACHE), ("max-age=60", None), ("no-transform", None),
    ],
)  # fmt: skip
def test_http_has_words_of_its_own_which_ours_go_before(header, wish):
    assert Wish.read(None, header) is wish
    assert Wish.read("use", header) is Wish.USE


def test_a_client_that_always_says_no_cache_does_not_turn_it_on():
    assert not is_cached(QUESTION, rules=CacheRules(), wish=Wish.NO_CACHE)
    assert not read(QUESTION, wish=Wish.NO_CACHE).looks


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"7", b"\xff", b'{"temperature": NaN}', b'{"temperature": 0, "top_p": 1e999}',
        b'{"temperature": 0, "stream": "yes"}', b'{"temperature": 0, "temperature": 0}',
        b'{"temperature": 0, "n": ' + b"9" * 5000 + b"}", b'{"temperature": 0, "a": ' + b"[" * 100_000,
        b'{"temperature": 0, "kv_transfer_params": {}}', b'{"temperature": 0, "a": "' + b"x" * LARGEST_REQUEST + b'"}',
        b'{"temperature": 0, "model": ["m"]}',
    ],
)  # fmt: skip
def test_what_is_odd_is_left_to_the_engine(body):
    assert read(body, rules=CacheRules(models=frozenset({"m"}))) is None
    assert read(body, wish=Wish.USE) is None or b'"model": ["m"]' in body


def test_lone_surrogates_have_a_key():
    assert is_cached(b'{"temperature": 0, "messages": [{"content": "\\ud800"}]}')


def test_nonsense_rules_are_refused():
    with pytest.raises(BadValueError, match=r"answers of the route '/v1/responses' cannot be cached"):
        CacheRules(routes=frozenset({"/v1/responses"}))
    with pytest.raises(BadValueError, match="a year at most"):
        CacheRules(ttl_s=0)
