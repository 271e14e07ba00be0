"""An attack's images -> outcomes: round, predict in float32 in eval mode, count, judge again.

The harness decides success here, and attacks use `reached` to know when to stop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bench.arithmetic import plain_float32
from bench.errors import NonFiniteError
from bench.types import ImageSpec, Judge, Outcome, ThreatModel, lit_pixels

CHUNK = 2048
NEARLY = 0.06  # of a probability, short of p: asked about alone, since a batch may sway it by less than checks can tell
OUTCOMES = tuple(Outcome)


@dataclass(frozen=True)
class Verified:
    """Images as the harness saw them; every field is on the CPU.

    Args:
        images: [N, C, H, W] float32 on the value grid.
        targets: [N] real classes.
        probability: [N] softmax probability of the target over all outputs; of a sparse image just short of p the
            larger of two, in the batch and alone.
        pixels: [N] lit pixels.
        score: [N] the judge's score, NaN-free.
        outcome: [N] index into `OUTCOMES`.
    """

    images: Tensor
    targets: Tensor
    probability: Tensor
    pixels: Tensor
    score: Tensor
    outcome: Tensor

    def is_(self, *outcomes: Outcome) -> Tensor:
        """Which images have one of these outcomes -> [N] bool."""
        wanted = torch.tensor([OUTCOMES.index(o) for o in outcomes])
        return torch.isin(self.outcome, wanted)

    def counts(self) -> dict[str, int]:
        return {str(o): int((self.outcome == i).sum()) for i, o in enumerate(OUTCOMES)}

    def __getitem__(self, index: Tensor) -> Verified:
        return Verified(**{name: value[index] for name, value in vars(self).items()})


def logits_of(network: nn.Module, images: Tensor, *, gradients: bool = False) -> Tensor:
    """Float32 logits on the CPU, in eval mode, in chunks -> [N, K + F].

    Args:
        network: images to K + F logits.
        images: [N, C, H, W].
        gradients: whether the network is run as an attack with gradients runs it; nothing keeps them.

    Raises:
        NonFiniteError: a logit is NaN or infinite.
    """
    network.eval()
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    with torch.set_grad_enabled(gradients):
        parts = []
        for chunk in images.split(CHUNK):
            plain_float32()
            shown = chunk.float().to(device, copy=True).requires_grad_(gradients)
            parts.append(network(shown).detach().float().cpu())
    logits = torch.cat(parts) if parts else torch.zeros(0, 1)
    if not torch.isfinite(logits).all():
        bad = int((~torch.isfinite(logits)).any(dim=1).sum())
        raise NonFiniteError(f"the network's logits are not finite for {bad} of {len(images)} images")
    return logits


def alone(network: nn.Module, images: Tensor) -> Tensor:
    """Logits of images that are asked about one by one -> [N, K + F]."""
    return torch.cat([logits_of(network, image) for image in images.split(1)])


def reached(logits: Tensor, images: Tensor, targets: Tensor, threat: ThreatModel) -> Tensor:
    """Which rounded images are confident and sparse, given their logits -> [N] bool.

    The one test of success short of the judge; attacks stop on it.
    """
    probability = target_probability(logits, targets)
    return (probability >= threat.p_of(targets)) & (lit_pixels(images) <= threat.k)


def target_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """Softmax probability of each target over all outputs -> [N] float32."""
    return logits.float().softmax(dim=1).gather(1, targets[:, None]).squeeze(1)


def verify(
    network: nn.Module, spec: ImageSpec, images: Tensor, targets: Tensor, threat: ThreatModel, judge: Judge
) -> Verified:
    """Decide what became of an attack's images.

    Args:
        network: the network they were made to fool.
        spec: the facts of its images; images are clipped and rounded to its value grid first.
        images: [N, C, H, W].
        targets: [N] real classes.
        threat: when an image is confident and sparse.
        judge: the measuring judge.

    Raises:
        NonFiniteError: images, logits or scores that are not finite.
        ValueError: shapes that don't fit.
    """
    if images.shape != (len(targets), *spec.shape):
        raise ValueError(f"images {tuple(images.shape)}; expected {(len(targets), *spec.shape)}")
    if not torch.isfinite(images).all():
        raise NonFiniteError("the attack returned pixels that are not finite")
    images, targets = spec.round(images.detach().cpu()), targets.cpu()
    logits = logits_of(network, images)
    probability = target_probability(logits, targets) if len(targets) else torch.zeros(0)
    pixels, short = lit_pixels(images), threat.p_of(targets) - probability
    nearly = ((short > 0) & (short < NEARLY) & (pixels <= threat.k)).nonzero().squeeze(1)
    if len(nearly):
        asked_alone = target_probability(alone(network, images[nearly]), targets[nearly])
        probability[nearly] = torch.maximum(probability[nearly], asked_alone)
    score = judge.score(images).cpu().double()
    if not torch.isfinite(score).all():
        raise NonFiniteError("the judge's scores are not finite")
    undecided = torch.full((len(targets),), OUTCOMES.index(Outcome.NEITHER))
    return rejudged(Verified(images, targets, probability, pixels, score, undecided), threat, judge)


def rejudged(found: Verified, threat: ThreatModel, judge: Judge) -> Verified:
    """The same images and figures under a threat model, say with another k: outcomes anew, by the thresholds alone."""
    confident, sparse = found.probability >= threat.p_of(found.targets), found.pixels <= threat.k
    both = confident & sparse
    outcome = torch.full_like(found.outcome, OUTCOMES.index(Outcome.NEITHER))
    for name, holds in (
        (Outcome.UNCONFIDENT, sparse & ~confident),
        (Outcome.DENSE, confident & ~sparse),
        (Outcome.IN_DISTRIBUTION, both),
        (Outcome.BORDERLINE, both & (found.score > judge.working)),
        (Outcome.FOOLING, both & (found.score > judge.strict)),
    ):
        outcome[holds] = OUTCOMES.index(name)
    return replace(found, outcome=outcome)
