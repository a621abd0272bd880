"""Files that people asked for are whole, or as they were."""

import os

import pytest

from costctl.adapters.files import replace_file
from costctl.errors import CostctlError


def test_a_file_is_made_and_made_anew_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "report.html"
    for content in (b"first", b"second"):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(tmp_path):
    path, link = tmp_path / "report.html", tmp_path / "newest.html"
    path.write_bytes(b"old")
    link.symlink_to(path.name)
    replace_file(link, b"new")
    assert (link.is_symlink(), path.read_bytes()) == (True, b"new")


def test_what_is_no_file_is_written_to_and_stays(tmp_path):
    reader, writer = os.pipe()
    link = tmp_path / "stdout"
    link.symlink_to(f"/proc/self/fd/{writer}")
    replace_file(link, b"content")
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"content"
    assert link.is_symlink()


def test_what_cannot_be_written_is_as_it_was_and_said_by_its_name(tmp_path):
    path = tmp_path / "report.html"
    path.write_bytes(b"old")
    (tmp_path / f".{path.name}.{os.getpid()}.part").mkdir()
    with pytest.raises(CostctlError, match=f"cannot write {path}: Is a directory"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("place", "words"),
    [("nowhere/x.html", "No such file"), ("file/x.html", "Not a directory"), ("x" * 300, "File name too long")],
)
def test_a_place_where_no_file_can_be_is_said(tmp_path, place, words):
    (tmp_path / "file").touch()
    with pytest.raises(CostctlError, match=f"cannot write .*: {words}"):
        replace_file(tmp_path / place, b"")
