"""The out-of-distribution judges: several detectors on one scale, calibrated together on real images.

An image is rejected when any detector rejects it. Everything rests on it: a judge that takes garbage for
real turns a broken network's verdict green, so its controls (`bench.materials.controls`) run every time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench.errors import BadInputError, NonFiniteError
from bench.materials.detectors import DETECTORS, Model

FOLDS = 5
WORKING, STRICT = 0.99, 0.999  # shares of held-out real images that each threshold keeps
ALL_BELOW = 1000  # with fewer real images the strict threshold keeps them all
TAIL = 0.9  # the quantile of held-out real images where a detector's tail starts
CHUNK = 1024

TRAINING = ("euclidean", "cosine", "brightness", "texture", "class_gaussian")
MEASURING = (*TRAINING, "hellinger", "tied_gaussian")


@dataclass(frozen=True)
class Scale:
    """A detector's own scale made common: minus the log of how rare a score is among the tenth oddest real images.

    0 is where the tail starts, and 2.3 more means ten times rarer. The tail is a generalised Pareto distribution,
    fitted by moments (Hosking and Wallis, 1987): one odd real image moves it little, and scores
    past the tail grow as a logarithm, where scaling by the largest would blind the detector to all that is less odd.

    Args:
        start: the score at the quantile `TAIL`.
        spread, shape: of the Pareto distribution; a shape of 0 is an exponential tail.
    """

    start: float
    spread: float
    shape: float

    @classmethod
    def of(cls, scores: Tensor) -> Scale:
        """From the scores of held-out real images [N]."""
        start = scores.quantile(TAIL)
        excess = scores[scores > start] - start
        if len(excess) < 2:
            return cls(start.item(), max(scores.std().item(), 1e-9), 0.0)
        mean, variance = excess.mean().item(), excess.var().item()
        shape = max(0.0, (1 - mean**2 / max(variance, 1e-18)) / 2)
        return cls(start.item(), max(mean * (1 - shape), 1e-9), shape)

    def __call__(self, scores: Tensor) -> Tensor:
        excess = (scores - self.start) / self.spread
        if self.shape < 1e-6:
            return excess
        return torch.where(excess < 0, excess, (self.shape * excess.clamp_min(0)).log1p() / self.shape)


@dataclass(frozen=True)
class FittedJudge:
    """A judge ready to score; a `bench.types.Judge`.

    Args:
        models: detector -> its model, fitted on all images the judge was given.
        scales: detector -> its scale, from out-of-fold scores.
        working, strict: thresholds; an image is rejected when its score is greater.
        calibrated_on: how many real images the thresholds rest on.
        shape: (channels, height, width) of the images it takes.
    """

    models: dict[str, Model]
    scales: dict[str, Scale]
    working: float
    strict: float
    calibrated_on: int
    shape: tuple[int, ...]

    def score(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] -> [N] float64 on the CPU, the largest score of any detector.

        Raises:
            NonFiniteError: a pixel is NaN or infinite.
            ValueError: images of another shape.
        """
        return torch.stack(list(self.scores_by_detector(images).values())).amax(dim=0)

    def oddest(self, images: Tensor) -> list[str]:
        """The detector whose score is the judge's, for each image: why it was rejected; raises as `score`."""
        scores = self.scores_by_detector(images)
        names = list(scores)
        return [names[index] for index in torch.stack(list(scores.values())).argmax(dim=0).tolist()]

    def scores_by_detector(self, images: Tensor) -> dict[str, Tensor]:
        """Each detector's score on the common scale -> [N] float64; raises as `score`."""
        if images.dim() != 4 or images.shape[1:] != self.shape:
            raise ValueError(f"the judge was fitted on images {self.shape}; got {tuple(images.shape)}")
        images = _finite(images)
        return {
            name: self.scales[name](model.score(_rows(name, images)).double()) for name, model in self.models.items()
        }


def fit_judge(images: Tensor, labels: Tensor, *, detectors: Sequence[str] = TRAINING, seed: int) -> FittedJudge:
    """Fit detectors on real images and calibrate them jointly on out-of-fold scores.

    Args:
        images: [N, C, H, W] in [0, 1], real.
        labels: [N], at least `FOLDS` images of each class.
        detectors: names from `DETECTORS`.
        seed: of the folds, and of the axes of very large images.

    Raises:
        NonFiniteError: a pixel is NaN or infinite.
        BadInputError: a class has too few images for cross-validation.
    """
    images, labels = _finite(images), labels.cpu()
    smallest = int(labels.unique(return_counts=True)[1].min())
    if smallest < FOLDS:
        raise BadInputError(
            f"a class has {smallest} images for the judge; expected at least {FOLDS}: add images of that class"
        )
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels))
    models, scales, joint = {}, {}, torch.full((len(images),), -math.inf, dtype=torch.float64)
    # NumPy's own threads, like torch's: two pools on the same cores stall each other, and sums must repeat.
    with threadpool_limits(torch.get_num_threads()):
        for name in detectors:
            rows, model = _rows(name, images), DETECTORS[name].model
            scores = _out_of_fold(model, rows, labels, folds, seed)
            models[name], scales[name] = model().fit(rows, labels, seed), Scale.of(scores)
            joint = torch.maximum(joint, scales[name](scores))
    working, strict = thresholds(joint)
    return FittedJudge(models, scales, working, strict, len(images), tuple(images.shape[1:]))


def training_judge(images: Tensor, labels: Tensor, *, seed: int) -> FittedJudge:
    """The judge that defenses may use, to be fitted on half A."""
    return fit_judge(images, labels, detectors=TRAINING, seed=seed)


def measuring_judge(images: Tensor, labels: Tensor, *, seed: int) -> FittedJudge:
    """The judge that decides outcomes, to be fitted on half B; it has detectors that no defense can reach."""
    return fit_judge(images, labels, detectors=MEASURING, seed=seed)


def thresholds(scores: Tensor) -> tuple[float, float]:
    """Working and strict threshold from the scores of held-out real images [N].

    Conformal: whatever the distribution, a new real image exceeds them with a chance of at most 1% and 0.1%
    (Vovk et al., 2005). With fewer than `ALL_BELOW` images strict is their maximum.
    """
    ranked, n = scores.sort().values, len(scores)
    strict = n if n < ALL_BELOW else min(math.ceil(STRICT * (n + 1)), n)
    return ranked[min(math.ceil(WORKING * (n + 1)), n) - 1].item(), ranked[strict - 1].item()


def _out_of_fold(model: Callable[[], Model], rows: Tensor, labels: Tensor, folds: Sequence, seed: int) -> Tensor:
    """Every row scored by a model that did not see it -> [N] float64."""
    scores = torch.zeros(len(rows), dtype=torch.float64)
    for train, held_out in folds:
        scores[held_out] = model().fit(rows[train], labels[train], seed).score(rows[held_out]).double()
    return scores


def _rows(name: str, images: Tensor) -> Tensor:
    return torch.cat([DETECTORS[name].view(chunk) for chunk in images.split(CHUNK)])


def _finite(images: Tensor) -> Tensor:
    images = images.detach().cpu().float()
    if not torch.isfinite(images).all():
        bad = int((~torch.isfinite(images)).flatten(1).any(dim=1).sum())
        raise NonFiniteError(f"{bad} of {len(images)} images hold pixels that are not finite")
    return images
