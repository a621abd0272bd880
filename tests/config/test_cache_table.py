import pytest

from costctl.config.caching import DISK, CacheSettings, read_cache
from costctl.config.tables import read_toml
from costctl.errors import BadValueError


@pytest.fixture
def read(tmp_path):
    def read(text, **environ):
        path = tmp_path / "costctl.toml"
        path.write_text(text)
        return read_cache(read_toml(path), environ)

    return read


def test_without_the_table_nothing_is_cached(read):
    assert read_cache(None, {}) == CacheSettings()
    assert not read("").is_on


def test_all_keys_are_read(read):
    found = read(
        """
[cache]
models = ["*"]
routes = "/v1/embeddings"
ttl = "10m"
max-size = "1MiB"
store = "redis://cache:6379/1"
temperature-above-zero = true
"""
    )
    assert found.is_on
    assert found.rules.models == {"*"}
    assert found.rules.routes == {"/v1/embeddings"}
    assert found.rules.ttl_s == 600
    assert found.rules.temperature_above_zero
    assert (found.most_bytes, found.store) == (2**20, "redis://cache:6379/1")


def test_an_empty_table_is_for_those_who_ask_by_header(read):
    found = read("[cache]")
    assert found.is_on
    assert (found.store, found.rules.ttl_s, found.rules.models) == (DISK, 3600, frozenset())
    assert not read("[cache]\nenabled = false").is_on


def test_the_url_of_a_store_may_come_from_the_environment(read):
    assert read('[cache]\nstore-env = "WHERE"', WHERE="unix:///run/redis.sock").store == "unix:///run/redis.sock"
    with pytest.raises(BadValueError, match=r"WHERE \(store-env\) is not set"):
        read('[cache]\nstore-env = "WHERE"')


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('store = "postgres://u:secret@h"', "line 2, cache.store: it is neither"),
        ('routes = ["/v1/responses"]', "cannot be cached"),
        ('ttl = "0s"', "line"),
        ('max-size = "1KiB"', "'1KiB' is less than 1MiB"),
        ("models = 7", "is not a list of names"),
        ('modles = ["a"]', "did you mean 'models'"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_no_secret(read, line, words):
    with pytest.raises(BadValueError, match=words) as caught:
        read(f"[cache]\n{line}")
    assert "secret" not in str(caught.value)


def test_a_secret_is_in_no_representation(read):
    assert "hush" not in repr(read('[cache]\nstore = "redis://:hush@h"'))
    with pytest.raises(BadValueError) as caught:
        read('[cache]\nstore-env = "WHERE"', WHERE="http://u:hush@h")
    assert "hush" not in str(caught.value)
