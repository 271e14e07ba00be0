"""The judge's controls: images whose truth is known, so that the judge is measured before it measures.

One that errs hides everything. Required controls that fail make criteria 1 and 8 inconclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score
from torch import Tensor

from bench.materials.judge import STRICT, WORKING, FittedJudge
from bench.materials.split import Split
from bench.record import JudgeControl
from bench.types import ImageSpec
from bench.verdict.stats import ratio

N = 500  # images of a control
REJECTED, REJECTED_BOUND = 0.99, 0.95  # of what is not real: at least that many observed, and proved
FEWEST = 59  # images that can prove REJECTED_BOUND, all of them rejected
SLACK = 3  # of real images, what is proved rejected may be that many times the nominal rate
DENSITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
BRIGHTNESSES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
TILES = 4  # a side, of images cut up for shuffling


@dataclass(frozen=True)
class Source:
    """What a control is made from: real images of the test set, the facts of an image, and chance."""

    real: Split
    spec: ImageSpec
    generator: torch.Generator

    def rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator)

    def integers(self, high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=self.generator)

    def draw(self) -> tuple[Tensor, Tensor]:
        """`N` real images and their labels, with replacement."""
        rows = self.integers(len(self.real.images), N)
        return self.real.images[rows], self.real.labels[rows]


def blank(source: Source) -> Tensor:
    """No light at all, and single pixels of any value."""
    images = torch.zeros(N, *source.spec.shape)
    values = 1 + source.integers(source.spec.levels, N, source.spec.shape[0])
    lit = source.integers(source.spec.pixels, N)
    images.flatten(2)[torch.arange(1, N), :, lit[1:]] = values[1:] / source.spec.levels
    return images


def noise(source: Source) -> Tensor:
    """Every density with every brightness, uniform values and a single one."""
    cells = list(product(DENSITIES, BRIGHTNESSES, (True, False)))
    each = -(-N // len(cells))
    images = []
    for density, brightness, uniform in cells:
        lit = (source.rand(each, 1, *source.spec.shape[1:]) < density).float()
        value = source.rand(each, *source.spec.shape) if uniform else torch.ones(each, *source.spec.shape)
        images.append(lit * value * max(brightness, 1 / source.spec.levels))
    return torch.cat(images)


def pixels_shuffled(source: Source) -> Tensor:
    """Real images with their pixels in any order."""
    images, _ = source.draw()
    order = source.rand(N, 1, source.spec.pixels).argsort(dim=2).expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, order).view_as(images)


def blocks_shuffled(source: Source, tiles: int = TILES) -> Tensor:
    """Real images cut into tiles × tiles blocks, which swap places; what doesn't divide stays at the edge."""
    images, _ = source.draw()
    channels, height, width = source.spec.shape
    h, w = max(height // tiles, 1), max(width // tiles, 1)
    rows, columns = height // h, width // w
    inner = images[:, :, : rows * h, : columns * w]
    blocks = inner.reshape(N, channels, rows, h, columns, w).transpose(3, 4).reshape(N, channels, -1, h, w)
    # A cyclic shift along a random cycle moves every block.
    cycle = source.rand(N, rows * columns).argsort(dim=1)
    order = torch.empty_like(cycle).scatter_(1, cycle, cycle.roll(1, dims=1))
    blocks = blocks.gather(2, order[:, None, :, None, None].expand_as(blocks))
    images = images.clone()
    images[:, :, : rows * h, : columns * w] = (
        blocks.reshape(N, channels, rows, columns, h, w).transpose(3, 4).reshape(inner.shape)
    )
    return images


def quarters_shuffled(source: Source) -> Tensor:
    return blocks_shuffled(source, tiles=2)


def photographs(source: Source) -> Tensor:
    """Patches of scikit-learn's photographs, seen from near and from further away."""
    channels, height, width = source.spec.shape
    photos = [torch.tensor(photo).permute(2, 0, 1).float() / 255 for photo in load_sample_images().images]
    if channels != 3:
        photos = [photo.mean(dim=0, keepdim=True).expand(channels, -1, -1) for photo in photos]
    widest = min(min(p.shape[1] / height, p.shape[2] / width) for p in photos)
    return torch.stack([_patch(photos[i % len(photos)], widest, source) for i in range(N)])


def _patch(photo: Tensor, widest: float, source: Source) -> Tensor:
    height, width = source.spec.shape[1:]
    scale = min(widest, 1.0) * max(min(widest, 8.0), 1.0) ** source.rand(1).item()
    h, w = round(height * scale), round(width * scale)
    top, left = (int(source.integers(side - size + 1, 1)) for side, size in zip(photo.shape[1:], (h, w), strict=True))
    return F.adaptive_avg_pool2d(photo[:, top : top + h, left : left + w], (height, width))


def halves_joined(source: Source) -> Tensor:
    """The left half of one real image and the right half of another, of another class where there is one."""
    images, others = _of_two_classes(source)
    middle = source.spec.shape[2] // 2
    return torch.cat([images[..., :middle], others[..., middle:]], dim=3)


def overlaid(source: Source) -> Tensor:
    """Two real images of two classes, one upon the other."""
    images, others = _of_two_classes(source)
    return torch.maximum(images, others)


def one_half(source: Source) -> Tensor:
    """The upper half of a real image or its lower, the rest dark."""
    images, _ = source.draw()
    middle = source.spec.shape[1] // 2
    rows = torch.arange(source.spec.shape[1]) < middle
    kept = rows ^ (source.integers(2, N, 1) == 1)  # [N, H]
    return images * kept[:, None, :, None]


def upside_down(source: Source) -> Tensor:
    """Real images with their rows in reverse, by which some classes stay what they are."""
    return source.draw()[0].flip(2)


def _of_two_classes(source: Source) -> tuple[Tensor, Tensor]:
    """Pairs of real images; those of one class are left out."""
    (images, labels), (others, other_labels) = source.draw(), source.draw()
    return images[labels != other_labels], others[labels != other_labels]


CONTROLS: dict[str, tuple[bool, Callable[[Source], Tensor]]] = {
    "blank": (True, blank),
    "noise": (True, noise),
    "pixels_shuffled": (True, pixels_shuffled),
    "blocks_shuffled": (True, blocks_shuffled),
    "photographs": (True, photographs),
    "quarters_shuffled": (False, quarters_shuffled),
    "halves_joined": (False, halves_joined),
    "overlaid": (False, overlaid),
    "one_half": (False, one_half),
    "upside_down": (False, upside_down),
}
"""Name -> (required, how to make its images)."""


def measure_controls(
    judge: FittedJudge,
    test: Split,
    spec: ImageSpec,
    generator: torch.Generator,
    extra: Mapping[str, Tensor],
) -> list[JudgeControl]:
    """Measure a judge on images whose truth is known.

    Args:
        judge: the one to measure.
        test: real images that it has not seen.
        spec: the facts of an image; controls are rounded to its value grid.
        generator: a CPU generator; all chance comes from it.
        extra: name -> images [N, C, H, W] that must be rejected too: what fools the undefended control
            (`by_budget`).

    Raises:
        NonFiniteError: an image holds NaN.
    """
    source = Source(test, spec, generator)
    real = judge.score(test.images)
    made = {name: (required, spec.round(build(source))) for name, (required, build) in CONTROLS.items()}
    made |= {name: (True, spec.round(images)) for name, images in extra.items()}
    rows = [_unreal(judge, name, required, judge.score(images), real) for name, (required, images) in made.items()]
    return [_real(judge, real), *rows]


def by_budget(fooling: Mapping[int, Tensor]) -> dict[str, Tensor]:
    """Name what fools the undefended control after k, the most pixels it was allowed.

    Small k fool it rarely; too few images to prove anything join those of the next k, which allows them too.

    Args:
        fooling: k -> images [N, C, H, W].
    """
    named, waiting = {}, []
    for k in sorted(fooling):
        waiting.append(fooling[k])
        if sum(map(len, waiting)) >= FEWEST or k == max(fooling):
            named[f"fools_control_k={k}"] = torch.cat(waiting)
            waiting = []
    return named


def _unreal(judge: FittedJudge, name: str, required: bool, scores: Tensor, real: Tensor) -> JudgeControl:
    n = len(scores)
    working, strict = (int((scores > threshold).sum()) for threshold in (judge.working, judge.strict))
    rate = ratio(strict, n)
    holds = n > 0 and strict >= REJECTED * n and rate.lower >= REJECTED_BOUND
    auroc = roc_auc_score([0] * len(real) + [1] * n, torch.cat([real, scores])) if n else None
    seen = f"{strict} of {n} rejected at the strict threshold"
    if not required:
        reason = f"{seen}; reported only"
    elif holds:
        reason = f"{seen}, {rate.lower:.1%} proved; at least {REJECTED:.0%} and {REJECTED_BOUND:.0%} were asked"
    elif n < FEWEST:
        reason = f"{seen}; {FEWEST} images are needed to prove {REJECTED_BOUND:.0%}: make more of them"
    else:
        reason = (
            f"{seen}, {rate.lower:.1%} proved; at least {REJECTED:.0%} and {REJECTED_BOUND:.0%} were asked: "
            "the judge takes such images for real; give it more real images, or a detector that sees these"
        )
    return JudgeControl(
        name=name,
        required=required,
        n=n,
        rejected_working=working / n if n else 0.0,
        rejected_strict=strict / n if n else 0.0,
        auroc=auroc,
        holds=holds if required else None,
        reason=reason,
    )


def _real(judge: FittedJudge, scores: Tensor) -> JudgeControl:
    n = len(scores)
    nominal = {"working": 1 - WORKING, "strict": max(1 - STRICT, 1 / (judge.calibrated_on + 1))}
    rates = {name: ratio(int((scores > getattr(judge, name)).sum()), n) for name in nominal}
    off = [name for name, rate in rates.items() if rate.lower > SLACK * nominal[name]]
    seen = ", ".join(
        f"{rate.successes} of {n} at the {name} threshold (nominal {nominal[name]:.2%})" for name, rate in rates.items()
    )
    remedy = ": the test images differ from those it was calibrated on" if off else ""
    return JudgeControl(
        name="real",
        required=True,
        n=n,
        rejected_working=rates["working"].observed or 0.0,
        rejected_strict=rates["strict"].observed or 0.0,
        auroc=None,
        holds=n > 0 and not off,
        reason=f"real images rejected: {seen}; proved at most {SLACK} times nominal was asked{remedy}",
    )
