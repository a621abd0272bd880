"""The main job, from start to report, with the real program."""

import asyncio
import base64
import csv
import io
import json
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import openai
import pytest
from running_costctl import MODEL, PATIENCE_S, QUESTION, Box, until


@pytest.fixture(scope="module", autouse=True)
def demo():
    """The demo takes its time, so it runs beside the other tests here."""
    box = Box()
    command = [sys.executable, "-m", "costctl", "demo"]
    running = subprocess.Popen(
        command, env=box.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    yield running
    running.kill()
    running.communicate()
    box.close()


def test_a_request_starts_the_engine_idleness_ends_it_and_the_ledger_has_every_second(box):
    # Never used is idle too: the window has to be longer than it takes to ask on a busy machine.
    daemon = box.serve("--idle-shutdown", "5s", "--price", "1.8 CNY/h")
    assert box.status()["engine"]["state"] == "off"
    assert box.chat().startswith("Hello from a simulated engine")
    with box.client() as client:
        chunks = list(client.chat.completions.create(**QUESTION, stream=True))
    assert len(chunks) > 10
    status = box.status()
    assert status["engine"]["state"] == "ready"
    assert status["session"]["price_per_hour"] == "1.80"
    assert daemon.ended() == 0
    assert "after 5s idle: stop the engine and exit; this machine is not powered off" in daemon.said
    assert not box.processes()
    (session,) = box.sessions()
    assert (session["end_reason"], session["currency"], session["price_per_hour"]) == ("idle", "CNY", "1.80")
    phases = {phase["phase"] for phase in session["phases"]}
    assert {"off", "starting", "idle", "stopping"} <= phases
    assert box.consistent()
    assert session["started_at"][:7] in box.ok("report", "--tz", "UTC")
    rows = list(csv.DictReader(io.StringIO(box.ok("report", "--csv"))))
    assert len(rows) == 1
    assert box.json("report")
    assert "Application startup complete" in box.ok("logs", "-n", "1000")
    assert "listening on" in box.ok("logs", "--daemon")


def test_two_thousand_requests_in_a_cold_start_are_all_answered_by_one_engine(box):
    box.serve("--idle-shutdown", "off", engine=("--start-seconds", "1.5", "--tokens-per-second", "0"))
    script = (
        "import asyncio, aiohttp, sys\n"
        "async def main(url):\n"
        "    body = {'messages': [{'role': 'user', 'content': 'hi'}], 'max_tokens': 1}\n"
        "    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:\n"
        "        async def ask():\n"
        "            async with session.post(url, json=body) as answer:\n"
        "                await answer.read()\n"
        "                return answer.status\n"
        "        print(sorted({status: 0 for status in await asyncio.gather(*(ask() for _ in range(2000)))}))\n"
        "asyncio.run(main(sys.argv[1]))\n"
    )
    url = f"http://127.0.0.1:{box.port}/v1/chat/completions"
    done = subprocess.run(
        [sys.executable, "-c", script, url], check=False, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.stdout == "[200]\n", done.stderr
    assert box.log().count("engine: starting") == 1
    assert box.status()["engine"]["in_flight"] == 0


def test_what_is_looked_at_neither_wakes_nor_keeps_awake(box):
    daemon = box.serve("--idle-shutdown", "1s")
    looking = threading.Event()
    looks = []

    def look():
        while not looking.is_set():
            for path in ("/health", "/v1/models", "/metrics"):
                try:
                    looks.append(box.get(path)[0])
                except OSError:
                    return

    with ThreadPoolExecutor(1) as pool:
        pool.submit(look)
        try:
            assert daemon.ended() == 0
        finally:
            looking.set()
    assert looks
    assert "engine: starting" not in daemon.said


def test_what_is_not_on_the_list_never_reaches_the_engine(box):
    box.serve("--idle-shutdown", "off", VLLM_SERVER_DEV_MODE="1")
    box.chat()
    for path in ("/invocations", "/v1/../invocations", "/is_sleeping", "/v1/chat/completions/", "//invocations"):
        assert box.get(path)[0] in (404, 405)
        assert box.post(path)[0] in (404, 405)
    box.chat()
    asked = [line for line in box.log("engine.log").splitlines() if " HTTP/1." in line]
    assert any("POST /v1/chat/completions HTTP" in line for line in asked)
    assert not any("invocations" in line or "is_sleeping" in line or "completions/ " in line for line in asked)


def test_the_engines_key_is_put_in_and_ours_goes_no_further_and_shows_nowhere(box):
    keys = box.folder / "keys"
    keys.write_text("# the team\nfile-key\n")
    box.serve("--api-key-file", str(keys), COSTCTL_API_KEYS="env-key", VLLM_API_KEY="engine-secret")
    for key in ("file-key", "env-key"):
        with box.client(key) as client:
            assert client.chat.completions.create(**QUESTION).model == MODEL
            assert client.models.list().data[0].id == MODEL
    with box.client("wrong") as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(**QUESTION)
    seen = [box.log(), box.log("engine.log"), box.ok("config", "show"), json.dumps(box.status())]
    seen += [" ".join(process.cmdline()) for process in box.processes()]
    for secret in ("file-key", "env-key", "engine-secret"):
        assert not any(secret in text for text in seen), secret


def test_stopping_only_the_engine_leaves_the_daemon_and_the_next_request_starts_another(box):
    box.serve("--idle-shutdown", "off")
    box.chat()
    assert box.ok("stop", "--engine") == "the engine is off\n"
    assert box.status()["engine"]["state"] == "off"
    box.chat()
    until(lambda: box.log().count("engine: ready") == 2, "the second start to be logged")
    assert box.ok("stop") == "the daemon has ended; this machine is still on\n"
    assert box.daemons[0].ended() == 0
    (session,) = box.sessions()
    assert session["end_reason"] == "stopped"
    assert box.consistent()


def test_detached_it_runs_on_and_stop_ends_it(box):
    arguments = ("--engine", "sim", "--gpu", "sim", "--port", str(box.port), "--idle-shutdown", "off")
    said = box.ok("serve", *arguments, "--detach", "--", "--start-seconds", "0.2")
    assert f"http://127.0.0.1:{box.port}/v1" in said
    assert box.chat()
    box.ok("stop")
    assert not box.processes()
    assert "shutdown complete" in box.log("engine.log")


def test_detached_onto_a_taken_port_it_says_why_it_did_not_start(box):
    box.serve("--idle-shutdown", "off")
    arguments = ("--engine", "sim", "--gpu", "sim", "--port", str(box.port), "--detach")
    refused = box.run("serve", *arguments, COSTCTL_HOME=str(box.folder / "other"))
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "the daemon did not start: cannot listen on" in refused.stderr
    assert f"process {box.daemons[0].process.pid} " in refused.stderr


async def test_speech_is_heard_over_a_socket(box):
    box.serve("--idle-shutdown", "off")
    sound = base64.b64encode(bytes(640)).decode()
    url = f"http://127.0.0.1:{box.port}/v1/realtime"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        assert (await socket.receive_json(timeout=PATIENCE_S))["type"] == "session.created"
        await socket.send_json({"type": "session.update", "model": MODEL})
        await socket.send_json({"type": "input_audio_buffer.append", "audio": sound})
        assert (await socket.receive_json(timeout=PATIENCE_S))["type"] == "transcription.delta"
        assert box.status()["engine"]["in_flight"] == 1
        await socket.send_json({"type": "input_audio_buffer.commit", "final": True})
        assert (await socket.receive_json(timeout=PATIENCE_S))["type"] == "transcription.done"
    await asyncio.to_thread(until, lambda: box.status()["engine"]["in_flight"] == 0, "the socket to be counted out")


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_it_listens_where_it_is_told(box, host):
    said = box.serve("--idle-shutdown", "off", "--host", host).said
    shown = f"[{host}]" if ":" in host else host
    assert f"listening on http://{shown}:{box.port}/v1" in said
    with urllib.request.urlopen(f"http://{shown}:{box.port}/health", timeout=PATIENCE_S) as answer:
        assert answer.status == 200
    assert box.status()["url"] == f"http://{shown}:{box.port}/v1"


def test_eager_starts_at_once(box):
    box.serve("--idle-shutdown", "off", "--eager")
    box.engine_is("ready")


def test_logs_can_be_followed_and_left(box):
    box.serve("--idle-shutdown", "off")
    command = [sys.executable, "-m", "costctl", "logs", "-f"]
    following = subprocess.Popen(command, env=box.environment, stdout=subprocess.PIPE, text=True)
    box.chat()
    assert following.stdout.readline()
    following.send_signal(2)
    following.stdout.read()
    assert following.wait(PATIENCE_S) == 130
    following.stdout.close()


def test_the_demo_shows_the_whole_job(demo):
    said, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0, said
    told = (
        "Start the daemon",
        "answered after",
        "first token after",
        "exit code 0",
        "1.8",
        "400 of 400",
        "nothing real",
    )
    for words in told:
        assert words in said
    assert said.isascii()
