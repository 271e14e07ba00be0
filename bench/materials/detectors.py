"""What a judge is made of: models of real images, each fitted to one view of them.

A detector is a view and a model. Models are fitted on rows [N, D] of real images and score others; higher is
further from real data, on a scale of the model's own. Fitting rests on scikit-learn, scoring is float32 torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from torch import Tensor

from bench.materials import views

CHUNK = 256  # rows against all references at once: 256 × 25,000 float32 is 25 MB
AXES = 256  # longer rows are seen in that many principal axes, and by the length of what those leave
NEAREST_AXES = 128  # where only the nearest matters, fewer axes find it as well
AXES_FROM = 2000  # rows that the axes of very long rows are found from
SMALL = 1e-2  # least deviation of a figure of texture: one that is constant in real images must not outshout the rest
TINY = 1e-8


class Model(Protocol):
    """Fitted on rows [N, D] of real images and their labels [N]; scores rows [M, D] -> [M] float32."""

    def fit(self, rows: Tensor, labels: Tensor, seed: int) -> Self: ...

    def score(self, rows: Tensor) -> Tensor: ...


class Nearest:
    """Euclidean distance to the nearest real row; on a direction, that is nearest by cosine."""

    def fit(self, rows: Tensor, labels: Tensor, seed: int) -> Self:
        self.frame = Frame(rows, NEAREST_AXES, seed)
        self.references = self.frame(rows)[0].T.contiguous()
        self.squares = rows.square().sum(dim=1)
        return self

    def score(self, rows: Tensor) -> Tensor:
        # Lengths are taken in full, so what lies outside the axes adds to the distance. Left out, noise would
        # be taken for its own faint shadow.
        return torch.cat([self._chunk(chunk) for chunk in rows.split(CHUNK)])

    def _chunk(self, rows: Tensor) -> Tensor:
        squares = torch.addmm(self.squares, self.frame(rows)[0], self.references, alpha=-2).amin(dim=1)
        return (squares + rows.square().sum(dim=1)).clamp_min(0).sqrt()


class Whitened(Nearest):
    """The same after scaling and decorrelating the numbers of a row, which have units of their own."""

    def fit(self, rows: Tensor, labels: Tensor, seed: int) -> Self:
        self.mean, self.deviation = rows.mean(dim=0), rows.std(dim=0).clamp_min(SMALL)
        self.whitening = whitening((rows - self.mean) / self.deviation)
        return super().fit(self._white(rows), labels, seed)

    def score(self, rows: Tensor) -> Tensor:
        return super().score(self._white(rows))

    def _white(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) / self.deviation @ self.whitening


class ClassGaussian:
    """Mahalanobis distance to the nearest class, each with its own shrunk covariance (Ledoit and Wolf, 2004)."""

    def fit(self, rows: Tensor, labels: Tensor, seed: int) -> Self:
        self.frame = Frame(rows, AXES, seed)
        inside, left = self.frame(rows)
        members = [labels == label for label in labels.unique()]
        self.classes = [self._fit_class(inside[member], left[member]) for member in members]
        return self

    def _fit_class(self, inside: Tensor, left: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = inside.mean(dim=0)
        return mean, whitening(inside - mean), self.frame.variance(left)

    def score(self, rows: Tensor) -> Tensor:
        inside, left = self.frame(rows)
        distances = [((inside - mean) @ white).square().sum(dim=1) + left / rest for mean, white, rest in self.classes]
        return torch.stack(distances).amin(dim=0).sqrt()


class TiedGaussian:
    """Mahalanobis distance to the nearest class mean under one shrunk covariance for all classes.

    Lee et al., "A simple unified framework for detecting out-of-distribution samples and adversarial attacks",
    https://arxiv.org/abs/1807.03888, on a view instead of a network's features.
    """

    def fit(self, rows: Tensor, labels: Tensor, seed: int) -> Self:
        self.frame = Frame(rows, AXES, seed)
        inside, left = self.frame(rows)
        classes, own = labels.unique(return_inverse=True)
        means = torch.stack([inside[own == index].mean(dim=0) for index in range(len(classes))])
        self.white, self.rest = whitening(inside - means[own]), self.frame.variance(left)
        self.means = means @ self.white
        return self

    def score(self, rows: Tensor) -> Tensor:
        inside, left = self.frame(rows)
        white = inside @ self.white
        nearest = torch.stack([(white - mean).square().sum(dim=1) for mean in self.means]).amin(dim=0)
        return (nearest + left / self.rest).sqrt()


class Deviation:
    """How many standard deviations a single number is from its mean."""

    def fit(self, rows: Tensor, labels: Tensor, seed: int) -> Self:
        self.mean, self.deviation = rows.mean(), rows.std().clamp_min(SMALL)
        return self

    def score(self, rows: Tensor) -> Tensor:
        return (rows.squeeze(1) - self.mean).abs() / self.deviation


class Frame:
    """Principal axes, scikit-learn's, for rows [N, D] with D > `axes`; shorter rows keep the axes they have."""

    def __init__(self, rows: Tensor, axes: int, seed: int) -> None:
        self.mean, self.axes, self.outside = torch.zeros(1), None, 1
        if rows.shape[1] <= axes:
            return
        small = rows.shape[1] <= min(AXES_FROM, len(rows))
        # Drawn, not every so manyth: real data come in an order.
        drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:AXES_FROM]
        sample = rows if small else rows[drawn]
        axes = min(axes, len(sample) // 2)  # as many axes as rows would leave nothing of them
        self.outside = rows.shape[1] - axes
        pca = PCA(axes, svd_solver="covariance_eigh" if small else "randomized", random_state=seed).fit(sample.numpy())
        self.mean, self.axes = torch.from_numpy(pca.mean_), torch.from_numpy(pca.components_.T.copy())

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [N, D] -> ([N, R] along the axes, [N] squared length of what they leave)."""
        if self.axes is None:
            return rows, rows.new_zeros(len(rows))
        inside = rows @ self.axes
        centred = rows - self.mean
        left = centred.square().sum(dim=1) - (centred @ self.axes).square().sum(dim=1)
        return inside, left.clamp_min(0)

    def variance(self, left: Tensor) -> Tensor:
        """Mean variance along one direction outside the axes (Tipping and Bishop, 1999), from what they left."""
        return (left.mean() / self.outside).clamp_min(TINY)


def whitening(rows: Tensor) -> Tensor:
    """The matrix [D, D] that gives rows [N, D] unit covariance, which is shrunk after Ledoit and Wolf (2004)."""
    covariance = torch.from_numpy(LedoitWolf().fit(rows.double().numpy()).covariance_)
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors / values.clamp_min(TINY).sqrt()).float()


@dataclass(frozen=True)
class Detector:
    """A view of an image and the model to fit to it."""

    view: Callable[[Tensor], Tensor]
    model: Callable[[], Model]


DETECTORS = {
    "euclidean": Detector(views.pixels, Nearest),
    "cosine": Detector(views.direction, Nearest),
    "hellinger": Detector(views.root_direction, Nearest),
    "brightness": Detector(views.brightness, Deviation),
    "texture": Detector(views.texture, Whitened),
    "class_gaussian": Detector(views.root_direction, ClassGaussian),
    "tied_gaussian": Detector(views.root_direction, TiedGaussian),
}
