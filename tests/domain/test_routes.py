import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.routes import Kind, kind_of, known_path


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/tokenize", "/v1/rerank", "/score"],
)
def test_asking_the_model_is_work(path):
    assert kind_of("POST", path) is Kind.INFERENCE


@pytest.mark.parametrize("path", ["/health", "/ping", "/version", "/metrics", "/v1/models", "/v1/models/org/name", "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_is_no_work_and_answered_by_costctl(method, path):
    assert kind_of(method, path) is Kind.OWN


def test_a_websocket_is_its_own_kind():
    assert kind_of("GET", "/v1/realtime") is Kind.SOCKET


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/responses/resp_1-a"), ("POST", "/v1/responses/resp_1-a/cancel")]
)
def test_asking_after_earlier_work_wakes_nothing(method, path):
    assert kind_of(method, path) is Kind.PASSIVE


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/files"),
        ("GET", "/v1/files/file-1"),
        ("DELETE", "/v1/files/file-1"),
        ("GET", "/v1/files/file-1/content"),
        ("GET", "/v1/batches"),
        ("POST", "/v1/batches/batch_1/cancel"),
    ],
)
def test_files_and_batches_are_kept_by_costctl(method, path):
    assert kind_of(method, path) is Kind.STORED
    assert known_path(path)


@pytest.mark.parametrize(
    "path", ["/sleep", "/wake_up", "/is_sleeping", "/invocations", "/collective_rpc", "/load", "/server_info", "/docs"]
)
def test_an_engines_other_routes_do_not_exist(path):
    assert [kind_of(method, path) for method in ("GET", "POST")] == [None, None]
    assert not known_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../sleep",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat/completions/",
        "/v1/chat%2Fcompletions",
        "/V1/chat/completions",
        "/v1/chat/completions?x=1",
        "/v1/responses/a/../b",
        "/v1/responses/a/cancel/",
        "v1/chat/completions",
        "",
    ],
)
def test_only_exact_paths_are_routes(path):
    assert [kind_of(method, path) for method in ("GET", "POST")] == [None, None]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/chat/completions"), ("POST", "/health"), ("PUT", "/v1/models")]
)
def test_a_known_path_with_another_method_is_told_apart_from_an_unknown_one(method, path):
    assert kind_of(method, path) is None
    assert known_path(path)


@given(st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]), st.text(max_size=40))
def test_every_route_is_a_known_path(method, path):
    assert kind_of(method, path) is None or known_path(path)
