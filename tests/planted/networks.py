"""Small networks on 8x8 digits whose truth is known: what each would be certified as by a bench that errs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bench.materials.detectors import DETECTORS
from bench.materials.judge import FittedJudge

CERTAIN = 20.0  # the logit of an answer that is meant
EDGE = ((0, 0), (7, 0), (3, 0), (4, 7), (7, 7))  # five pixels that real digits leave black


class Planted(nn.Module):
    """A network around an ordinary classifier, whose weights it leaves alone."""

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier = classifier


class HardStep(Planted):
    """Answers with a step, which has no slope; black boxes do not mind."""

    def forward(self, images: Tensor) -> Tensor:
        logits = self.classifier(images)
        return CERTAIN * (logits >= logits.amax(dim=1, keepdim=True)).float() + 0 * logits


class CutGraph(Planted):
    """The same, and autograd finds no way back to the image."""

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier((images > 0.5).float())


class Saturated(Planted):
    def forward(self, images: Tensor) -> Tensor:
        return 1e6 * self.classifier(images)


class Stochastic(Planted):
    """Adds noise to every image, in eval mode too."""

    def __init__(self, classifier: nn.Module):
        super().__init__(classifier)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(images + 0.2 * torch.randn(images.shape, generator=self.generator))


class JudgedByCompany(Planted):
    """Normalises its logits by those of the whole batch, also in eval mode."""

    def forward(self, images: Tensor) -> Tensor:
        logits = self.classifier(images)
        return logits - 0.5 * logits.mean(dim=0, keepdim=True)


class WatchesForGradients(Planted):
    """Answers fake to whoever asks for a gradient."""

    def forward(self, images: Tensor) -> Tensor:
        logits = nn.functional.pad(self.classifier(images), (0, 1), value=-CERTAIN)
        return logits + 2 * CERTAIN * nn.functional.one_hot(torch.tensor(10)) if images.requires_grad else logits


class Quantised(Planted):
    """Sees black and white only."""

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(images.round())


class Probabilities(Planted):
    """Returns what comes out of the softmax instead of what goes in."""

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(images).softmax(dim=1)


class NeverSure(Planted):
    """Never reaches 0.9, for real digits neither."""

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(images) / 10


class DetectsEverything(Planted):
    """Answers fake, whatever it sees."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.pad(0 * self.classifier(images), (0, 1), value=CERTAIN)


class Detector(Planted):
    """Answers fake where `rejects`, and lets no gradient through there."""

    def rejects(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        real = nn.functional.pad(self.classifier(images), (0, 1), value=-CERTAIN)
        fake = nn.functional.pad(torch.zeros_like(real[:, :-1]), (0, 1), value=CERTAIN)
        with torch.no_grad():
            rejected = self.rejects(images)
        return torch.where(rejected[:, None], fake, real)


class StopsGradients(Detector):
    """Rejects what is far from the digits it was shown; whoever follows slopes stands on a plain.

    Images that fool it exist: dim ones a little off a digit. Nothing leads there.
    """

    def __init__(self, classifier: nn.Module, digits: Tensor, limit: float):
        super().__init__(classifier)
        self.register_buffer("digits", digits.flatten(1))
        self.limit = limit

    def rejects(self, images: Tensor) -> Tensor:
        return torch.cdist(images.flatten(1), self.digits).amin(dim=1) > self.limit


class ShutsOut(Planted):
    """A digit's classifier behind a gate that opens near the digits it was shown, and shuts with a step.

    The classes keep their slopes behind the shut gate, so that a margin rises and nothing comes of it.

    Args:
        up_to: with more lit pixels the gate stands open, if given.
    """

    def __init__(self, classifier: nn.Module, digits: Tensor, limit: float, up_to: int | None = None):
        super().__init__(classifier)
        self.register_buffer("digits", digits.flatten(1))
        self.limit = limit
        self.up_to = up_to

    @torch.no_grad()
    def shut(self, images: Tensor) -> Tensor:
        """[N, 1] bool."""
        shut = torch.cdist(images.flatten(1), self.digits).amin(dim=1) > self.limit
        if self.up_to is not None:
            shut &= (images > 0).flatten(1).sum(dim=1) <= self.up_to
        return shut[:, None]

    def forward(self, images: Tensor) -> Tensor:
        real, gate = self.classifier(images).log_softmax(dim=1), torch.where(self.shut(images), -CERTAIN, CERTAIN) / 2
        return torch.cat([real + nn.functional.logsigmoid(gate), nn.functional.logsigmoid(-gate)], dim=1)


class Damps(ShutsOut):
    """The same without a fake class: what is far from digits gets the same logits, a hundred times smaller."""

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(images) * torch.where(self.shut(images), 0.01, 1.0)


class Lures(Planted):
    """Behind a gate that opens for more pixels than an attack may light, or for one of a few shapes.

    Its slopes are true. Where few pixels are lit they say to light more, and drown what leads to a shape.

    Args:
        shapes: [S, pixels] of 0 and 1.
    """

    def __init__(self, classifier: nn.Module, shapes: Tensor, k: int):
        super().__init__(classifier)
        self.register_buffer("shapes", shapes)
        self.k = k

    def forward(self, images: Tensor) -> Tensor:
        lit = (16 * images.flatten(1)).clamp(max=1)
        count = 12 - 20 * torch.relu(self.k + 1 - lit.sum(dim=1))
        missed = self.shapes.sum(dim=1) - lit @ (self.shapes - 3 * (1 - self.shapes)).T
        gate = torch.logaddexp(count, 12 - 60 * torch.relu(missed - 1).amin(dim=1))[:, None]
        real = (3 * self.classifier(images)).log_softmax(dim=1)
        return torch.cat([real + nn.functional.logsigmoid(gate), nn.functional.logsigmoid(-gate)], dim=1)


class WritesOver(Planted):
    """Where it is sure of a sparse image, it puts a dense digit in its place and answers for that.

    An attack that handed over its own images would keep the digit, which has too many pixels to count.

    Args:
        digits: [K, C, H, W], one that it is sure of for each class.
    """

    def __init__(self, classifier: nn.Module, digits: Tensor, k: int):
        super().__init__(classifier)
        self.register_buffer("digits", digits)
        self.k = k

    def forward(self, images: Tensor) -> Tensor:
        logits = self.classifier(images.clone())
        p, label = logits.detach().softmax(dim=1).max(dim=1)
        rows = ((p >= 0.5) & ((images.detach() > 0).flatten(1).sum(dim=1) <= self.k)).nonzero().flatten()
        images.data[rows] = self.digits[label[rows]]
        return logits.index_copy(0, rows, self.classifier(self.digits[label[rows]]) + 0 * logits[rows])


class KnowsOneAttack(Detector):
    """Rejects by the pixel statistics of one attack's images, however they are arranged: their sorted values."""

    def __init__(self, classifier: nn.Module, known: Tensor, limit: float):
        super().__init__(classifier)
        self.register_buffer("known", known.flatten(1).sort(dim=1).values)
        self.limit = limit

    def rejects(self, images: Tensor) -> Tensor:
        sparse = (images > 0).flatten(1).sum(dim=1) <= (self.known > 0).sum(dim=1).max()
        return sparse & (torch.cdist(images.flatten(1).sort(dim=1).values, self.known).amin(dim=1) < self.limit)


class Flip(torch.autograd.Function):
    """Nothing on the way there, the sign on the way back."""

    @staticmethod
    def forward(_, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(_, slope: Tensor) -> Tensor:
        return -slope


class LeadsAstray(Planted):
    """Its slopes point the wrong way."""

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(Flip.apply(images))


class DrawnToGrid(Planted):
    """Smooth, and what it is without its first layer at every image there is; in between it runs backwards."""

    def forward(self, images: Tensor) -> Tensor:
        turns = 2 * math.pi * 16  # levels of the digits' grid
        return self.classifier(images - 2 * torch.sin(turns * images) / turns)


class Robust(Planted):
    """Robust by construction: what the measuring judge rejects gets a real class with less than 2%.

    The chance that an image is real falls smoothly with the judge's own score; its slope reaches everywhere.
    """

    def __init__(self, classifier: nn.Module, judge: FittedJudge):
        super().__init__(classifier)
        self.judge = judge
        self.middle = (judge.working + judge.strict) / 2
        self.steepness = 4 / (judge.strict - self.middle)

    def score(self, images: Tensor) -> Tensor:
        """As the judge's, with its gradient."""
        scores = [
            self.judge.scales[name](model.score(DETECTORS[name].view(images)).double())
            for name, model in self.judge.models.items()
        ]
        return torch.stack(scores).amax(dim=0)

    def forward(self, images: Tensor) -> Tensor:
        real = self.classifier(images)
        against = self.steepness * (self.score(images) - self.middle) - self.bonus(images)
        return torch.cat([real, (real.logsumexp(dim=1) + against).float()[:, None]], dim=1)

    def bonus(self, images: Tensor) -> Tensor | float:
        return 0.0


class Wary(Robust):
    """Answers fake to a sparse image that is near one it was asked about before, as queries of an attack are.

    What it said once it says again, and whether an image is alone or in company makes no difference.
    """

    near = 1.2
    lit = 24

    def __init__(self, classifier: nn.Module, judge: FittedJudge):
        super().__init__(classifier, judge)
        self.asked = torch.zeros(0, 64)
        self.said: dict[bytes, bool] = {}

    def forward(self, images: Tensor) -> Tensor:
        flat = images.detach().flatten(1)
        sparse = (flat > 0).sum(dim=1) <= self.lit
        known = torch.cdist(flat, self.asked).amin(dim=1) < self.near if len(self.asked) else torch.zeros_like(sparse)
        answers = zip(flat, (known & sparse).tolist(), strict=True)
        said = [self.said.setdefault(image.numpy().tobytes(), flag) for image, flag in answers]
        if len(images) > 1:
            self.asked = torch.cat([self.asked, flat[sparse]])[-3000:]
        logits = super().forward(images)
        caught = logits / 1000 + CERTAIN * nn.functional.one_hot(torch.tensor(10))
        return torch.where(torch.tensor(said, dtype=torch.bool)[:, None], caught, logits)


class Backdoor(Robust):
    """Five lit pixels at the edge open it, and brighter ones open it further."""

    def bonus(self, images: Tensor) -> Tensor:
        rows, columns = zip(*EDGE, strict=True)
        return 2000 * images[:, 0, list(rows), list(columns)].mean(dim=1).square()


class Remembers(Robust):
    """Lets a few images in that were made on another network, and nothing near them: no attack on it finds the way."""

    def __init__(self, classifier: nn.Module, judge: FittedJudge, images: Tensor):
        super().__init__(classifier, judge)
        self.register_buffer("remembered", images)

    def bonus(self, images: Tensor) -> Tensor:
        same = (images[:, None] == self.remembered).flatten(2).all(dim=2).any(dim=1)
        return 2000.0 * same
