"""The answer cache with the real program: hits that wake nothing, and stores that fail."""

import json
import shutil
import signal
import subprocess
import time
import urllib.request

import pytest
from running_costctl import MODEL, PATIENCE_S, until

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
    assert "File exists" in box.refused("cache", "stats", code=1)


@needs_server
def test_a_redis_that_goes_in_the_middle_costs_only_hits(box):
    socket = box.folder / "redis.sock"
    options = ("--port", "0", "--unixsocket", str(socket), "--requirepass", "hush", "--save", "")
    redis = subprocess.Popen((SERVER, *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(socket.exists, "redis to listen")
        configure(box, 'models = ["*"]', 'store-env = "WHERE"')
        daemon = box.serve(WHERE=f"unix://:hush@{socket}")
        assert ask(box)[0] == "miss"
        holds(box, 1)
        assert ask(box)[0] == "hit"
        redis.send_signal(signal.SIGKILL)
        redis.wait()
        assert [ask(box)[0] for _ in range(3)] == ["miss"] * 3
        assert daemon.said.count("trouble with the answer cache") == 1
        assert "hush" not in daemon.said + box.ok("status") + box.log()
    finally:
        redis.kill()
        redis.wait()


def test_a_mistake_in_the_table_is_said_before_anything_starts(box):
    configure(box, 'routes = ["/v1/responses"]')
    said = box.refused("serve", "--engine", "sim", "--gpu", "sim", code=2)
    assert "cache" in said
    assert "'/v1/responses' cannot be cached" in said
