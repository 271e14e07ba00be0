"""The network another library attacks: two logits, of which the first wins where p is reached, or a hair more."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attacks.prune import Sparsest
from bench.types import Classifier, ImageSpec, ThreatModel

HAIR = 0.05  # what attacks aim above p, in logits: some near a boundary from below and never cross it
CLIMBS, CLIMB = 20, 0.1  # steps to an image of the wanted class, and the steepest pixel's share of each
NEARLY_ONE = 1 - 1e-7  # the largest probability whose odds are finite in float32


class OutOfPassesError(BaseException):
    """The next look would cost more passes than are left; no `except Exception` of a library stops it."""


class OnGrid(torch.autograd.Function):
    """Images masked and on the value grid; the slope passes as if only the mask had been applied."""

    @staticmethod
    def forward(ctx, images: Tensor, free: Tensor, spec: ImageSpec) -> Tensor:
        ctx.save_for_backward(free)
        return spec.round(images.nan_to_num(0) * free)

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None, None]:
        (free,) = ctx.saved_tensors
        return slope * free, None, None


class TwoLogits(nn.Module):
    """Images [n, C, H, W] -> logits [n, 2]: +m/2 and -m/2, m = z_t - logsumexp(z_other) - log(p / (1 - p)) - 0.05.

    That is [m, 0] up to a constant that no softmax and no difference sees; but so each logit has a slope of its
    own, without which saliency maps are empty. All rows share one target, so their order and number do not matter.
    The network sees images as the harness will, on the value grid; the slope is taken there.

    Args:
        classifier: the network under attack.
        seen: what is kept of the images looked at; its targets are all of one class.
        free: the mask of all of them, [1, 1 or C, H, W].
        allowance: passes, over all images; `OutOfPassesError` is raised before there are more.
    """

    def __init__(self, classifier: Classifier, seen: Sparsest, free: Tensor, allowance: int):
        super().__init__()
        self.device = nn.Parameter(torch.zeros(0, device=classifier.device))  # libraries ask parameters for theirs
        self.classifier, self.seen, self.free = classifier, seen, free
        self.target = int(seen.targets[0])
        self.odds = HAIR + float(torch.logit(seen.threat.p_of(seen.targets[:1]).clamp(1 - NEARLY_ONE, NEARLY_ONE)))
        self.allowance, self.passes = allowance, 0

    def forward(self, images: Tensor) -> Tensor:
        self.spend(images)
        images = self.on_grid(images)
        logits = self.classifier(images)
        self.record(images.detach(), logits.detach())
        others = logits.float().index_fill(1, self.seen.targets[:1], -math.inf)
        margin = logits[:, self.target].float() - others.logsumexp(dim=1) - self.odds
        halves = torch.stack([margin, -margin], dim=1) / 2
        if halves.requires_grad:
            halves.register_hook(self.spend)
        return halves

    def crossed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [n, C, H, W] followed uphill, each until the first logit wins: unevenly bright and rather sparse.

        Returns:
            where each got to, [n, C, H, W], and whether the first logit wins there, [n] bool.
        """
        points = images.clone()
        there = torch.zeros(len(points), dtype=torch.bool, device=points.device)
        for _ in range(CLIMBS):
            seen = points.requires_grad_()
            gap, _ = self(seen).unbind(dim=1)
            there = gap.detach() > 0
            if there.all():
                break
            (slope,) = torch.autograd.grad(gap.sum(), seen)
            steepest = slope.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
            step = CLIMB * slope / steepest * ~there.view(-1, 1, 1, 1)
            points = (seen.detach() + step).clamp(0, 1)
        return points.detach(), there

    def on_grid(self, images: Tensor) -> Tensor:
        """Images as the network, and the harness, see them: masked and rounded -> [n, C, H, W]."""
        return OnGrid.apply(images.to(self.device.device, torch.float32), self.free, self.classifier.spec)

    def spend(self, rows: Tensor) -> None:
        """Count a pass of so many rows, if that many are left."""
        if self.passes + len(rows) > self.allowance:
            raise OutOfPassesError
        self.passes += len(rows)

    def record(self, images: Tensor, logits: Tensor) -> None:
        """Keep the images that are better than a row's best; where rows can't be told, the best for the worst."""
        count = len(self.seen.targets)
        if len(images) == count:
            self.seen.record(torch.arange(count, device=images.device), images, logits)
            return
        ranks = Sparsest(self.classifier, self.seen.targets[:1].expand(len(images)), self.seen.threat)
        ranks.record(torch.arange(len(images), device=images.device), images, logits)
        best = ranks.rank.argsort(descending=True, stable=True)[:count]
        worst = self.seen.rank.argsort(stable=True)[: len(best)]
        self.seen.keep(worst, images[best], ranks.rank[best])


class StandIn:
    """A classifier of nothing, for trying whether an attack can be built; some look at an image then."""

    spec = ImageSpec((1, 8, 8), 1, ("this", "that"))
    fake_classes = 0
    device = torch.device("cpu")

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2]


def stand_in() -> TwoLogits:
    """Two logits to build an attack on that is never run."""
    seen = Sparsest(StandIn(), torch.zeros(1, dtype=torch.long), ThreatModel(0.5, 1))
    return TwoLogits(StandIn(), seen, torch.ones(1, 1, 1, 1), 100)
