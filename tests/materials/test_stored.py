"""Published data sets are read from their real formats, and nothing is unpickled."""

from __future__ import annotations

import ast
import bz2
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets as published
from published_formats import PARTS, SETS, Part, load_at, transposed, written

from bench.materials import cifar, idx, stored, usps
from bench.materials.idx import MNIST_KIN
from bench.thresholds import THRESHOLDS, load_thresholds


@pytest.mark.parametrize("name", SETS)
def test_a_data_set_is_read_as_it_was_written(tmp_path, name):
    train, test = written(tmp_path, name)
    data = load_at(name, tmp_path)
    assert data.spec.shape == SETS[name].shape
    assert data.spec.levels == 255
    assert data.default_k == {"mnist": 300, "usps": 97, "cifar10": 389}.get(name, 297)
    assert np.array_equal((data.test.images * 255).round().numpy(), test.images), "the test set as it stands"
    assert data.test.labels.tolist() == test.labels.tolist()
    both = [(i.tobytes(), int(label)) for i, label in zip(train.images, train.labels, strict=True)]
    read = []
    for part in (getattr(data, place) for place in PARTS[:4]):
        assert torch.equal(data.spec.round(part.images), part.images), "off the value grid"
        pixels = (part.images * 255).round().byte().numpy()
        read += [(i.tobytes(), label) for i, label in zip(pixels, part.labels.tolist(), strict=True)]
    assert sorted(read) == sorted(both), "the training set, divided"


@pytest.mark.parametrize("name", MNIST_KIN)
def test_names_and_files_are_torchvisions(name, tmp_path):
    facts = MNIST_KIN[name]
    kind = getattr(published, facts.title)
    options = {"split": "digits"} if name == "emnist" else {}
    written(tmp_path, name)
    for train, names in ((True, facts.train), (False, facts.test)):
        theirs = kind(tmp_path, train=train, **options)
        images, labels = facts.read([tmp_path / facts.folder / file for file in names])
        turned = images.transpose(2, 3) if name == "emnist" else images
        assert torch.equal(turned[:, 0], theirs.data)
        digits = theirs.targets[:, 0] if name == "qmnist" else theirs.targets
        assert torch.equal(labels.long(), digits)
    if name in ("mnist", "qmnist"):
        assert facts.class_names == tuple("0123456789")
    else:
        assert facts.class_names == tuple(theirs.classes)


def test_usps_bytes_are_torchvisions(tmp_path):
    facts = SETS["usps"]
    values = np.round(np.random.default_rng(0).uniform(-1, 1, (200, 256)), 3)
    values[:, 0], values[:, 1], values[:, 2] = -1, 1, 0
    for name in (*facts.train, *facts.test):
        rows = (" ".join(f"{j}:{value:g}" for j, value in enumerate(row, 1)) for row in values)
        lines = (f"{i % 10 + 1} {row}\n" for i, row in enumerate(rows))
        (tmp_path / name).write_bytes(bz2.compress("".join(lines).encode()))
        theirs = published.USPS(tmp_path, train=name in facts.train)
        images, labels = facts.read([tmp_path / name])
        assert np.array_equal(images[:, 0].numpy(), theirs.data)
        assert labels.tolist() == theirs.targets
        assert {0, 255} <= set(images.unique().tolist())


def test_cifar_planes_are_red_green_and_blue_row_by_row(tmp_path):
    pixels = np.zeros((3, 32, 32), np.uint8)
    pixels[0, 0, 1], pixels[1, 2, 0], pixels[2, 31, 31] = 10, 20, 30
    content = bytearray(3073)
    content[0], content[1 + 1], content[1 + 1024 + 64], content[3072] = 7, 10, 20, 30
    (tmp_path / "batch.bin").write_bytes(content)
    images, labels = cifar.read_records([tmp_path / "batch.bin"])
    assert np.array_equal(images[0].numpy(), pixels)
    assert labels.tolist() == [7]


def test_an_emnist_image_stands_as_mnists_do(tmp_path):
    """A bar across the top, which the file holds as a bar down the left."""
    image = np.zeros((1, 1, 28, 28), np.uint8)
    image[0, 0, 3, 4:20] = 255
    for name, content in transposed(Part(image, np.zeros(1)), ("images", "labels")).items():
        (tmp_path / name).write_bytes(content)
    assert (tmp_path / "images").read_bytes()[16 + 4 * 28 + 3] == 255
    images, _ = idx.read_transposed([tmp_path / "images", tmp_path / "labels"])
    assert images[0, 0, 3, 4:20].min() == 255
    assert images.sum() == image.sum()


def test_a_cache_beside_the_files_is_not_believed(tmp_path):
    """torchvision prefers such a cache to the files; here it would be a way to slip other data in."""
    written(tmp_path, "kmnist")
    honest = load_at("kmnist", tmp_path).fingerprint
    cache = tmp_path / "KMNIST" / "processed"
    cache.mkdir()
    planted = (torch.zeros(200, 28, 28, dtype=torch.uint8), torch.arange(200) % 10)
    for name in ("training.pt", "test.pt"):
        torch.save(planted, cache / name)
    assert load_at("kmnist", tmp_path).fingerprint == honest


@pytest.mark.parametrize("module", [stored, idx, usps, cifar])
def test_nothing_that_can_unpickle_is_named(module):
    tree = ast.parse(Path(module.__file__).read_text())
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    named |= {a.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for a in node.names}
    assert not named & {"pickle", "joblib", "load", "load_data", "CIFAR10"}


@pytest.mark.parametrize("name", SETS)
def test_every_data_set_has_thresholds_of_its_own(name):
    assert name in tomllib.loads(THRESHOLDS.read_text())["real"]
    real = load_thresholds(name).real
    assert 0.5 < real.accuracy < 1
    assert real.confident_accuracy < real.accuracy
