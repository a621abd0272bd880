"""Engines that fail, as their clients and their owner see it."""

import threading

import openai
import pytest
from running_costctl import MODEL, QUESTION, until


def ask(box, **options):
    with box.client() as client:
        return client.chat.completions.create(**QUESTION, **options)


@pytest.mark.parametrize(
    ("failure", "words"),
    [("oom", "memory"), ("gated", "gated"), ("exit0", "exit")],
)
def test_a_start_that_fails_is_explained_to_the_client_and_in_status(box, failure, words):
    box.serve("--idle-shutdown", "off", engine=("--start-seconds", "0.2", "--fail", failure))
    with pytest.raises(openai.InternalServerError) as raised:
        ask(box)
    assert raised.value.status_code == 503
    assert raised.value.code == "engine_failed"
    assert words in raised.value.message.lower()
    assert int(raised.value.response.headers["Retry-After"]) >= 1
    for line in box.log("engine.log").splitlines()[-3:]:
        assert line in raised.value.response.json()["error"]["message"]
    box.engine_is("failed")
    status = box.status()
    assert words in status["engine"]["reason"].lower()
    assert status["engine"]["failure"]["last_lines"]
    assert words in box.ok("status").lower()


def test_an_engine_that_never_gets_ready_is_given_up(box):
    daemon = box.serve(
        "--idle-shutdown", "off", "--start-timeout", "1s", engine=("--start-seconds", "0", "--fail", "hang-start")
    )
    with pytest.raises(openai.InternalServerError, match="--start-timeout"):
        ask(box)
    daemon.has_said("not ready after 1s")
    box.engine_is("failed")
    assert [process.pid for process in box.processes()] == [daemon.process.pid]


def test_an_api_server_that_dies_in_a_stream_raises_in_the_client_and_is_started_again(box):
    once = ("--fail", "kill-stream:4", "--fail-once-file", str(box.folder / "once"))
    box.serve("--idle-shutdown", "off", engine=("--start-seconds", "0.2", "--tokens-per-second", "100", *once))
    assert heard(box)
    box.engine_is("failed")

    def served():
        try:
            return ask(box)
        except openai.InternalServerError:
            return None

    assert until(served, "the next start")
    assert box.consistent()


def test_an_engine_core_that_dies_in_a_stream_raises_in_the_client(box):
    core = ("--fail", "crash-after:2")  # the first request is the daemon's own
    box.serve("--idle-shutdown", "off", engine=("--start-seconds", "0.2", "--tokens-per-second", "100", *core))
    assert heard(box)
    box.engine_is("failed")
    assert box.status()["engine"]["in_flight"] == 0
    assert box.consistent()


def heard(box):
    """The chunks of a stream before it raises."""
    chunks = []

    def listen():
        for chunk in client.chat.completions.create(**QUESTION, stream=True):
            chunks.append(chunk)  # noqa: PERF402 - they have to be there when it raises

    with box.client() as client, pytest.raises(openai.APIError):
        listen()
    return chunks


def test_responses_and_messages_break_off_in_their_own_shape(box):
    engine = ("--start-seconds", "0.2", "--tokens-per-second", "100", "--fail", "kill-stream:4")
    box.serve("--idle-shutdown", "off", engine=engine)
    with box.client() as client:
        stream = client.responses.create(model=MODEL, input="hi", stream=True)
        with pytest.raises(openai.APIError, match="the engine died"):
            list(stream)


def test_an_engine_that_ignores_sigterm_is_killed(box):
    daemon = box.serve(
        "--idle-shutdown", "off", "--stop-timeout", "1s", engine=("--start-seconds", "0.1", "--fail", "ignore-sigterm")
    )
    ask(box)
    daemon.stop()
    assert "killing it" in daemon.said
    assert not box.processes()


def test_a_client_that_leaves_is_felt_by_the_engine(box):
    engine = ("--start-seconds", "0.2", "--tokens-per-second", "20")
    box.serve("--idle-shutdown", "off", engine=engine)
    ask(box, max_tokens=1)
    with box.client() as client:
        stream = client.chat.completions.create(**QUESTION, stream=True, max_tokens=4000)
        next(iter(stream))
        stream.close()
    plain = threading.Thread(target=leave_a_plain_request, args=(box,))
    plain.start()
    plain.join()
    until(lambda: "sim:requests_aborted_total 2\n" in box.get("/metrics")[1], "both to be aborted")
    assert box.status()["engine"]["in_flight"] == 0


def leave_a_plain_request(box):
    with box.client() as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(**QUESTION, max_tokens=4000, timeout=0.5)


def test_an_upload_of_sound_goes_through(box):
    box.serve("--idle-shutdown", "off", "--max-body", "8MiB")
    with box.client() as client:
        answer = client.audio.transcriptions.create(model=MODEL, file=("a.wav", bytes(3 * 2**20), "audio/wav"))
        assert answer.text
        with pytest.raises(openai.APIStatusError) as raised:
            client.audio.transcriptions.create(model=MODEL, file=("a.wav", bytes(9 * 2**20), "audio/wav"))
    assert raised.value.status_code == 413
    assert raised.value.code == "body_too_large"
