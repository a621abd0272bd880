"""Files and batches at the front door: who may, what is refused, and that the engine sleeps on."""

import asyncio

import aiohttp
import pytest
from shelf import Shelf
from wire import CHAT, head, soon, until

from costctl.domain.stored_files import Purpose

MARK = "edge"
FORM = f"Content-Type: multipart/form-data; boundary={MARK}"
LINES = b'{"custom_id":"a"}\n' * 3


def field(name, content, filename=None):
    named = f'name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    return f"--{MARK}\r\nContent-Disposition: form-data; {named}\r\n\r\n".encode() + content + b"\r\n"


def form(*fields, end=True):
    return b"".join(fields) + (f"--{MARK}--\r\n".encode() if end else b"")


GOOD = (field("purpose", b"batch"), field("file", LINES, "jobs.jsonl"))


@pytest.fixture
async def make_shelf():
    made = []

    async def make(**options):
        made.append(Shelf(**options))
        await made[-1].batches.open()
        return made[-1]

    yield make
    for shelf in made:
        await shelf.close()


@pytest.fixture
async def shelf(make_shelf):
    return await make_shelf()


@pytest.fixture
async def door(open_door, shelf):
    return await open_door(ready=False, shelf=shelf)


async def ask(door, method, path, *, body=b"", headers=()):
    async with door.raw() as client:
        client.send(head(method, path, [f"Content-Length: {len(body)}", *headers]), body)
        return await client.answer()


async def upload(door, *fields):
    return await ask(door, "POST", "/v1/files", body=form(*(fields or GOOD)), headers=[FORM])


async def order(door, **body):
    async with door.session() as client, client.post("/v1/batches", json=body) as answer:
        return answer.status, await answer.json()


def nothing_stays(shelf):
    return not shelf.files.all() and not list(shelf.folder.iterdir())


async def test_an_upload_is_kept_and_wakes_nothing(door, shelf):
    answer = await upload(door)
    assert (answer.status, answer.json["filename"], answer.json["bytes"]) == (200, "jobs.jsonl", len(LINES))
    path = f"/v1/files/{answer.json['id']}"
    assert (await ask(door, "GET", path)).json == answer.json
    content = await ask(door, "GET", f"{path}/content")
    assert (content.body, content.get("Content-Type")) == (LINES, "application/octet-stream")
    assert (await ask(door, "DELETE", path)).json["deleted"]
    assert nothing_stays(shelf)
    assert not door.runs


async def test_fields_may_come_in_any_order_and_a_file_says_how_long_it_is_kept(door):
    after = field("expires_after[anchor]", b"created_at"), field("expires_after[seconds]", b"7200")
    file = (await upload(door, *reversed(GOOD), *after)).json
    assert file["expires_at"] == file["created_at"] + 7200


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\jobs.jsonl", "jobs.jsonl"),
        ("", "upload"),
        ("..", "upload"),
        ("x" * 400, "x" * 255),
    ],
)
async def test_names_of_files_are_only_names(door, shelf, given, kept):
    file = (await upload(door, GOOD[0], field("file", b"x", given))).json
    assert file["filename"] == kept
    assert {path.name for path in shelf.folder.iterdir()} == {file["id"], f"{file['id']}.json"}


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ([GOOD[0]], "file is missing"),
        ([GOOD[1]], "purpose"),
        ([field("purpose", b"fine-tune"), GOOD[1]], "fine-tune"),
        ([field("purpose", b"x" * 5000), GOOD[1]], "longer than"),
        ([*GOOD, *(field(f"f{number}", b"") for number in range(20))], "at most"),
        ([*GOOD, field("expires_after[anchor]", b"created_at"), field("expires_after[seconds]", b"5")], "3600"),
        ([*GOOD, field("expires_after[anchor]", b"last_active_at")], "anchor"),
        ([*GOOD, field("expires_after[seconds]", b"7200")], "anchor"),
        ([*GOOD, field("expires_after", b"soon")], "anchor"),
    ],
)
async def test_an_upload_that_makes_no_sense_is_refused_and_nothing_of_it_stays(door, shelf, fields, word):
    answer = await upload(door, *fields)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert word in answer.error["message"]
    assert nothing_stays(shelf)


@pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionHeader")
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FORM),
        (b"nonsense", FORM),
        (form(*GOOD, end=False), FORM),
        (form(*GOOD)[:-20], FORM),
        (form(GOOD[1])[:70], FORM),
        (form(*GOOD), "Content-Type: multipart/form-data"),
        (form(*GOOD), "Content-Type: multipart/form-data; boundary=other"),
        (b'{"file": 1}', "Content-Type: application/json"),
        (b"--edge\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n--edge--\r\n", FORM),
    ],
)
async def test_what_is_no_whole_form_is_refused_and_nothing_of_it_stays(door, shelf, body, kind):
    answer = await ask(door, "POST", "/v1/files", body=body, headers=[kind])
    assert answer.status == 400, answer.body
    assert nothing_stays(shelf)


async def test_an_upload_that_is_cut_off_leaves_nothing(door, shelf):
    async with door.raw() as client:
        client.send(head("POST", "/v1/files", ["Content-Length: 100000", FORM]), b"".join(GOOD))
        await until(lambda: list(shelf.folder.iterdir()), "the upload to begin")
    await until(lambda: nothing_stays(shelf), "it to be gone")


async def test_an_upload_in_broken_chunks_is_refused(door, shelf):
    async with door.raw() as client:
        client.send(head("POST", "/v1/files", ["Transfer-Encoding: chunked", FORM]), b"5\r\n--edg\r\nzz\r\n")
        assert (await client.answer()).status == 400
    assert nothing_stays(shelf)


async def test_an_upload_that_comes_too_slowly_is_refused(open_door, make_shelf):
    shelf = await make_shelf(patience_s=0.05)
    door = await open_door(ready=False, shelf=shelf)
    async with door.raw() as client:
        client.send(head("POST", "/v1/files", ["Content-Length: 100000", FORM]), GOOD[0])
        assert (await client.answer()).status == 408
    assert nothing_stays(shelf)


async def test_room_is_bounded_before_and_while_a_file_comes(open_door, make_shelf):
    shelf = await make_shelf(most_bytes=1000)
    door = await open_door(ready=False, shelf=shelf)
    async with door.raw() as client:
        client.send(head("POST", "/v1/files", ["Content-Length: 2000", "Expect: 100-continue", FORM]))
        assert (await client.answer()).error["code"] == "storage_full"  # and not: go on
    async with door.raw() as client:
        client.send(head("POST", "/v1/files", ["Transfer-Encoding: chunked", FORM]))
        body = form(GOOD[0], field("file", b"x" * 2000, "f"))
        client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert (await client.answer()).status == 413
    assert nothing_stays(shelf)
    assert (await upload(door)).status == 200


async def test_a_client_that_waits_to_be_asked_is_asked(door):
    body = form(*GOOD)
    async with door.raw() as client:
        client.send(head("POST", "/v1/files", [f"Content-Length: {len(body)}", "Expect: 100-continue", FORM]))
        assert (await client.answer()).status == 100
        client.send(body)
        assert (await client.answer()).status == 200


async def test_a_large_file_comes_and_goes_in_pieces(door, shelf):
    content = b"".join(b"%07d\n" % number for number in range(300_000))
    async with door.session() as client:
        data = aiohttp.FormData({"purpose": "batch"})
        data.add_field("file", content, filename="large.jsonl")
        async with client.post("/v1/files", data=data) as answer:
            identity = (await answer.json())["id"]
        async with client.get(f"/v1/files/{identity}/content") as answer:
            assert await answer.read() == content
        async with client.get(f"/v1/files/{identity}/content", headers={"Range": "bytes=8-15"}) as answer:
            assert await answer.read() == b"0000001\n"


async def test_lists_come_in_pages_newest_first(door):
    ids = [(await upload(door)).json["id"] for _ in range(5)]
    first = (await ask(door, "GET", "/v1/files?limit=2")).json
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (ids[:2:-1], True)
    await ask(door, "DELETE", f"/v1/files/{first['last_id']}")
    rest = (await ask(door, "GET", f"/v1/files?after={first['last_id']}")).json
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (ids[2::-1], False)
    oldest = (await ask(door, "GET", "/v1/files?order=asc&limit=1")).json
    assert oldest["first_id"] == ids[0]
    assert (await ask(door, "GET", "/v1/files?purpose=batch_output")).json["data"] == []


@pytest.mark.parametrize("query", ["order=sideways", "limit=0", "limit=x", "limit=10001", "limit=-1", "limit=%C2%B2"])
async def test_a_list_that_makes_no_sense_is_refused(door, query):
    assert (await ask(door, "GET", f"/v1/files?{query}")).status == 400


async def test_a_batch_is_ordered_listed_and_cancelled(door, shelf):
    file = (await upload(door)).json["id"]
    status, batch = await order(door, input_file_id=file, endpoint=CHAT, completion_window="24h")
    assert (status, batch["status"], batch["input_file_id"]) == (200, "validating", file)
    await until(lambda: shelf.commands.started, "its process")
    assert (await ask(door, "GET", "/v1/batches?limit=1")).json["data"] == [batch]
    path = f"/v1/batches/{batch['id']}"
    assert (await ask(door, "POST", f"{path}/cancel")).json["status"] == "cancelling"
    assert (await ask(door, "POST", f"{path}/cancel")).json["status"] == "cancelling"
    shelf.commands.started[0].end(-15)
    await until(lambda: shelf.batches.find(batch["id"]).is_over, "its end")
    again = await ask(door, "POST", f"{path}/cancel")
    assert (again.status, again.error["code"]) == (409, "batch_over")
    assert not door.runs


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "input_file_id"),
        ({"input_file_id": 5, "endpoint": CHAT}, "input_file_id"),
        ({"endpoint": "/v1/images"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"completion_window": "soon"}, "soon"),
        ({"completion_window": 24}, "completion_window"),
        ({"completion_window": "300d"}, "30d"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"k": 1}}, "metadata"),
        ({"metadata": {"k": "v" * 600}}, "metadata"),
        ({"metadata": {str(number): "" for number in range(20)}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 10**9}}, "expires_after"),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(door, body, word):
    file = (await upload(door)).json["id"]
    whole = {"input_file_id": file, "endpoint": CHAT, **body} if body else {}
    status, answer = await order(door, **whole)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert word in answer["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"\xff", b"[" * 100_000])
async def test_an_order_that_is_no_object_is_refused(door, body):
    assert (await ask(door, "POST", "/v1/batches", body=body)).status == 400


async def test_an_order_that_is_too_large_is_refused(door):
    async with door.raw() as client:
        client.send(head("POST", "/v1/batches", ["Content-Length: 3000000"]), b" " * 3_000_000)
        assert (await client.answer()).status == 413


async def test_results_of_a_batch_are_no_input_of_another(door, shelf):
    (shelf.folder / "file-out").write_bytes(b"x")
    await shelf.files.keep("file-out", "out.jsonl", Purpose.BATCH_OUTPUT, 1, 3600)
    status, answer = await order(door, input_file_id="file-out", endpoint=CHAT)
    assert (status, "batch_output" in answer["error"]["message"]) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/files/file-none", 404),
        ("DELETE", "/v1/files/file-none", 404),
        ("GET", "/v1/files/file-none/content", 404),
        ("GET", "/v1/files/..", 404),
        ("GET", "/v1/files/%2e%2e/content", 404),
        ("GET", "/v1/batches/batch_none", 404),
        ("POST", "/v1/batches/batch_none/cancel", 404),
        ("DELETE", "/v1/files", 405),
        ("PUT", "/v1/files/file-none", 405),
        ("DELETE", "/v1/batches/batch_none", 405),
        ("GET", "/v1/batches/batch_none/cancel", 405),
    ],
)
async def test_what_is_not_there_is_not_found(door, method, path, status):
    answer = await ask(door, method, path)
    assert (answer.status, bool(answer.error["message"])) == (status, True)


async def test_an_order_for_a_file_that_is_not_there_is_not_found(door):
    assert (await order(door, input_file_id="file-none", endpoint=CHAT))[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/files"),
        ("GET", "/v1/files"),
        ("GET", "/v1/files/file-1/content"),
        ("DELETE", "/v1/files/file-1"),
        ("POST", "/v1/batches"),
        ("GET", "/v1/batches"),
        ("POST", "/v1/batches/batch_1/cancel"),
    ],
)
async def test_without_a_key_nobody_gets_at_files_and_batches(open_door, shelf, method, path):
    door = await open_door(ready=False, shelf=shelf, keys=("key",))
    assert (await ask(door, method, path)).status == 401
    assert (await ask(door, method, path, headers=["Authorization: Bearer key"])).status != 401


async def test_a_folder_that_cannot_be_written_is_said_and_leaves_nothing(open_door, shelf):
    door = await open_door(ready=False, shelf=shelf)
    shelf.folder.rename(shelf.folder.with_name("away"))
    answer = await soon(upload(door))
    assert (answer.status, answer.error["code"]) == (500, "storage_failed")
    shelf.folder.with_name("away").rename(shelf.folder)
    assert (await upload(door)).status == 200


async def test_uploads_do_not_disturb_each_other(door, shelf):
    answers = await asyncio.gather(*(upload(door, GOOD[0], field("file", b"%d" % n, f"{n}")) for n in range(20)))
    for answer in answers:
        content = await ask(door, "GET", f"/v1/files/{answer.json['id']}/content")
        assert content.body.decode() == answer.json["filename"]
