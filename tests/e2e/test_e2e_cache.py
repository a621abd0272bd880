"""The answer cache with the real program: hits that wake nothing, and stores that fail."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request

import pytest
from running_costctl import MODEL, PATIENCE_S, Box, until

ASKED = {"model": MODEL, "temperature": 0, "max_tokens": 12, "messages": [{"role": "user", "content": "hi"}]}
SERVER = next(filter(None, map(shutil.which, ("redis-server", "valkey-server"))), None)
needs_server = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed (Debian: redis-server)")


def ask(box, *, path="/v1/chat/completions", cache=None, **changed):
    """What the cache said of a request, and the answer."""
    headers = {"Content-Type": "application/json"} | ({"x-costctl-cache": cache} if cache else {})
    request = urllib.request.Request(
        f"http://127.0.0.1:{box.port}{path}", json.dumps(ASKED | changed).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return answer.headers["x-costctl-cache"], answer.read()


def configure(box, *lines):
    (box.folder / "costctl.toml").write_text("\n".join(("[cache]", *lines)))


def holds(box, entries):
    until(lambda: box.json("cache", "stats")["entries"] == entries, f"{entries} answers in the cache")


def test_off_by_default_and_nothing_of_it_shows(box):
    box.serve()
    assert ask(box, cache="use")[0] is None
    assert box.status()["cache"] is None
    assert not (box.home / "cache").exists()


def test_hits_do_not_start_the_engine_and_the_idle_window_goes_on(box):
    configure(box, 'models = ["*"]')
    daemon = box.serve("--price", "1.8 CNY/h", "--on-idle", "unload", "--idle-shutdown", "2s")
    miss, answer = ask(box)
    _, stream = ask(box, stream=True, stream_options={"include_usage": True})
    holds(box, 2)
    began = time.monotonic()
    hits = 0
    while json.loads(box.get("/health")[1])["engine"] != "off":
        assert ask(box) == ("hit", answer)
        hits += 1
        assert time.monotonic() - began < PATIENCE_S, "the hits kept the engine awake"
    assert (miss, hits > 10) == ("miss", True)
    assert ask(box, stream=True, stream_options={"include_usage": True}) == ("hit", stream)
    assert stream.endswith(b"data: [DONE]\n\n")
    assert json.loads(box.get("/health")[1])["engine"] == "off"
    assert box.status()["cache"]["hits"] == hits + 1
    assert "requests (" in box.ok("status")
    daemon.stop()
    (use,) = box.json("report")["cache"]
    assert (use["model"], use["hits"], use["misses"], use["currency"]) == (MODEL, hits + 1, 2, "CNY")
    assert use["saved_generation_tokens"] == 12 * (hits + 1)
    assert use["saved_busy_seconds"] > 0
    assert "Answers from the cache" in box.ok("report", "--section", "cache")
    assert box.consistent()


def test_answers_outlive_the_daemon_until_they_are_cleared(box):
    configure(box, 'routes = ["/v1/embeddings"]')
    daemon = box.serve()
    assert ask(box, path="/v1/embeddings", input="hi")[0] == "miss"
    assert ask(box)[0] is None, "another route"
    holds(box, 1)
    daemon.stop()
    assert box.json("cache", "stats")["entries"] == 1
    daemon = box.serve()
    assert ask(box, path="/v1/embeddings", input="hi")[0] == "hit"
    assert box.ok("cache", "clear") == "dropped 1 answer\n"
    assert ask(box, path="/v1/embeddings", input="hi")[0] == "miss"
    daemon.stop()
    assert box.serve(engine=("--max-model-len", "512")), "another command line is another engine"
    assert ask(box, path="/v1/embeddings", input="hi")[0] == "miss"


def test_a_cache_that_cannot_be_written_costs_only_hits(box):
    box.home.mkdir(mode=0o700)
    (box.home / "cache").write_text("in the way")
    configure(box, 'models = ["*"]')
    daemon = box.serve()
    assert [ask(box)[0] for _ in range(3)] == ["miss"] * 3
    assert daemon.said.count("trouble with the answer cache") == 1
    assert "File exists" in box.ok("status")
    assert "File exists" in box.ok("cache", "stats")
    assert "Not a directory" in box.refused("cache", "clear", code=1)


def test_a_file_that_is_spoilt_in_the_middle_is_made_anew(box):
    configure(box, 'models = ["*"]')
    daemon = box.serve()
    assert ask(box)[0] == "miss"
    holds(box, 1)
    for file in (box.home / "cache").iterdir():
        file.write_bytes(b"spoilt" * 10_000)
    assert ask(box)[0] == "miss"
    assert box.ok("cache", "clear") == "dropped 0 answers\n"
    assert ask(box)[0] == "miss"
    holds(box, 1)
    assert ask(box)[0] == "hit"
    assert daemon.said.count("trouble with the answer cache, ") == 1
    daemon.has_said("the trouble with the answer cache is over")


class Redis:
    """A Redis server that asks for a password."""

    def __init__(self, folder):
        self.socket = folder / "redis.sock"
        self.url = f"unix://:hush@{self.socket}"
        options = ("--port", "0", "--unixsocket", str(self.socket), "--requirepass", "hush", "--save", "")
        self.process = subprocess.Popen((SERVER, *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self.socket.exists, "redis to listen")

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(box):
    server = Redis(box.folder)
    yield server
    server.stop()


@needs_server
@pytest.mark.parametrize(("blow", "words"), [(signal.SIGKILL, "cannot be reached"), (signal.SIGSTOP, "no answer with")])
def test_a_redis_that_goes_or_hangs_in_the_middle_costs_only_hits(box, redis, blow, words):
    configure(box, 'models = ["*"]', 'store-env = "WHERE"')
    daemon = box.serve(WHERE=redis.url)
    assert ask(box)[0] == "miss"
    holds(box, 1)
    assert ask(box)[0] == "hit"
    redis.process.send_signal(blow)
    began = time.monotonic()
    assert [ask(box)[0] for _ in range(5)] == ["miss"] * 5
    assert time.monotonic() - began < 5, "each waited for the store"
    daemon.has_said(words)
    assert daemon.said.count("trouble with the answer cache, requests go to the engine: redis at") == 1
    assert words in box.ok("status")
    daemon.stop()
    assert daemon.said.count("trouble with the answer cache") == 1


@needs_server
def test_the_password_of_a_redis_is_nowhere_to_be_read(box, redis):
    configure(box, 'models = ["*"]', f'store = "{redis.url}"')
    daemon = box.serve()
    ask(box)
    holds(box, 1)
    shown = [box.ok(*words) for words in (("status",), ("cache", "stats"), ("cache", "stats", "--json"))]
    shown += [box.ok("config", "show"), box.ok("config", "show", "--json"), box.ok("status", "--json")]
    shown += [" ".join(process.cmdline()) for process in box.processes()]
    daemon.stop()
    assert "hush" not in "".join((*shown, daemon.said, box.log(), box.log("engine.log")))
    (box.folder / "costctl.toml").write_text(f'[cache]\nstore = "{redis.url.replace("unix", "unx")}"')
    assert "hush" not in box.refused("cache", "stats", code=2)


@needs_server
def test_a_server_is_shared_by_daemons_with_the_same_engine(box, redis):
    other = Box()
    try:
        for each in box, other:
            configure(each, 'models = ["*"]', f'store = "{redis.url}"')
            each.serve()
        miss, answer = ask(box)
        holds(box, 1)
        assert (miss, ask(other)) == ("miss", ("hit", answer))
        other.engine_is("off")
        assert other.ok("cache", "clear") == "dropped 1 answer\n"
        assert ask(box)[0] == "miss"
    finally:
        other.close()


def test_the_official_client_reads_a_hit_as_it_reads_the_engine(box):
    configure(box, 'models = ["*"]')
    box.serve()
    asked = ASKED | {"stream": True, "stream_options": {"include_usage": True}}
    with box.client() as client:
        first = [chunk.model_dump() for chunk in client.chat.completions.create(**asked)]
        holds(box, 1)
        answer = client.chat.completions.with_raw_response.create(**asked)
        assert answer.headers["x-costctl-cache"] == "hit"
        assert [chunk.model_dump() for chunk in answer.parse()] == first
    assert first[-1]["usage"]["completion_tokens"] == 12
    assert box.status()["cache"]["saved_tokens"] == first[-1]["usage"]["total_tokens"]


def test_an_engine_that_dies_in_the_middle_of_a_stream_leaves_nothing(box):
    configure(box, 'models = ["*"]')
    box.serve(engine=("--start-seconds", "0.2", "--tokens-per-second", "5"))
    asked = json.dumps(ASKED | {"stream": True, "max_tokens": 500}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{box.port}/v1/chat/completions", asked)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        answer.readline()
        engine = json.loads(box.ok("status", "--json"))["engine"]["pid"]
        os.kill(engine, signal.SIGKILL)
        assert b"engine_died" in answer.read()
    assert box.json("cache", "stats")["entries"] == 0


def test_a_mistake_in_the_table_is_said_before_anything_starts(box):
    configure(box, 'routes = ["/v1/responses"]')
    said = box.refused("serve", "--engine", "sim", "--gpu", "sim", code=2)
    assert "cache" in said
    assert "'/v1/responses' cannot be cached" in said
