"""Files and batches over HTTP: the official client, real processes, and the simulated engine."""

import json
import os
import stat
import time

import openai
import pytest
from running_costctl import MODEL, QUICK, until

PACED = ("--start-seconds", "0.2", "--first-token-seconds", "0", "--tokens-per-second", "20", "--max-concurrent", "16")
CHAT = "/v1/chat/completions"
LINES = 300


def request(number, *, prompt=None, **fields):
    body = {"messages": [{"role": "user", "content": prompt or "x" * (4 * number + 1)}], "max_tokens": 1 + number % 5}
    return {"custom_id": f"c{number}", "method": "POST", "url": CHAT, "body": body, **fields}


def upload(client, lines, name="jobs.jsonl"):
    return client.files.create(file=(name, "\n".join(map(json.dumps, lines)).encode()), purpose="batch")


def order(client, lines, **more):
    return client.batches.create(input_file_id=upload(client, lines).id, endpoint=CHAT, completion_window="24h", **more)


def ends(client, batch, status):
    """The batch once it is over, which it has to be in this way."""

    def over():
        found = client.batches.retrieve(batch.id)
        return found if found.status in {"failed", "completed", "expired", "cancelled"} else None

    found = until(over, "the batch to end")
    assert found.status == status, found
    return found


def outputs(client, file_id):
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


@pytest.fixture
def client(box):
    with box.client() as made:
        yield made


def test_the_official_client_uploads_orders_polls_and_downloads(box, client):
    daemon = box.serve("--idle-shutdown", "off", engine=(*QUICK, "--max-model-len", "500"))
    file = upload(client, [*(request(number) for number in range(40)), request(99, prompt="x" * 4000)])
    assert client.files.wait_for_processing(file.id).filename == "jobs.jsonl"
    assert "engine: starting" not in daemon.said
    batch = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"who": "me"})
    assert (batch.status, batch.metadata, batch.object) == ("validating", {"who": "me"}, "batch")
    client.files.delete(file.id)  # the batch has what it needs
    batch = ends(client, batch, "completed")
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (41, 40, 1)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at < batch.expires_at
    done = outputs(client, batch.output_file_id)
    assert {each["custom_id"] for each in done} == {f"c{number}" for number in range(40)}
    assert all(each["response"]["status_code"] == 200 and each["error"] is None for each in done)
    (failed,) = outputs(client, batch.error_file_id)
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("c99", 400)
    assert client.files.retrieve(batch.output_file_id).purpose == "batch_output"
    told = [each["response"]["body"]["usage"] for each in done]
    assert batch.model == MODEL
    assert batch.usage.input_tokens == sum(each["prompt_tokens"] for each in told)
    assert batch.usage.output_tokens == sum(each["completion_tokens"] for each in told) > 0
    assert batch.usage.total_tokens == batch.usage.input_tokens + batch.usage.output_tokens
    assert [each.id for each in client.batches.list()] == [batch.id]
    kept = [path for path in (box.home / "files").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert len(kept) == 5  # two files and a batch; the place of work is gone
    (stretch,) = json.loads(box.ok("batch", "show", batch.id, "--json"))
    assert (stretch["requests"], stretch["failed_requests"]) == (41, 1)
    assert box.consistent()


def test_lines_that_cannot_be_sent_fail_the_batch_before_anything_is_billed(box, client):
    daemon = box.serve("--idle-shutdown", "off")
    lines = [request(0), request(1, url="/v1/embeddings"), {"prompt": "hi"}, request(0)]
    batch = ends(client, order(client, lines), "failed")
    assert [fault.line for fault in batch.errors.data] == [2, 3, 4]
    assert "'/v1/chat/completions'" in batch.errors.data[0].message
    assert "line 1" in batch.errors.data[2].message
    assert (batch.output_file_id, batch.error_file_id) == (None, None)
    empty = ends(client, order(client, []), "failed")
    assert empty.errors.data[0].message == f"{empty.id} is empty: there is nothing to compute"
    assert "engine: starting" not in daemon.said


def test_a_daemon_that_is_killed_goes_on_with_the_batch_at_its_next_start(box, client):
    daemon = box.serve("--idle-shutdown", "off", engine=PACED)
    batch = order(client, [request(number) for number in range(LINES)])
    waiting = order(client, [request(number) for number in range(3)])

    def done():
        return client.batches.retrieve(batch.id).request_counts.completed

    until(lambda: done() >= 60, "some lines to be done")
    daemon.kill()
    until(lambda: not box.processes(), "the batch's process and the engine to end with it")
    assert " unknown " in box.ok("batch", "list")
    box.serve("--idle-shutdown", "off", engine=PACED)
    assert client.batches.retrieve(batch.id).status == "in_progress"
    batch = ends(client, batch, "completed")
    assert len({each["custom_id"] for each in outputs(client, batch.output_file_id)}) == LINES
    assert len(outputs(client, batch.output_file_id)) == LINES
    ends(client, waiting, "completed")
    lost, *_, last = json.loads(box.ok("batch", "show", batch.id, "--json"))
    assert (lost["outcome"], last["outcome"]) == ("lost", "done")
    assert lost["ended_at"] <= last["started_at"]
    assert last["requests"] <= LINES - 40  # what was answered in the last 0.1 s, and what was in flight, comes again
    assert " lost " in box.ok("batch", "list")
    assert box.consistent()


def test_a_daemon_that_is_stopped_leaves_the_batch_to_the_next(box, client):
    daemon = box.serve("--idle-shutdown", "off", engine=PACED)
    batch = order(client, [request(number) for number in range(LINES)])
    until(lambda: client.batches.retrieve(batch.id).request_counts.completed >= 40, "some lines to be done")
    daemon.stop()
    assert not box.processes()
    assert json.loads((box.home / "files" / f"{batch.id}.json").read_text())["status"] == "in_progress"
    box.serve("--idle-shutdown", "off", engine=QUICK)
    assert ends(client, batch, "completed").request_counts.completed == LINES


def test_a_batch_that_is_cancelled_keeps_what_is_done_and_lets_the_next_one_run(box, client):
    box.serve("--idle-shutdown", "off", engine=PACED)
    batch = order(client, [request(number) for number in range(LINES)])
    following = order(client, [request(number) for number in range(5)])
    until(lambda: client.batches.retrieve(batch.id).request_counts.completed >= 40, "some lines to be done")
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = ends(client, batch, "cancelled")
    done = outputs(client, batch.output_file_id)
    assert 40 <= len(done) == batch.request_counts.completed < LINES
    left = outputs(client, batch.error_file_id)
    assert {each["error"]["code"] for each in left} == {"batch_cancelled"}
    assert len(left) == batch.request_counts.failed
    assert {each["custom_id"] for each in done + left} == {f"c{number}" for number in range(LINES)}
    ends(client, following, "completed")
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_a_batch_whose_window_ends_has_the_lines_that_were_not_done_among_its_errors(box, client):
    daemon = box.serve("--idle-shutdown", "off", engine=PACED)
    batch = order(client, [request(number) for number in range(LINES)])
    until(lambda: client.batches.retrieve(batch.id).request_counts.completed >= 40, "some lines to be done")
    daemon.kill()
    until(lambda: not box.processes(), "all to end with it")
    record = box.home / "files" / f"{batch.id}.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "expires_at": int(time.time())}))
    box.serve("--idle-shutdown", "off", engine=PACED)
    batch = ends(client, batch, "expired")
    done, left = outputs(client, batch.output_file_id), outputs(client, batch.error_file_id)
    assert 40 <= len(done) < LINES
    assert {each["error"]["code"] for each in left} == {"batch_expired"}
    assert {each["custom_id"] for each in done + left} == {f"c{number}" for number in range(LINES)}
    assert box.json("status")["engine"]["state"] == "off"  # nobody pays for that


def test_a_batch_keeps_the_instance_up_and_idleness_counts_from_its_end(box, client):
    daemon = box.serve("--idle-shutdown", "1s", engine=PACED)
    batch = order(client, [request(number, prompt="y" * (number + 1)) for number in range(120)])
    ends(client, batch, "completed")
    assert daemon.ended() == 0
    assert box.consistent()


def test_an_engine_that_does_not_start_fails_the_batch_and_says_why(box, client):
    box.serve("--idle-shutdown", "off", engine=(*QUICK, "--fail", "oom"))
    batch = ends(client, order(client, [request(0)]), "failed")
    assert batch.errors.data[0].code == "engine_failed"
    assert "memory" in batch.errors.data[0].message


def test_keys_are_required_and_room_is_bounded(box):
    box.serve("--idle-shutdown", "off", "--files-max-size", "64KiB", COSTCTL_API_KEYS="secret")
    with box.client("wrong") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.files.list()
    with box.client("secret") as client:
        kept = upload(client, [request(number) for number in range(20)])
        with pytest.raises(openai.APIStatusError) as refused:
            client.files.create(file=("big.jsonl", os.urandom(2**16)), purpose="batch")
        assert (refused.value.status_code, refused.value.code) == (413, "storage_full")
        assert "--files-max-size" in str(refused.value)
        assert [each.id for each in client.files.list()] == [kept.id]
        assert client.files.delete(kept.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.files.content(kept.id)
