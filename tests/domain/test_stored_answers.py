import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.stored_answers import StoredAnswer, Tokens, complete_answer
from costctl.errors import BadValueError

JSON, EVENTS = "application/json", "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"


def event(**fields):
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def token(text="x", finish=None):
    return event(choices=[{"delta": {"content": text}, "finish_reason": finish}])


def stored(content_type, *chunks):
    return complete_answer(content_type, chunks, now_s=1000.0)


def plain(**answer):
    return stored(JSON, json.dumps(answer).encode())


@given(chunks=st.lists(st.binary(), max_size=5), tokens=st.integers(0, 2**40), at=st.floats(0, 1e10))
def test_what_is_stored_is_read_again(chunks, tokens, at):
    answer = StoredAnswer(
        content_type=EVENTS, chunks=tuple(chunks), tokens=Tokens(prompt=tokens, generation=1), stored_at_s=at
    )
    assert StoredAnswer.from_bytes(answer.to_bytes()) == answer


@pytest.mark.parametrize(
    "spoil",
    [
        lambda entry: b"",
        lambda entry: entry[:-1],
        lambda entry: entry + b"x",
        lambda entry: entry.replace(b'"format": 1', b'"format": 2'),
        lambda entry: entry.replace(b"application/json", b"a\\r\\nSet-Cookie: b"),
        lambda entry: entry.replace(b'"sizes": [2]', b'"sizes": [-1, 3]'),
        lambda entry: entry.replace(b'"sizes": [2]', b'"sizes": "ab"'),
        lambda entry: entry.replace(b'"prompt_tokens": 0', b'"prompt_tokens": -1'),
        lambda entry: b"[" * 100_000,
    ],
)
def test_an_entry_that_is_spoilt_is_refused(spoil):
    entry = stored(JSON, b"{}").to_bytes()
    with pytest.raises(BadValueError):
        StoredAnswer.from_bytes(spoil(entry))


def test_whole_answers_are_kept_with_their_tokens():
    openai = plain(choices=[{"finish_reason": "stop"}], usage={"prompt_tokens": 7, "completion_tokens": 3})
    assert openai.tokens == Tokens(prompt=7, generation=3)
    anthropic = plain(content=[], usage={"input_tokens": 5, "output_tokens": 2})
    assert anthropic.tokens == Tokens(prompt=5, generation=2)
    assert plain(data=[]).tokens == Tokens()
    assert not openai.is_stream


def test_answers_that_are_not_whole_are_not_kept():
    assert stored(JSON, b'{"choices": [') is None
    assert plain(error={"message": "no"}) is None
    assert plain(choices=[{"finish_reason": "abort"}]) is None
    assert stored("text/plain", b"{}") is None
    assert stored("application/json\r\nx: y", b"{}") is None
    assert stored(JSON, b"[]") is None


@pytest.mark.parametrize("odd", [{"choices": 7}, {"choices": [7]}, {"usage": 7}, {"usage": {"prompt_tokens": "many"}}])
def test_odd_answers_are_kept_without_tokens(odd):
    assert plain(**odd).tokens == Tokens()


def test_a_stream_is_kept_from_its_first_event_to_its_end():
    stream = stored(
        EVENTS,
        token(),
        token(finish="stop"),
        event(choices=[], usage={"prompt_tokens": 4, "completion_tokens": 2}),
        DONE,
    )
    assert stream.is_stream
    assert stream.tokens == Tokens(prompt=4, generation=2)
    without_usage = stored(EVENTS, token() + token(), token(), token(finish="length"), DONE)
    assert without_usage.tokens.generation == 3
    assert (
        stored(
            EVENTS, event(type="message_delta", usage={"output_tokens": 2}), event(type="message_stop")
        ).tokens.generation
        == 2
    )


def test_a_stream_that_broke_off_is_not_kept():
    assert stored(EVENTS, token(), token(finish="stop")) is None
    assert stored(EVENTS, token(), event(error={"message": "died"}), DONE) is None
    assert stored(EVENTS, b'data: {"object":"error","message":"died","code":500}\n\n', DONE) is None
    assert stored(EVENTS, token(finish="abort"), DONE) is None
    assert stored(EVENTS, token(finish="abort"), *[token()] * 9, token(finish="stop"), DONE) is None, "one of several"
    assert stored(EVENTS) is None


def test_an_answer_is_good_until_its_time_and_never_from_the_future():
    answer = stored(JSON, b"{}")
    assert answer.is_fresh(10, 1009.9)
    assert not answer.is_fresh(10, 1010)
    assert not answer.is_fresh(10, 900)


@pytest.mark.parametrize("text", ['"finish_reason":"abort"', 'data: {"error": {}}', "data: [DONE]", '{"error": 1}'])
def test_what_an_answer_speaks_of_is_not_what_became_of_it(text):
    content = "\n\n" + text + "\n\n"
    assert plain(choices=[{"message": {"content": content}, "finish_reason": "stop"}])
    assert stored(EVENTS, token(content), token(content, finish="stop"), DONE).tokens.generation == 1


def test_tool_calls_choices_and_logprobs_are_kept_as_they_came():
    call = {"index": 0, "function": {"name": "error", "arguments": '{"error": "abort", "finish_reason": "abort"}'}}
    streamed = (
        event(
            choices=[{"index": 0, "delta": {"tool_calls": [call]}, "logprobs": {"content": [{"token": '"error":'}]}}]
        ),
        event(choices=[{"index": 1, "delta": {}, "finish_reason": "length"}]),
        event(choices=[{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]),
        event(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 6}),
    )
    answer = stored(EVENTS, *streamed, DONE)
    assert answer.chunks == (*streamed, DONE)
    assert answer.tokens == Tokens(prompt=9, generation=6)
