"""Data is divided once, by seed, with test data apart; what cannot be used gets one line that says why."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.errors import BadInputError
from bench.materials import data as module
from bench.materials.data import DATASETS, Data, load
from bench.materials.split import LEAST_PER_CLASS, Split, check_class_sizes, divide

PARTS = ("a_train", "a_val", "b_train", "b_val", "test")
CLASSES = ("ants", "bees")


def digits(seed: int = 0) -> Data:
    return load("digits", root=Path(), seed=seed, allow_download=False)


def load_at(name: str, root: Path = Path(), seed: int = 0, allow_download: bool = False) -> Data:
    return load(name, root=root, seed=seed, allow_download=allow_download)


def refusal(name: str, root: Path = Path(), **kwargs) -> str:
    with pytest.raises(BadInputError) as caught:
        load_at(name, root, **kwargs)
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)
    return str(caught.value)


def rows(split: Split) -> list[bytes]:
    return [image.numpy().tobytes() for image in split.images]


def check_facts(data: Data) -> None:
    for part in (getattr(data, name) for name in PARTS):
        assert part.images.dtype == torch.float32
        assert part.labels.dtype == torch.int64
        assert part.images.shape == (len(part), *data.spec.shape)
        assert torch.equal(data.spec.round(part.images), part.images), "off the value grid"
        assert torch.bincount(part.labels, minlength=data.spec.real_classes).min() > 0


# Dividing


def test_digits_are_what_scikit_learn_ships():
    data = digits()
    check_facts(data)
    assert (data.spec.shape, data.spec.levels, data.default_k) == ((1, 8, 8), 16, 24)
    assert data.spec.class_names == tuple("0123456789")
    assert sum(len(getattr(data, name)) for name in PARTS) == 1797
    assert data.test.images.max() == 1


def test_no_image_is_in_two_parts():
    everything = [row for name in PARTS for row in rows(getattr(digits(), name))]
    assert len(set(everything)) == len(everything) == 1797


def test_halves_are_equal_and_validation_comes_out_of_each():
    data = digits()
    half_a, half_b = len(data.a_train) + len(data.a_val), len(data.b_train) + len(data.b_val)
    assert abs(half_a - half_b) <= 1
    assert len(data.test) == 360
    for half, validation in ((half_a, data.a_val), (half_b, data.b_val)):
        assert len(validation) == pytest.approx(0.15 * half, abs=1)


def test_every_part_is_stratified():
    data = digits()
    shares = [torch.bincount(getattr(data, name).labels).double() / len(getattr(data, name)) for name in PARTS]
    for share in shares:
        assert (share - shares[0]).abs().max() < 0.02


def test_the_seed_moves_the_halves_and_never_the_test_set():
    first, again, other = digits(0), digits(0), digits(1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert torch.equal(first.a_train.images, again.a_train.images)
    assert set(rows(first.a_train)) != set(rows(other.a_train))
    assert torch.equal(first.test.images, other.test.images)
    assert torch.equal(first.test.labels, other.test.labels)


def test_the_fingerprint_sees_every_tensor_and_the_names(monkeypatch):
    data = digits()
    parts = tuple(getattr(data, name) for name in PARTS)
    prints = {module._fingerprint(data.spec, parts)}
    for place, part in enumerate(parts):
        image, label = part.images.clone(), part.labels.clone()
        image[-1, 0, 0, 0] += 1 / 16
        label[0] = (label[0] + 1) % 10
        for changed in (Split(image, part.labels), Split(part.images, label)):
            prints.add(module._fingerprint(data.spec, (*parts[:place], changed, *parts[place + 1 :])))
    assert len(prints) == 11
    assert data.fingerprint in prints


def test_seeds_of_any_size_and_sign_differ():
    assert len({digits(seed).fingerprint for seed in (0, -1, 2**32, 2**32 - 1, 2**63 - 1)}) == 5


def test_a_split_is_indexed_by_tensor():
    part = digits().a_train
    picked = part[torch.tensor([3, 1])]
    assert torch.equal(picked.images, part.images[[3, 1]])
    assert torch.equal(picked.labels, part.labels[[3, 1]])
    assert len(picked) == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(LEAST_PER_CLASS, 90), min_size=2, max_size=12), st.integers(0, 2**32 - 1))
def test_the_least_class_size_is_enough_for_every_part(sizes, seed):
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    whole = Split(torch.zeros(len(labels), 1, 1, 1), labels)
    check_class_sizes(labels, tuple(map(str, sizes)))
    train, test = divide(whole, 0.2, 0)
    parts = [test] + [part for half in divide(train, 0.5, seed) for part in divide(half, 0.15, seed)]
    assert all(torch.bincount(part.labels, minlength=len(sizes)).min() > 0 for part in parts)


# Names


def test_a_near_miss_is_suggested():
    assert "did you mean 'fashion_mnist'?" in refusal("fashon_mnist")


@pytest.mark.parametrize("name", ["", "imagenet", "digits:8", ":"])
def test_what_is_not_a_data_set_lists_those_that_are(name):
    told = refusal(name)
    assert repr(name) in told
    assert all(known in told for known in DATASETS)


# Published data


def test_a_root_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    told = refusal("mnist", tmp_path / "file", allow_download=True)
    assert f"cannot write to the data root {tmp_path / 'file'}" in told


@pytest.mark.mnist
def test_real_mnist(mnist_root):
    data = load_at("mnist", mnist_root)
    check_facts(data)
    assert (data.spec.shape, data.spec.levels, data.default_k) == ((1, 28, 28), 255, 300)
    assert [len(getattr(data, name)) for name in PARTS] == [25500, 4500, 25500, 4500, 10000]
    assert not set(rows(data.a_train)) & set(rows(data.b_train))
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


# A user's own images


def write_images(folder: Path, *, size=(6, 5), mode="RGB", per_class=LEAST_PER_CLASS, suffix=".png") -> Path:
    draw = np.random.default_rng(0)
    channels = () if mode == "L" else (3,)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = draw.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:03}{suffix}")
    return folder


def test_own_images_keep_their_pixels_when_they_share_a_size(tmp_path):
    data = load_at(f"folder:{write_images(tmp_path)}")
    check_facts(data)
    assert data.spec.shape == (3, 5, 6)
    assert data.spec.levels == 255
    assert data.spec.class_names == CLASSES
    assert data.default_k == int(0.38 * 30)
    assert sum(len(getattr(data, name)) for name in PARTS) == 40
    assert len(data.test) == 8
    first = np.asarray(Image.open(tmp_path / "bees" / "000.png")).transpose(2, 0, 1).astype(np.float32) / 255
    everything = {row for name in PARTS for row in rows(getattr(data, name))}
    assert np.ascontiguousarray(first).tobytes() in everything


def test_the_test_images_stay_under_every_seed(tmp_path):
    name = f"folder:{write_images(tmp_path)}"
    first, second = load_at(name, seed=0), load_at(name, seed=1)
    assert torch.equal(first.test.images, second.test.images)
    assert not torch.equal(first.a_train.images, second.a_train.images)


def test_grey_images_have_one_channel_however_they_are_stored(tmp_path):
    folder = write_images(tmp_path, mode="L")
    for path in sorted((folder / "ants").iterdir())[:10]:
        Image.open(path).convert("RGB").save(path)
    assert load_at(f"folder:{folder}").spec.shape == (1, 5, 6)
    Image.new("RGB", (6, 5), (0, 0, 1)).save(folder / "ants" / "000.png")
    assert load_at(f"folder:{folder}").spec.shape == (3, 5, 6)


def test_the_commonest_size_wins_and_is_capped(tmp_path):
    folder = write_images(tmp_path, size=(200, 100), mode="L")
    Image.new("L", (900, 900)).save(folder / "ants" / "000.png")
    assert load_at(f"folder:{folder}").spec.shape == (1, 32, 64)


def test_a_pixel_stored_in_any_way_means_the_same(tmp_path):
    folder = write_images(tmp_path, size=(1, 1), mode="L")
    for path in folder.rglob("*.png"):
        Image.new("L", (1, 1), 0).save(path)
    bees = sorted((folder / "bees").iterdir())
    Image.fromarray(np.full((1, 1), 100 * 257, np.uint16)).save(bees[0])
    Image.new("RGBA", (1, 1), (255, 255, 255, 0)).save(bees[1])
    Image.new("LA", (1, 1), (200, 255)).save(bees[2])
    Image.new("1", (1, 1), 1).save(bees[3])
    Image.new("L", (1, 1), 7).convert("P").save(bees[4], transparency=b"\xff" * 256)
    data = load_at(f"folder:{folder}")
    everything = torch.cat([getattr(data, name).images for name in PARTS])
    assert sorted((everything * 255).round().int().flatten().tolist())[-4:] == [7, 100, 200, 255]


def test_links_hidden_folders_and_other_files_are_as_expected(tmp_path):
    folder = write_images(tmp_path / "own")
    (folder / ".cache").mkdir()
    (folder / "notes.txt").write_text("none")
    (folder / "ants" / "notes.txt").write_text("none")
    (folder / "wasps").symlink_to(write_images(tmp_path / "elsewhere") / "ants")
    assert load_at(f"folder:{folder}").spec.class_names == ("ants", "bees", "wasps")


def unlink_most(folder: Path) -> None:
    for path in sorted((folder / "bees").iterdir())[5:]:
        path.unlink()


def merge(folder: Path) -> None:
    (folder / "bees").rename(folder / "ants" / "more")


def empty(folder: Path) -> None:
    for path in (folder / "bees").iterdir():
        path.unlink()


def bomb(folder: Path, side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (folder / "ants" / "000.png").write_bytes(png + b"\0\0\0\0IEND\xaeB`\x82")


def break_png(folder: Path) -> None:
    path = folder / "ants" / "000.png"
    path.write_bytes(path.read_bytes()[:60])


def unreadable(folder: Path) -> None:
    (folder / "ants" / "000.png").write_bytes(b"no image\nat all")


def rename_to_parts(folder: Path) -> None:
    (folder / "ants").rename(folder / "train")
    (folder / "bees").rename(folder / "Test")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (merge, "holds one class, 'ants'"),
        (unlink_most, "'bees' has 5 images; expected at least 20"),
        (empty, "'bees' has 0 images"),
        (rename_to_parts, "parts, not classes"),
        (unreadable, "000.png cannot be read (cannot identify"),
        (break_png, "000.png cannot be read"),
        (lambda folder: bomb(folder, 10_000), "000.png cannot be read (Image size (100000000 pixels)"),
        (lambda folder: bomb(folder, 60_000), "000.png cannot be read (Image size (3600000000 pixels)"),
        (lambda folder: (folder / "ants" / "loop").symlink_to(folder), "links back to"),
        (lambda folder: (folder / "ants" / "loop").symlink_to(folder / "ants"), "links back to"),
        (lambda folder: (folder / "wasps").symlink_to(folder), "links back to"),
        (lambda folder: (folder / "ants" / "self").symlink_to(folder / "ants" / "self"), "leads nowhere"),
        (lambda folder: (folder / "wasps").symlink_to("nowhere"), "leads nowhere"),
        (lambda folder: (folder / "ants" / "x.png").symlink_to("nowhere"), "x.png cannot be read (not a file)"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, spoil, told):
    spoil(write_images(tmp_path / "own"))
    assert told in refusal(f"folder:{tmp_path / 'own'}")


def test_floating_point_images_are_refused(tmp_path):
    folder = write_images(tmp_path)
    Image.fromarray(np.zeros((5, 6), np.float32)).save(folder / "ants" / "x.tiff")
    assert "save it with 8 bits" in refusal(f"folder:{folder}")


@pytest.mark.parametrize("name", ["folder", "folder:", "folder:/no/such/folder"])
def test_no_such_folder(name):
    assert "no folder" in refusal(name)


def test_an_empty_folder(tmp_path):
    assert "holds no class" in refusal(f"folder:{tmp_path}")


@settings(max_examples=10, deadline=None)
@given(width=st.integers(1, 90), height=st.integers(1, 90), suffix=st.sampled_from([".png", ".bmp", ".JPG", ".webp"]))
def test_images_of_any_size_and_format(tmp_path_factory, width, height, suffix):
    folder = write_images(tmp_path_factory.mktemp("own"), size=(width, height), suffix=suffix)
    data = load_at(f"folder:{folder}")
    check_facts(data)
    assert max(data.spec.shape[1:]) == min(64, max(width, height))
