"""What is missing or damaged among a published data set's files gets one line that names it."""

from __future__ import annotations

import bz2
import gzip
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_formats import INT, PARTS, SETS, UBYTE, all_written, idx_bytes, load_at, refusal, written

from bench.errors import BadInputError


@pytest.mark.parametrize("name", SETS)
def test_missing_files_are_named_with_place_and_remedy(tmp_path, name):
    facts = SETS[name]
    written(tmp_path, name)
    lost = facts.train[-1]
    (tmp_path / facts.folder / lost).unlink()
    told = refusal(name, tmp_path)
    assert f"no {lost};" in told
    assert facts.title in told
    assert str(tmp_path / facts.folder) in told
    assert facts.form in told
    assert "--download" in told
    assert "--data-root" in told
    assert facts.test[0] in refusal(name, tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_pickled_cifar_is_not_opened(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert "pickled, and never opened" in refusal("cifar10", tmp_path)


def cut(content: bytes) -> bytes:
    return content[:-1]


def text(change):
    return lambda content: bz2.compress(change(bz2.decompress(content).decode()).encode())


def respelt(entry: str):
    """One pixel of the first image with another value."""
    number = entry.split(":")[0]
    return text(lambda lines: re.sub(rf" {number}:[^ \n]*", f" {entry}", lines, count=1))


def relabelled(value: int, code: int = UBYTE):
    def change(content: bytes) -> bytes:
        shape = (200, 8) if code == INT else (200,)
        return idx_bytes(np.full(shape, value), code)

    return change


def idx_zeros(*shape: int, code: int = UBYTE):
    return lambda content: idx_bytes(np.zeros(shape), code)


DAMAGE = {
    "an image short of a byte": ("kmnist", 0, cut, "invalid for input of size"),
    "a label short of a byte": ("emnist", 1, cut, "invalid for input of size"),
    "a byte too many": ("kmnist", 0, lambda content: content + b"\0", "invalid for input of size"),
    "an empty file": ("qmnist", 0, lambda content: b"", "("),
    "a header alone": ("emnist", 0, lambda content: content[:16], "("),
    "a web page": ("kmnist", 1, lambda content: b"<html>no such file</html>" * 20, "("),
    "a packed file": ("emnist", 0, gzip.compress, "("),
    "images of another size": ("kmnist", 0, idx_zeros(200, 14, 14), "images (200, 1, 14, 14)"),
    "images without columns": ("emnist", 0, idx_zeros(200, 784), "("),
    "images of integers": ("qmnist", 0, idx_zeros(200, 28, 28, code=INT), "images (200, 1, 28, 28) of torch.int32"),
    "labels of integers": ("kmnist", 1, idx_zeros(200, code=INT), "labels of torch.int32"),
    "no images": ("kmnist", 0, idx_zeros(0, 28, 28), "("),
    "too few labels": ("kmnist", 1, idx_zeros(150), "labels (150,) for 200 images"),
    "labels past the last": ("emnist", 1, relabelled(10), "labels from 10 to 10, where 9 is the last"),
    "a plain label file": ("qmnist", 1, idx_zeros(200), "labels (200,) of torch.uint8"),
    "five columns": ("qmnist", 1, idx_zeros(200, 5, code=INT), "labels (200, 5) of torch.int32"),
    "eight columns of bytes": ("qmnist", 1, idx_zeros(200, 8), "labels (200, 8) of torch.uint8"),
    "a negative label": ("qmnist", 1, relabelled(-1, INT), "labels from -1 to -1"),
    "too few extended labels": ("qmnist", 1, idx_zeros(150, 8, code=INT), "labels (150,) for 200 images"),
    "a torn archive": ("usps", 0, lambda content: content[: len(content) // 2], "ended before"),
    "no archive": ("usps", 0, bz2.decompress, "Invalid data stream"),
    "an empty archive": ("usps", 0, text(lambda lines: ""), "("),
    "no libsvm": ("usps", 0, text(lambda lines: "zip codes\n"), "("),
    "a torn line": ("usps", 0, text(lambda lines: lines.rsplit(" ", 3)[0]), "image 200 has 253"),
    "a gap in a line": ("usps", 0, text(lambda lines: lines.replace(" 7:", " 7000:", 1)), "("),
    "a pixel missing": ("usps", 0, text(lambda lines: re.sub(" 9:[^ ]*", "", lines, count=1)), "image 1 has 255"),
    "a pixel too many": ("usps", 0, text(lambda lines: lines.replace("\n", " 257:1\n")), "("),
    "a value too large": ("usps", 0, respelt("200:1.001"), "values outside [-1, 1]"),
    "a value too small": ("usps", 0, respelt("256:-2"), "values outside [-1, 1]"),
    "a value that is none": ("usps", 0, respelt("1:nan"), "values outside [-1, 1]"),
    "an endless value": ("usps", 0, respelt("1:-inf"), "values outside [-1, 1]"),
    "label eleven": ("usps", 0, text(lambda lines: "11" + lines[1:]), "labels from 0 to 10"),
    "label nought": ("usps", 0, text(lambda lines: "0" + lines[1:]), "labels from -1 to 9"),
    "half a label": ("usps", 0, text(lambda lines: "1.5" + lines[1:]), "no whole numbers"),
    "an endless label": ("usps", 0, text(lambda lines: "1e300" + lines[1:]), "("),
    "a record short of a byte": ("cifar10", 2, cut, "data_batch_3.bin has 122919 bytes"),
    "a record and a byte": ("cifar10", 4, lambda content: content + b"\0", "data_batch_5.bin has 122921 bytes"),
    "an empty batch": ("cifar10", 1, lambda content: b"", "data_batch_2.bin has 0 bytes"),
    "labels that are pixels": ("cifar10", 0, lambda content: b"\xff" + content[1:], "labels from 0 to 255"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files_are_named(tmp_path, case):
    name, place, damage, told = DAMAGE[case]
    facts = SETS[name]
    written(tmp_path, name)
    path = tmp_path / facts.folder / facts.train[place]
    path.write_bytes(damage(path.read_bytes()))
    said = refusal(name, tmp_path)
    assert facts.train[place] in said
    assert str(tmp_path / facts.folder) in said
    assert "is damaged (" in said
    assert told in said


@pytest.mark.parametrize("name", SETS)
def test_the_test_files_are_checked_like_the_training_files(tmp_path, name):
    written(tmp_path, name)
    path = tmp_path / SETS[name].folder / SETS[name].test[0]
    path.write_bytes(cut(path.read_bytes()))
    assert f"{SETS[name].test[0]}" in refusal(name, tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_a_class_too_small_to_divide(tmp_path, name):
    written(tmp_path, name, per_class=5)
    assert "has 5 images; expected at least 20 of every class" in refusal(name, tmp_path)


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Path:
    return all_written(tmp_path_factory.mktemp("ready"))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SETS)), st.integers(0, 4), st.integers(0, 10**9), st.binary(min_size=1, max_size=9))
def test_whatever_a_file_holds_is_read_or_refused(ready, tmp_path_factory, name, place, at, content):
    """Bytes overwritten anywhere, the front most often."""
    facts = SETS[name]
    names = (*facts.train, *facts.test)
    root = tmp_path_factory.mktemp("spoilt")
    shutil.copytree(ready / facts.folder, root / facts.folder, dirs_exist_ok=True)
    path = root / facts.folder / names[place % len(names)]
    old = bytearray(path.read_bytes())
    at %= len(old) if at % 2 else 20
    old[at : at + len(content)] = content
    path.write_bytes(old)
    try:
        told, data = "", load_at(name, root)
    except BadInputError as error:
        told, data = str(error), None
    shutil.rmtree(root)
    assert "\n" not in told
    assert data is None or all(getattr(data, part).labels.max() < 10 for part in PARTS)
