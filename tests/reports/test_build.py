"""Finding certificates, writing pages."""

from __future__ import annotations

import os

import pytest

from bench import files
from reports.build import GENERATOR, build, find_certificates
from tests.reports import sample
from tests.reports.page import certificate_pages


def test_folders_are_searched_and_files_taken(tmp_path):
    deep = sample.write(tmp_path / "a" / "b" / "c" / "d")
    shallow = sample.write(tmp_path / "z")
    sample.write(tmp_path / "a" / "b" / "c" / "d" / "too deep")
    other = tmp_path / "handed-in.json"
    other.write_bytes(shallow.read_bytes())
    assert find_certificates([tmp_path, other]) == [deep, shallow, other]


def test_the_same_file_counts_once(tmp_path, monkeypatch):
    path = sample.write(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    assert find_certificates([tmp_path, path, path.relative_to(tmp_path)]) == [path]


def test_linked_folders_are_not_entered(tmp_path):
    sample.write(tmp_path / "elsewhere" / "one")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "elsewhere")
    assert find_certificates([tmp_path / "runs"]) == []


def test_a_path_that_leads_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent: no such file or folder"):
        find_certificates([tmp_path / "absent"])


def test_two_copies_are_one_row(tmp_path):
    paths = [sample.write(tmp_path / "one"), sample.write(tmp_path / "two")]
    assert len(certificate_pages(build(paths, tmp_path / "out"))) == 1


def test_pages_of_gone_certificates_go_and_nothing_else(tmp_path):
    old = sample.write(tmp_path / "old", seed=1)
    new = sample.write(tmp_path / "new", seed=2)
    (gone,) = certificate_pages(build([old], tmp_path / "out"))
    by_hand = gone.with_name("digits-by-hand-0123456789ab.html")
    by_hand.write_text("<p>mine</p>")
    notes = gone.with_name("notes.html")
    notes.write_text(GENERATOR)
    build([new], tmp_path / "out")
    assert not gone.exists()
    assert by_hand.exists()
    assert notes.exists()


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    page = tmp_path / "index.html"
    page.write_text("old")

    def broken(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        files.write_whole(page, b"new")
    assert page.read_text() == "old"
    assert list(tmp_path.iterdir()) == [page]


def test_pages_can_be_served(tmp_path):
    index = build([sample.write(tmp_path / "one")], tmp_path / "out")
    umask = os.umask(0)
    os.umask(umask)
    assert index.stat().st_mode & 0o777 == 0o666 & ~umask
