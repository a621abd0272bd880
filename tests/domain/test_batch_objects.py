import json
from dataclasses import replace

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.batch_orders import read_order
from costctl.domain.http_batches import Counts, End, Fault, HttpBatch, Status, Usage
from costctl.domain.stored_files import KEPT_S, StoredFile, page, read_kept_s, safe_filename
from costctl.errors import BadValueError

BATCH = HttpBatch(
    id="batch_1",
    endpoint="/v1/completions",
    input_file_id="file-1",
    completion_window="24h",
    created_at=100,
    expires_at=200,
    results_id="file-2",
    failures_id="file-3",
    default_model="tiny",
)


def file(number):
    return StoredFile(
        id=f"file-{number:03}", filename="f", size_bytes=1, purpose="batch", created_at=number, expires_at=1
    )


@given(st.lists(st.sampled_from(Status), max_size=8))
def test_whatever_is_tried_a_batch_only_goes_forward_and_knows_when(tried):
    batch = BATCH
    for at, status in enumerate(tried, 101):
        try:
            batch = batch.moved(status, at)
        except ValueError:
            continue
        assert batch.ended_at == at
    assert list(batch.reached.values()) == sorted(batch.reached.values())
    assert not (batch.is_over and any(batch.status is other for other in (Status.VALIDATING, Status.CANCELLING)))
    assert len(set(batch.reached) & {"failed", "completed", "expired", "cancelled"}) == batch.is_over


def test_a_batch_that_is_over_stays_as_it_is():
    over = BATCH.moved(Status.CANCELLING, 101).moved(Status.CANCELLED, 102)
    for status in Status:
        with pytest.raises(ValueError, match="cannot follow"):
            over.moved(status, 103)


def test_what_is_kept_of_a_batch_is_all_of_it():
    batch = HttpBatch(
        **{
            **{name: getattr(BATCH, name) for name in BATCH.__dataclass_fields__},
            "counts": Counts(total=3, completed=1, failed=1),
            "model": "tiny",
            "usage": Usage(input_tokens=5, cached_tokens=1, output_tokens=7, reasoning_tokens=2),
            "faults": (Fault(code="invalid_line", message="no", line=2),),
            "metadata": {"k": "v"},
        }
    ).moved(Status.IN_PROGRESS, 101)
    assert HttpBatch.from_json(json.loads(json.dumps(batch.as_json()))) == batch
    shown = batch.as_openai()
    assert (shown["in_progress_at"], shown["completed_at"], shown["request_counts"]["total"]) == (101, None, 3)
    assert shown["errors"]["data"] == [{"code": "invalid_line", "message": "no", "line": 2, "param": None}]
    assert not {"results_id", "default_model"} & set(shown)


def test_objects_are_what_the_official_client_knows_with_every_field_it_knows():
    batch = replace(BATCH, usage=Usage(input_tokens=5, output_tokens=7), faults=(Fault(code="c", message="m"),))
    for kind, shown in ((openai.types.Batch, batch.as_openai()), (openai.types.FileObject, file(1).as_openai())):
        kind.model_validate(shown, strict=True)
        assert set(shown) == set(kind.model_fields)
    assert set(batch.as_openai()["usage"]) == set(openai.types.BatchUsage.model_fields)
    assert set(batch.as_openai()["errors"]["data"][0]) == set(openai.types.BatchError.model_fields)
    assert batch.as_openai()["usage"]["total_tokens"] == 12


LINE_3 = Fault(code="invalid_line", message="no", line=3)
NO_ENGINE = Fault(code="engine_failed", message="out of memory")


@pytest.mark.parametrize(
    ("states", "end", "code"),
    [
        ([Status.IN_PROGRESS], End(status=Status.COMPLETED), None),
        ([Status.IN_PROGRESS], End(status=Status.EXPIRED), "batch_expired"),
        ([], End(status=Status.EXPIRED), "batch_expired"),
        ([Status.CANCELLING], End(status=Status.CANCELLED), "batch_cancelled"),
        ([], End(status=Status.FAILED, faults=(LINE_3,)), None),
        ([Status.IN_PROGRESS], End(status=Status.FAILED, faults=(NO_ENGINE,)), "engine_failed"),
    ],
)
def test_lines_that_a_batch_leaves_undone_say_how_it_ended(states, end, code):
    batch = BATCH
    for status in states:
        batch = batch.moved(status, 101)
    fault = batch.fault_of_rest(end)
    assert (fault and fault.code) == code


def test_an_order_is_for_a_day_if_it_does_not_say_otherwise():
    order = read_order({"input_file_id": "file-1", "endpoint": "/v1/embeddings"})
    assert (order.window_s, order.outputs_kept_s, order.metadata) == (86_400, KEPT_S, None)
    assert read_order({"input_file_id": "f", "endpoint": "/v1/score", "completion_window": "2h"}).window_s == 7200


@given(st.sets(st.integers(0, 50)), st.integers(1, 7), st.booleans(), st.sets(st.integers(0, 50)))
def test_pages_together_are_the_whole_list_also_if_files_go_in_between(numbers, limit, ascending, gone):
    files = [file(number) for number in numbers]
    seen, after, more = [], None, True
    while more:
        found, more = page(files, after=after, limit=limit, ascending=ascending)
        assert len(found) <= limit
        seen += found
        after = found[-1].id if found else after
        files = [each for each in files if each in seen or int(each.id[5:]) not in gone or each.id == after]
        files = [each for each in files if each.id != after]
    left = {each.id for each in files} | {each.id for each in seen}
    assert [each.id for each in seen] == sorted(left, reverse=not ascending)


@given(st.text(max_size=300))
def test_a_name_is_never_a_path_nor_empty(given_name):
    name = safe_filename(given_name)
    assert 0 < len(name) <= 255
    assert not set("/\\\n\r\0") & set(name)
    assert name not in {".", ".."}
    name.encode()


@pytest.mark.parametrize("given_value", ["x", 5, {}, {"anchor": "created_at", "seconds": None}])
def test_an_expiry_that_is_none_is_refused(given_value):
    with pytest.raises(BadValueError, match="expires_after"):
        read_kept_s(given_value)
