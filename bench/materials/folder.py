"""A user's own images: one folder per class, any size, grey or colour."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from bench.errors import BadInputError
from bench.materials.split import (
    TEST_FRACTION,
    TEST_STATE,
    Source,
    Split,
    check_class_sizes,
    default_k,
    divide,
)

T = TypeVar("T")

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
LONGEST_SIDE = 64
SPLIT_NAMES = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})


def load_folder(argument: str, root: Path, allow_download: bool) -> Source:
    """Read PATH/CLASS/**/IMAGE; a class is a folder, in alphabetical order, hidden ones aside.

    Every image is stretched to one size: the commonest among them (of equally common ones the smallest),
    scaled down to at most 64 pixels on the longer side. One channel if every image is grey, else three.
    Transparent pixels are black. A fifth of the images, the same under every seed, becomes test data.

    Raises:
        BadInputError: not a folder of at least two classes, each large enough; an image that cannot be read.
    """
    folder = Path(argument).expanduser()
    if not argument or not folder.is_dir():
        raise BadInputError(f"no folder {argument!r}; expected --dataset folder:PATH with one folder per class")
    classes = {entry.name: _images_in(entry, (folder.resolve(),)) for entry in _classes_in(folder)}
    names = tuple(classes)
    _check_classes(folder, names)
    labels = torch.tensor([label for label, name in enumerate(names) for _ in classes[name]], dtype=torch.int64)
    check_class_sizes(labels, names)
    images = _read_all([path for name in names for path in classes[name]])
    train, test = divide(Split(images, labels), TEST_FRACTION, TEST_STATE)
    return Source(train, test, 255, names, default_k(images.shape[2] * images.shape[3]))


def _check_classes(folder: Path, names: tuple[str, ...]) -> None:
    if len(names) < 2:
        found = f"one class, {names[0]!r}" if names else "no class"
        raise BadInputError(f"{folder} holds {found}; expected at least two: one folder of images per class")
    if SPLIT_NAMES.issuperset(name.lower() for name in names):
        raise BadInputError(
            f"{folder} holds {', '.join(names)}, which are parts, not classes; expected one folder per class: "
            "name the folder one level down, Distal divides it itself"
        )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise BadInputError(
            f"{folder} cannot be listed ({error.strerror}); expected a readable folder of images: "
            "check its permissions and links"
        ) from error


def _classes_in(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if _is_folder(entry)]


def _is_folder(path: Path) -> bool:
    """Whether it is a folder; a link that leads nowhere, or to itself, is refused unless it names an image."""
    if path.is_symlink() and not path.exists() and path.suffix.lower() not in SUFFIXES:
        raise BadInputError(f"{path} is a link that leads nowhere; expected a folder or image: remove the link")
    return path.is_dir()


def _images_in(folder: Path, above: tuple[Path, ...]) -> list[Path]:
    """Image files at any depth, links followed; `above` holds the resolved folders that led here."""
    real = folder.resolve()
    if real in above:
        raise BadInputError(
            f"{folder} links back to {real}, which holds it; expected folders without loops: remove the link"
        )
    found = []
    for entry in _entries(folder):
        if _is_folder(entry):
            found += _images_in(entry, (*above, real))
        elif entry.suffix.lower() in SUFFIXES:
            found.append(entry)
    return found


def _read_all(paths: list[Path]) -> torch.Tensor:
    """Decode to [N, C, H, W] float32 on the grid of k/255."""
    size = _common_size(Counter(_with_image(path, lambda image: image.size) for path in paths))
    pixels = np.stack([_with_image(path, partial(_decode, size=size)) for path in paths])
    if (pixels == pixels[..., :1]).all():  # by content: grey photographs are often stored as RGB
        pixels = pixels[..., :1]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().contiguous() / 255


def _common_size(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    """(width, height) of the commonest size, scaled down to at most `LONGEST_SIDE`."""
    width, height = min(sizes, key=lambda size: (-sizes[size], size))
    scale = min(1.0, LONGEST_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _decode(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """One image -> [H, W, 3] uint8; an image that already has the size keeps its pixels."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip rather than scale
        image = Image.fromarray((np.asarray(image, np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range: save it with 8 bits")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))


def _with_image(path: Path, read: Callable[[Image.Image], T]) -> T:
    """Open one image and read from it; a hostile file can make a decoder raise anything."""
    try:
        if not path.is_file():
            raise ValueError("not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return read(image)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInputError(
            f"{path} cannot be read ({reason}); expected an image of a usual size and format: "
            "repair it or take it out of the folder"
        ) from error
