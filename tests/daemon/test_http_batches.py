"""Batches over HTTP in the daemon, with the real folder of files, and processes of the test's making."""

import asyncio
import json

import pytest
from fakes.clock import settle
from http_house import CHAT, INPUT, House

from costctl.domain.batch_orders import read_order
from costctl.domain.http_batches import Status, Usage
from costctl.domain.stored_files import DAY_S, KEPT_S, Purpose
from costctl.errors import StorageFullError


@pytest.fixture
async def home(tmp_path, clock, inline_threads):
    """Make a house in the one folder."""
    houses = []

    async def make(**options):
        houses.append(await House(tmp_path / "files", clock, **options).open())
        return houses[-1]

    yield make
    for house in houses:
        await house.die()


@pytest.fixture
async def house(home):
    return await home()


async def test_a_batch_goes_through_its_states_to_its_files(house):
    identity = await house.order(metadata={"k": "v"})
    (command,) = house.commands.started
    assert (command.endpoint, command.source.read_bytes()) == (CHAT, INPUT)
    assert house.find(identity).status is Status.VALIDATING
    assert house.batches.evidence().active
    command.check(3)
    command.progress(1, of=3)
    await settle()
    assert (house.find(identity).status, house.find(identity).counts.total) == (Status.IN_PROGRESS, 3)
    assert not house.batches.evidence().active  # from now on its lease speaks
    command.write(b"ok\n")
    command.write(b"bad\n", errors=True)
    command.through(3, 1, code=4, usage={"input_tokens": 30, "output_tokens": 4})
    await settle()
    batch = house.find(identity)
    assert (batch.status, batch.counts.completed, batch.counts.failed) == (Status.COMPLETED, 2, 1)
    assert (batch.model, batch.usage) == ("tiny", Usage(input_tokens=30, output_tokens=4))
    assert not house.commands.given_up
    assert (house.content(batch.output_file_id), house.content(batch.error_file_id)) == (b"ok\n", b"bad\n")
    assert not house.place(identity).exists()


async def test_only_so_many_have_a_process_and_the_oldest_come_first(house):
    ordered = [await house.order() for _ in range(10)]
    assert len(house.commands.started) == 8
    house.commands.started[3].end(1, "out of luck")
    await settle()
    assert house.find(ordered[3]).faults[0].message == "out of luck"
    assert [command.source.name for command in house.commands.started[8:]] == [ordered[8]]
    await house.batches.cancel(house.find(ordered[9]))
    await settle()
    assert house.find(ordered[9]).status is Status.CANCELLED  # it needs no process for that


async def test_a_cancelled_batch_gives_what_is_done_and_the_rest_is_among_its_errors(house):
    identity, command = await house.running(done=2)
    cancelled = await house.batches.cancel(house.find(identity))
    assert (cancelled.status, command.signals) == (Status.CANCELLING, ["TERM"])
    command.write(b'{"a":1}\n{"b":2}\n{"c', unfinished=True)
    command.end(-9)
    await settle()
    batch = house.find(identity)
    assert batch.status is Status.CANCELLED
    assert house.content(batch.output_file_id) == b'{"a":1}\n{"b":2}\n{"c'
    assert house.content(batch.error_file_id) == b"batch_cancelled\n"
    assert (batch.counts.completed, batch.counts.failed, batch.usage) == (2, 8, Usage(input_tokens=5))
    with pytest.raises(ValueError, match="cancelled"):
        await house.batches.cancel(batch)


async def test_cancelled_on_the_command_line_it_is_cancelled_here_too(house):
    identity, command = await house.running()
    command.tell("ended", lines=10, done=0, failed=0, ended="cancelled", why="costctl batch cancel")
    command.end(1)
    await settle()
    assert house.find(identity).status is Status.CANCELLED
    assert house.find(identity).faults[0].message == "costctl batch cancel"
    assert house.commands.given_up == [(identity, "batch_cancelled")]


async def test_a_batch_that_is_not_through_within_its_window_expires_with_what_is_done(house, clock):
    identity, command = await house.running(done=1, completion_window="1h")
    command.write(b"ok\n", unfinished=True)
    await clock.advance(3590)
    assert not command.signals
    await clock.advance(20)
    assert command.signals[0] == "TERM"
    command.end(130)
    await settle()
    batch = house.find(identity)
    assert (batch.status, house.content(batch.output_file_id)) == (Status.EXPIRED, b"ok\n")
    assert house.content(batch.error_file_id) == b"batch_expired\n"


async def test_a_batch_that_never_had_a_process_has_its_lines_among_the_errors_too(house, clock):
    ordered = [await house.order(completion_window="1h") for _ in range(10)]
    await clock.advance(3610)
    assert house.commands.given_up == [(ordered[8], "batch_expired"), (ordered[9], "batch_expired")]
    assert house.find(ordered[9]).status is Status.EXPIRED


async def test_lines_are_given_up_again_if_that_fails_and_without_them_in_the_end(house, clock, caplog):
    identity, command = await house.running()
    command.write(b"ok\n{torn", unfinished=True)
    house.commands.failing = 5
    await house.batches.cancel(house.find(identity))
    command.end(-15)
    await clock.advance(30)
    assert house.commands.given_up == [(identity, "batch_cancelled")] * 5
    batch = house.find(identity)
    assert (batch.status, batch.error_file_id) == (Status.CANCELLED, None)
    assert house.content(batch.output_file_id) == b"ok\n"
    assert "its error file lacks the lines that were not done" in caplog.text


async def test_a_batch_that_is_cancelled_while_its_expired_lines_are_given_up_is_cancelled(house, clock):
    identity, command = await house.running(completion_window="1h")
    house.commands.failing = 1
    await clock.advance(3610)
    command.end(-15)
    await settle()
    assert house.find(identity).status is Status.IN_PROGRESS
    await house.batches.cancel(house.find(identity))
    await clock.advance(10)
    assert house.find(identity).status is Status.CANCELLED


async def test_a_daemon_that_ends_while_lines_are_given_up_leaves_that_to_the_next(home, clock):
    house = await home()
    identity, command = await house.running()
    house.commands.failing = 1
    await house.batches.cancel(house.find(identity))
    command.end(-15)
    await settle()
    house.batches.stop_soon()
    await clock.advance(10)
    assert house.find(identity).status is Status.CANCELLING
    await house.die()
    again = await home()
    assert again.commands.given_up == [(identity, "batch_cancelled")]
    assert again.find(identity).status is Status.CANCELLED


async def test_lines_without_a_model_are_for_the_one_that_was_served_when_the_batch_was_ordered(home):
    house = await home()
    identity, command = await house.running()
    assert command.model == "tiny"
    await house.die()
    again = await home(model="other")
    assert again.commands.started[0].model == "tiny"
    again.commands.started[0].check(10, "tiny", "other")
    await settle()
    assert again.find(identity).model is None


async def test_a_process_that_is_killed_is_started_again_but_not_for_ever(house, clock):
    identity, _ = await house.running()
    for tries in range(1, 6):
        assert len(house.commands.started) == tries
        house.commands.started[-1].end(-9)
        await clock.advance(6)
    assert (house.find(identity).status, len(house.commands.started)) == (Status.FAILED, 5)


@pytest.mark.parametrize(
    ("code", "word"), [(3, "engine_failed"), (1, "batch_failed"), (2, "batch_failed"), (5, "batch_failed")]
)
async def test_an_end_before_its_time_says_why(house, code, word):
    identity, command = await house.running()
    command.tell("ended", lines=10, done=0, failed=0, ended="no engine", why="CUDA out of memory")
    command.end(code)
    await settle()
    (fault,) = house.find(identity).faults
    assert (fault.code, fault.message) == (word, "CUDA out of memory")
    assert house.commands.given_up == [(identity, word)]


async def test_a_process_that_cannot_be_started_fails_the_batch(house):
    house.commands.refusal = "cannot start costctl batch: no such file"
    assert house.find(await house.order()).faults[0].message == house.commands.refusal


async def test_whatever_instant_the_daemon_is_killed_at_the_next_one_goes_on(home):
    first = await home()
    going, _ = await first.running(done=4)
    cancelling, command = await first.running(done=1)
    command.write(b"ok\n", unfinished=True)
    await first.batches.cancel(first.find(cancelling))
    finalizing, _ = await first.running()
    await first.stored.move(finalizing, Status.FINALIZING)
    first.commands.started[-1].write(b"all\n")
    await first.die()

    second = await home()
    assert [command.source.name for command in second.commands.started] == [going]
    assert second.find(cancelling).status is Status.CANCELLED
    assert second.find(finalizing).status is Status.COMPLETED
    assert second.content(second.find(finalizing).output_file_id) == b"all\n"
    second.commands.started[0].check(10)
    second.commands.started[0].end(0)
    await settle()
    assert second.find(going).status is Status.COMPLETED


async def test_a_daemon_that_ends_asks_its_processes_to_end_and_leaves_the_rest_to_the_next(home, clock):
    house = await home()
    identity, command = await house.running(done=4)
    house.batches.stop_soon()
    assert command.signals == ["TERM"]
    closing = asyncio.create_task(house.batches.close())
    await clock.advance(20)
    assert command.signals[-1] == "KILL"
    await closing
    assert house.find(identity).status is Status.IN_PROGRESS
    assert [each.source.name for each in (await home()).commands.started] == [identity]


async def test_a_batch_that_fills_the_disk_waits_for_room_and_goes_on(house, clock, caplog):
    identity, command = await house.running()
    house.store.room = False
    command.tell("full")
    command.end(1, "cannot write results.jsonl: the disk is full")
    await clock.advance(300)
    assert len(house.commands.started) == 1
    assert not house.batches.evidence().active  # nobody pays a GPU for a full disk
    assert "waits for room on the disk" in caplog.text
    house.store.room = True
    await clock.advance(20)
    assert len(house.commands.started) == 2
    house.commands.started[1].through(10)
    await settle()
    assert house.find(identity).status is Status.COMPLETED


async def test_a_batch_that_waits_for_room_can_be_cancelled_and_expires(house, clock):
    identity, command = await house.running(completion_window="1h")
    house.store.room = False
    command.tell("full")
    command.end(1)
    await clock.advance(100)
    await house.batches.cancel(house.find(identity))
    await clock.advance(20)
    assert house.find(identity).status is Status.CANCELLED


async def test_of_very_many_lines_that_cannot_be_sent_it_says_how_many_more_there_are(house):
    identity = await house.order()
    house.commands.started[0].tell("problems", problems=[{"line": 2, "text": "not JSON"}], count=1001)
    house.commands.started[0].end(2)
    await settle()
    batch = house.find(identity)
    assert [(fault.line, fault.message) for fault in batch.faults] == [(2, "not JSON"), (None, "and 1,000 more")]
    assert (batch.status, house.commands.given_up) == (Status.FAILED, [])


async def test_results_wait_for_room_on_the_disk(house, clock):
    identity, command = await house.running()
    house.store.failures = 2
    command.write(b"ok\n")
    command.end(0)
    await settle()
    assert house.find(identity).status is Status.FINALIZING
    assert not house.batches.evidence().active  # nobody pays a GPU for a full disk
    await clock.advance(25)
    assert house.content(house.find(identity).output_file_id) == b"ok\n"


async def test_a_state_that_cannot_be_kept_holds_all_the_same(house):
    identity = await house.order()
    house.store.cannot_save = True
    house.commands.started[0].check(3)
    await settle()
    assert house.find(identity).status is Status.IN_PROGRESS
    house.store.cannot_save = False
    house.commands.started[0].end(0)
    await settle()
    assert house.find(identity).status is Status.COMPLETED


async def test_files_expire_and_so_do_batches_that_are_over(house, clock):
    identity, command = await house.running(output_expires_after={"anchor": "created_at", "seconds": DAY_S})
    command.write(b"ok\n")
    command.end(0)
    await settle()
    output = house.find(identity).output_file_id
    await clock.advance(DAY_S - 60)
    assert house.files.find(output)
    await clock.advance(120)
    assert house.files.find(output) is None
    assert house.find(identity) is None
    assert len(house.files.all()) == 1  # the input stays for 30 days
    await clock.advance(30 * DAY_S)
    assert not list(house.place(identity).parent.iterdir())


async def test_room_is_taken_while_files_come_in_and_given_back_for_those_that_do_not(house):
    incoming = await house.files.begin()
    await incoming.write(b"x" * 9000)
    with pytest.raises(StorageFullError, match="of which 9,000 are"):
        await house.upload(b"y" * 2000)
    await incoming.close()
    await house.upload(b"y" * 10_000)
    with pytest.raises(StorageFullError):
        house.files.demand_room(1)


async def test_what_finds_no_room_for_its_record_leaves_nothing(house):
    source = await house.upload()
    folder = house.store.content(source.id).parent
    house.store.cannot_save = True
    with pytest.raises(StorageFullError):
        await house.upload()
    with pytest.raises(StorageFullError):
        await house.batches.create(read_order({"input_file_id": source.id, "endpoint": CHAT}), source)
    assert {path.name for path in folder.iterdir()} == {source.id, f"{source.id}.json"}
    assert not house.stored.all()


async def test_a_client_that_leaves_in_the_middle_of_keeping_leaves_a_whole_file(house):
    incoming = await house.files.begin()
    await incoming.write(INPUT)
    keeping = asyncio.create_task(incoming.keep(filename="a", purpose=Purpose.BATCH, kept_s=KEPT_S))
    await asyncio.sleep(0)
    keeping.cancel()
    await settle()
    await incoming.close()
    (file,) = house.files.all()
    assert house.content(file.id) == INPUT


async def test_records_that_cannot_be_read_are_left_out_and_what_a_crash_left_is_removed(home, caplog):
    house = await home()
    file = await house.upload()
    folder = house.store.content(file.id).parent
    (folder / "file-9.json").write_text("{torn")
    (folder / "file-9").write_bytes(b"content")
    (folder / "file-8.json").write_text(json.dumps({"id": "file-8", "future": 1}))
    (folder / "batch_7.json").write_text(json.dumps({"id": "batch_7"}))
    (folder / "file-6").write_bytes(b"no record")
    (folder / "file-5.part").write_bytes(b"half")
    (folder / "batch_4").mkdir()
    (folder / "batch_4" / "batch_4").write_bytes(b"no record")
    await house.die()
    again = await home()
    assert [found.id for found in again.files.all()] == [file.id]
    assert not again.stored.all()
    assert {path.name for path in folder.iterdir()} == {
        *(file.id, f"{file.id}.json", "file-9", "file-9.json", "file-8.json", "batch_7.json")
    }
    assert all(name in caplog.text for name in ("file-9", "file-8", "batch_7"))
