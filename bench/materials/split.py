"""Images with their labels, and the one seeded way they are divided."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from bench.errors import BadInputError

TEST_FRACTION = 0.2
VALIDATION_FRACTION = 0.15
LEAST_PER_CLASS = 20  # of which every part, validation of half a training set included, still gets one
TEST_STATE = 0  # fixed: the test set must not move with the run's seed


@dataclass(frozen=True)
class Split:
    """Images [N, C, H, W] float32 on the value grid in [0, 1], and their labels [N] int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> Split:
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Source:
    """A data set as a loader found it: nothing divided yet but the test data.

    Args:
        levels: the value grid is {0, 1/levels, ..., 1}.
        class_names: in label order.
        default_k: most lit pixels of a sparse image, unless the user says otherwise.
    """

    train: Split
    test: Split
    levels: int
    class_names: tuple[str, ...]
    default_k: int


def default_k(pixels: int) -> int:
    """38% of an image's pixels: what MNIST's 300 of 784 comes to."""
    return max(1, int(0.38 * pixels))


def check_class_sizes(labels: Tensor, class_names: tuple[str, ...]) -> None:
    """Refuse classes that are too small to divide.

    Raises:
        BadInputError: the smallest class has fewer than `LEAST_PER_CLASS` images.
    """
    counts = torch.bincount(labels, minlength=len(class_names))
    smallest = int(counts.argmin())
    if counts[smallest] < LEAST_PER_CLASS:
        raise BadInputError(
            f"class {class_names[smallest]!r} has {int(counts[smallest])} images; expected at least "
            f"{LEAST_PER_CLASS} of every class, to divide into training, validation and test: "
            "add images or leave the class out"
        )


def divide(whole: Split, fraction: float, state: int) -> tuple[Split, Split]:
    """Divide at random, stratified by label -> (the rest, about `fraction` of it); `state` is below 2**32."""
    rest, taken = train_test_split(
        torch.arange(len(whole)).numpy(),
        test_size=fraction,
        stratify=whole.labels.numpy(),
        random_state=state,
    )
    return whole[torch.from_numpy(rest)], whole[torch.from_numpy(taken)]
