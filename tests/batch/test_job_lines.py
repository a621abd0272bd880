"""What lines of JSON are understood as, and how the values for all lines get into them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.batch.checking import check
from costctl.batch.defaults import Defaults, canonical_json, read_extra_body
from costctl.batch.paths import BatchPaths
from costctl.batch.sources import open_source
from costctl.batch.values import Form
from costctl.domain.routes import BATCH_ENDPOINTS, Kind, kind_of
from costctl.errors import BadValueError

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
BODIES = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/embeddings": {"input": ["hi"]},
    "/v1/score": {"text_1": "a", "text_2": "b"},
    "/score": {"queries": "a", "documents": ["b"]},
    "/v1/rerank": {"query": "a", "documents": ["b"]},
    "/v2/rerank": {"query": "a", "documents": ["b"]},
    "/rerank": {"query": "a", "documents": ["b"]},
}


def line(path="/v1/chat/completions", body=CHAT, **others):
    return json.dumps({"custom_id": "a", "method": "POST", "url": path, "body": body} | others)


def body_of(folder, text, **defaults):
    (job,) = folder.jobs(text, defaults=Defaults(**{"model": "qwen"} | defaults))
    return json.loads(job.body)


@pytest.mark.parametrize("path", BATCH_ENDPOINTS)
def test_every_endpoint_of_a_batch_is_work_at_the_front_door_and_takes_the_model_for_all(folder, path):
    (job,) = folder.jobs(line(path, BODIES[path]))
    assert kind_of("POST", job.path) is Kind.INFERENCE
    assert (job.path, json.loads(job.body)) == (path, BODIES[path] | {"model": "qwen"})


@pytest.mark.parametrize("path", BATCH_ENDPOINTS)
def test_a_body_without_what_its_endpoint_needs_is_a_problem(folder, path):
    (problem,) = folder.problems(line(path, {"model": "m"}))
    assert problem.startswith(f"line 1: {path} needs '")


def test_a_plain_prompt_is_one_message_of_a_chat(folder):
    (job,) = folder.jobs('{"prompt": "hi", "id": 7, "system": "be brief", "top_p": 0.5}')
    assert (job.custom_id, job.path, job.form) == ("7", "/v1/chat/completions", Form.PROMPT)
    assert json.loads(job.body) == {
        "model": "qwen",
        "top_p": 0.5,
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
    }


def test_plain_prompts_can_be_texts_to_complete(folder):
    (job,) = folder.jobs('{"prompt": [1, 2]}', defaults=Defaults(model="m", prompts_are_chats=False))
    assert (job.path, json.loads(job.body)) == ("/v1/completions", {"model": "m", "prompt": [1, 2]})


def test_plain_messages_are_a_chat(folder):
    (job,) = folder.jobs(json.dumps(CHAT | {"custom_id": "x"}))
    assert (job.custom_id, job.path, json.loads(job.body)) == ("x", "/v1/chat/completions", CHAT | {"model": "qwen"})


def test_a_line_has_its_own_value_before_that_for_all(folder):
    own = CHAT | {"model": "own", "max_tokens": 1, "temperature": 0, "chat_template_kwargs": {"a": 1}}
    extra = {"chat_template_kwargs": {"a": 2, "b": {"c": 3}}, "top_k": 5}
    body = body_of(folder, line(body=own), max_tokens=9, temperature=1, extra_body=extra)
    assert body == own | {"chat_template_kwargs": {"a": 1, "b": {"c": 3}}, "top_k": 5}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "max_tokens"),
        ("/v1/completions", "max_tokens"),
        ("/v1/responses", "max_output_tokens"),
        ("/v1/embeddings", None),
        ("/rerank", None),
    ],
)
def test_the_most_tokens_go_only_where_text_is_written(folder, path, name):
    body = body_of(folder, line(path, BODIES[path]), max_tokens=9)
    assert body.keys() - BODIES[path].keys() == {"model", name} - {None}


def test_the_newer_name_of_the_most_tokens_counts_as_given(folder):
    assert "max_tokens" not in body_of(folder, line(body=CHAT | {"max_completion_tokens": 5}), max_tokens=9)


def test_a_system_text_goes_before_chats_that_have_none(folder):
    developer = {"messages": [{"role": "developer", "content": "x"}, *CHAT["messages"]]}
    assert body_of(folder, line(), system="s")["messages"][0] == {"role": "system", "content": "s"}
    assert body_of(folder, line(body=developer), system="s")["messages"] == developer["messages"]
    assert body_of(folder, line("/v1/responses", {"input": "hi"}), system="s")["instructions"] == "s"


def test_a_result_is_one_whole_answer_whatever_the_line_says_of_streams(folder):
    body = CHAT | {"stream": True, "stream_options": {"include_usage": True}}
    assert body_of(folder, line(body=body)) == CHAT | {"model": "qwen"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"prompt": "hi"', "not JSON: column 16: Expecting ',' delimiter"),
        ("[1]\n", "a JSON array: write one request a line"),
        ('"hi"', "not a JSON object"),
        ("{}", "has neither url and body, nor messages, nor prompt"),
        ('{"prompt": ""}', "the prompt is empty"),
        ('{"prompt": ["a"]}', "prompt and system of a chat are texts"),
        ('{"prompt": "a", "id": true}', "custom_id is True, not a text"),
        ('{"prompt": "a", "top_p": NaN}', "cannot be sent as JSON"),
        ('{"prompt": "a", "top_p": 1e999}', "cannot be sent as JSON"),
        ('{"prompt": "\\ud800"}', "half of a character"),
        ('{"prompt": ' + "9" * 5000 + "}", "not JSON that can be read: Exceeds the limit"),
        ('{"prompt": ' + "[" * 100_000, "nested too deeply"),
        (line(method="GET"), "unknown method 'GET'"),
        (line(path="/v1/images"), "unknown url '/v1/images': one of /v1/chat/completions, "),
        (line(path=["x"]), "unknown url ['x']"),
        (line(bdy={}), "unknown field 'bdy'"),
        ('{"custom_id": "a", "method": "POST"}', "'url', 'body' is missing"),
        (line(body=[]), "body is not a JSON object"),
        (line(body={"messages": "hi"}), "messages is not a list"),
        (line(custom_id=""), "custom_id is '', not a text"),
    ],
)
def test_what_cannot_be_sent_is_told_with_its_line(folder, text, told):
    (problem,) = folder.problems(f"\n{text}\n")
    assert problem.startswith("line 2: ")
    assert told in problem


def test_a_line_needs_a_model_if_there_is_none_for_all(folder):
    assert folder.problems(line(), defaults=Defaults()) == [
        "line 1: no model: name it in the line, or for all lines with --model"
    ]


def test_names_that_are_missing_come_from_the_line(folder):
    assert [job.custom_id for job in folder.jobs('{"prompt": "a"}\n\n{"prompt": "b"}')] == ["line-1", "line-3"]


def test_a_name_made_from_a_line_clashes_with_none_that_was_given(folder):
    assert folder.problems('{"prompt": "a"}\n{"prompt": "b", "id": "line-1"}') == [
        "line 2: custom_id 'line-1' is that of line 1 too"
    ]


def test_order_inside_a_body_reaches_the_engine_and_order_of_its_fields_does_not_matter():
    assert canonical_json({"b": {"y": 1, "x": 2}, "a": "é"}) == '{"a":"é","b":{"y":1,"x":2}}'.encode()


@pytest.mark.parametrize("text", ["[1]", "{", "7", ""])
def test_an_extra_body_is_a_json_object(text):
    with pytest.raises(BadValueError, match="the extra body"):
        read_extra_body(text)


@pytest.mark.parametrize(
    "nonsense", [{"max_tokens": 0}, {"temperature": -1}, {"temperature": float("nan")}, {"extra_body": {"a": 1e999}}]
)
def test_values_for_all_lines_that_can_hold_for_none_are_refused(nonsense):
    with pytest.raises(ValueError, match=r"tokens|temperature|JSON"):
        Defaults(**nonsense)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "a", "\ud800", "é\u2028"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
names = st.sampled_from(["custom_id", "id", "method", "url", "body", "messages", "prompt", "system", "model"])
objects = st.dictionaries(names, json_values | st.sampled_from(["POST", *BATCH_ENDPOINTS]), max_size=4)
written = st.binary(max_size=40) | objects.map(lambda value: json.dumps(value).encode())
marks = st.sampled_from([b"", b"\xef\xbb\xbf", b"prompt,id\n", b"\x1f\x8b"])


@given(marks, st.lists(written, max_size=6), st.sampled_from(["x.jsonl", "x.csv"]))
def test_any_bytes_are_requests_or_problems_with_the_numbers_of_their_lines(tmp_path_factory, mark, lines, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(mark + b"\n".join(lines))
    source = open_source(str(path), BatchPaths(results=path.with_name("out.jsonl")))
    checked = check(source, Defaults(model="m"))
    last = path.read_bytes().count(b"\n") + 1
    assert all(1 <= problem.line <= last for problem in checked.problems)
    assert checked.unique_requests <= checked.total <= last
