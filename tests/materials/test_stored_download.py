"""A published data set arrives whole, checked by its sum, or not at all; a host is stood in for."""

from __future__ import annotations

import gzip
import io
import tarfile
import urllib.error
import zipfile
from pathlib import Path

import pytest
from published_formats import SETS, all_written, load_at, refusal
from torchvision.datasets import utils as torchvision_utils

from bench.materials import cifar


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Path:
    return all_written(tmp_path_factory.mktemp("ready"))


def served(ready: Path, name: str, path: Path) -> None:
    """What the host of a data set would send for a file called `path.name`."""
    files = {file.name: file.read_bytes() for file in (ready / SETS[name].folder).iterdir() if file.is_file()}
    if path.name == "gzip.zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file, content in files.items():
                archive.writestr(f"gzip/{file}.gz", gzip.compress(content))
            archive.writestr("gzip/emnist-letters-mapping.txt", "none of ours")
    elif path.name.endswith(".tar.gz"):
        with tarfile.open(path, "w:gz") as archive:
            for file, content in files.items():
                entry = tarfile.TarInfo(f"{cifar.FOLDER}/{file}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    elif path.name in files:
        path.write_bytes(files[path.name])
    else:
        path.write_bytes(gzip.compress(files[path.name.removesuffix(".gz")]))


def host(monkeypatch, serve) -> list[str]:
    """Stand in for the network -> the sums that were asked for; `serve` gets the path to write."""
    asked = []

    def download_url(url, root, filename=None, md5=None):
        asked.append(md5)
        serve(Path(root) / (filename or url.rsplit("/", 1)[-1]))

    monkeypatch.setattr(torchvision_utils, "download_url", download_url)
    return asked


@pytest.mark.parametrize("name", SETS)
def test_a_download_arrives_whole_and_is_not_repeated(ready, tmp_path, monkeypatch, name):
    asked = host(monkeypatch, lambda path: served(ready, name, path))
    root = tmp_path / "new" / "root"
    fetched = load_at(name, root, allow_download=True)
    assert fetched.fingerprint == load_at(name, ready).fingerprint
    assert asked
    assert all(asked), "every download is checked by its sum"
    host(monkeypatch, lambda path: pytest.fail("fetched again"))
    assert load_at(name, root, allow_download=True).fingerprint == fetched.fingerprint
    left = {path.name for path in root.rglob("*") if path.is_file()}
    assert left == {*SETS[name].train, *SETS[name].test}


@pytest.mark.parametrize("name", SETS)
def test_a_broken_download_says_so_and_leaves_nothing_behind(tmp_path, monkeypatch, name):
    def break_off(path: Path) -> None:
        path.write_bytes(b"half of")
        raise urllib.error.URLError("no route to host")

    host(monkeypatch, break_off)
    told = refusal(name, tmp_path, allow_download=True)
    assert f"cannot download {SETS[name].title}" in told
    assert "no route to host" in told
    assert all(file in told for file in (*SETS[name].train, *SETS[name].test))
    assert list(tmp_path.iterdir()) == []


def test_an_archive_with_another_sum_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision_utils, "_get_redirect_url", lambda url, max_hops: url)
    monkeypatch.setattr(torchvision_utils, "_urlretrieve", lambda url, path: Path(path).write_bytes(b"not CIFAR"))
    assert "corrupted" in refusal("cifar10", tmp_path, allow_download=True)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_cannot_write_outside_its_folder(tmp_path, monkeypatch):
    def serve(path: Path) -> None:
        with tarfile.open(path, "w:gz") as archive:
            archive.addfile(tarfile.TarInfo("../../escaped"))

    host(monkeypatch, serve)
    assert "cannot download CIFAR10" in refusal("cifar10", tmp_path / "root", allow_download=True)
    assert not (tmp_path / "escaped").exists()
