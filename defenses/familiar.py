"""A gate that knows how far an image is from the real ones it was made of, and shuts on what is far from all of them.

A network that only multiplies and adds is sure of itself far from its data; one that measures distances is not, which
is why radial basis functions resist rubbish (Goodfellow et al., https://arxiv.org/abs/1412.6572, section 7). The
distances are of the kinds the training judge is made of, so what it can't tell from real data passes here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.harness.registry import NETWORKS
from bench.materials import views
from bench.materials.detectors import AXES, NEAREST_AXES, SMALL, whitening
from bench.materials.judge import FOLDS, Scale
from bench.materials.split import Split
from bench.materials.training import warped
from bench.types import ImageSpec, NetworkFactory
from defenses.gate import behind, counted

OPEN, SURE = 6.0, math.log(9)  # the gate's logit on what is familiar, and at a limit: 90%
STEEP = 20.0  # what a unit of oddness costs just below a limit, and the most it costs beyond
SURE_OF = (0.993, 0.988, 0.99, 0.989, 0.9995, 0.975)  # the share of unseen real images below each limit: 90% or surer
TAKEN = (0.999, 0.998, 0.998, 0.998, 0.9998, 0.997)  # the share that is more likely real than not
NEIGHBOURS = 8  # whose mean is a distance to the nearest: to be near one image is what an attack learns by heart
PLENTY = 2_400  # images from which on none is repeated, warped, to make more of them
MOST_REFERENCES, MOST_TEXTURES = 32768, 16384
SOFT = 0.01  # brightness up to which a root's slope is held back: an unlit pixel's would outshout all others
TINY = 1e-6
CHUNK = 512
PARTS = 16  # of a group of references, of which only the closest is compared at first
TEXTURES = 6  # figures of `views.texture`
DISTANCES = 5


class Familiar(nn.Module):
    """Images [N, C, H, W] in [0, 1] -> one logit [N, 1], at most OPEN; open on everything until `close`.

    It goes by how rare five distances are among real images: to the nearest real images, Euclidean and by cosine; to
    the nearest class in its own principal axes, on root pixels; to the nearest textures; and of the total brightness.
    Each has a limit, and so has their sum: an image that is a little odd in every way is odd, too. At a limit the gate
    is 90% sure, and from there on less and less, as slowly as real images get rarer: a real image that is merely
    unusual keeps its class, though not the network's confidence.
    """

    def __init__(self, spec: ImageSpec):
        super().__init__()
        size, classes = spec.shape[0] * spec.pixels, spec.real_classes
        nearest, own = min(NEAREST_AXES, size), min(AXES, size)  # as many as the judges see
        references, textures = min(MOST_REFERENCES, 32 * size), min(MOST_TEXTURES, 16 * size)
        for name, shape in {
            "frame": (size, nearest),
            "references": (references, nearest),
            "squares": (references,),
            "centre": (size,),
            "axes": (size, own),
            "means": (classes, own),
            "whitenings": (classes, own, own),
            "outside": (classes,),
            "texture_mean": (TEXTURES,),
            "texture_white": (TEXTURES, TEXTURES),
            "textures": (textures, TEXTURES),
            "glow": (2,),
            "scales": (DISTANCES, 3),
            "limits": (DISTANCES + 1,),
            "slopes": (DISTANCES + 1,),
            "closed": (),
        }.items():
            self.register_buffer(name, torch.zeros(shape))
        for unit in (self.outside, self.glow, self.scales):
            unit.fill_(1)  # it divides by them

    def forward(self, images: Tensor) -> Tensor:
        if not self.closed:
            return torch.full((len(images), 1), OPEN, device=images.device)
        excess = self._oddness(self._rarity(self._distances(images))) - self.limits
        answers = SURE - excess * torch.where(excess < 0, STEEP, self.slopes)
        return answers.amin(dim=1, keepdim=True).clamp_max(OPEN)

    def close(self) -> None:
        """From now on shut on what is odder than the limits."""
        self.closed.fill_(1)

    @torch.no_grad()
    def fit(self, real: Split, *, generator: torch.Generator) -> None:
        """Learn what real images look like; the scales and the limits come from images held out in turn.

        Args:
            real: real training images and their labels, on the CPU.
            generator: draws the folds and which images are kept as references, on the CPU.
        """
        fold = torch.randperm(len(real), generator=generator) % FOLDS
        distances = torch.zeros(len(real), DISTANCES, dtype=torch.float64)
        for index in range(FOLDS):
            self._learn(real[fold != index], generator)
            distances[fold == index] = self._of_all(real.images[fold == index])
        scales = [Scale.of(column) for column in distances.unbind(dim=1)]
        self.scales.copy_(torch.tensor([(scale.start, scale.spread, scale.shape) for scale in scales]))
        odd = self._oddness(self._rarity(distances.float().to(self.scales.device)))
        limits, ends = (_quantiles(odd, shares) for shares in (SURE_OF, TAKEN))
        self.limits.copy_(limits)
        self.slopes.copy_((SURE / (ends - limits)).clamp_max(STEEP))
        self._learn(real, generator)

    def _of_all(self, images: Tensor) -> Tensor:
        chunks = images.split(CHUNK)
        return torch.cat([self._distances(chunk.to(self.limits.device)) for chunk in chunks]).double().cpu()

    def _distances(self, images: Tensor) -> Tensor:
        """The five of each image, each in units of its own -> [N, 5]."""
        euclidean, cosine = self._nearest(images.flatten(1))
        glow = (views.brightness(images).squeeze(1) - self.glow[0]).abs() / self.glow[1]
        return torch.stack([euclidean, cosine, self._class_distance(images), self._texture(images), glow], dim=1)

    def _nearest(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Distance to the nearest references, Euclidean and between directions; which those are has no gradient."""
        own, inside, faint = rows.square().sum(dim=1), rows @ self.frame, views.FAINT**2
        lengths = (self.squares + faint).sqrt()
        with torch.no_grad():
            products = inside @ self.references.T
            near, along = _closest(products - self.squares / 2), _closest(products.add_(faint).div_(lengths))
        euclidean = _apart(own, _products(inside, self.references[near]), self.squares[near])
        cosines = (_products(inside, self.references[along]) + faint) / lengths[along]
        cosine = cosines.mean(dim=1) / (own + faint).sqrt()
        return euclidean, (2 - 2 * cosine).clamp_min(TINY).sqrt()

    def _class_distance(self, images: Tensor) -> Tensor:
        inside, left = self._framed(_roots(images))
        white = torch.einsum("ncr,crs->ncs", inside[:, None] - self.means, self.whitenings)
        return (white.square().sum(dim=2) + left[:, None] / self.outside).amin(dim=1).clamp_min(TINY).sqrt()

    def _texture(self, images: Tensor) -> Tensor:
        look = (views.texture(images) - self.texture_mean) @ self.texture_white
        squares = self.textures.square().sum(dim=1)
        with torch.no_grad():
            near = _closest(look @ self.textures.T - squares / 2)
        return _apart(look.square().sum(dim=1), _products(look, self.textures[near]), squares[near])

    def _rarity(self, distances: Tensor) -> Tensor:
        """`Scale` of each distance; below the start of its tail negative."""
        start, spread, shape = self.scales.unbind(dim=1)
        excess, shape = (distances - start) / spread, shape.clamp_min(TINY)
        return torch.where(excess < 0, excess, (shape * excess.clamp_min(0)).log1p() / shape)

    def _oddness(self, rarity: Tensor) -> Tensor:
        """The five, and their sum [N, 5] -> [N, 6]; what is not rare at all does not make up for what is."""
        rarity = rarity.clamp_min(0)
        return torch.cat([rarity, rarity.sum(dim=1, keepdim=True)], dim=1)

    def _framed(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows along the principal axes [N, R], and the squared length of what those leave [N]."""
        centred = rows - self.centre
        inside = centred @ self.axes
        return inside, (centred.square().sum(dim=1) - inside.square().sum(dim=1)).clamp_min(0)

    def _learn(self, real: Split, generator: torch.Generator) -> None:
        """Everything but scales and limits, from real images and, where they are few, warped copies of them."""
        copies = -(-PLENTY // len(real))
        images = torch.cat([real.images, *(warped(real.images, generator) for _ in range(copies - 1))])
        real = Split(images, real.labels.repeat(copies))
        order = torch.randperm(len(real), generator=generator)
        some, more = (order.repeat(-(-n // len(order)))[:n] for n in (len(self.squares), len(self.textures)))
        pixels = real.images.flatten(1)
        self.frame.copy_(_principal(pixels, self.frame.shape[1]))
        self.references.copy_(pixels[some] @ self.frame.cpu())
        self.squares.copy_(pixels[some].square().sum(dim=1))
        self._learn_classes(_roots(real.images), real.labels)
        looks = views.texture(real.images)
        deviation = looks.std(dim=0).clamp_min(SMALL)
        white = whitening((looks - looks.mean(dim=0)) / deviation) / deviation[:, None]
        self.texture_mean.copy_(looks.mean(dim=0))
        self.texture_white.copy_(white)
        self.textures.copy_((looks[more] - looks.mean(dim=0)) @ white)
        glow = views.brightness(real.images)
        self.glow.copy_(torch.stack([glow.mean(), glow.std().clamp_min(SMALL)]))

    def _learn_classes(self, rows: Tensor, labels: Tensor) -> None:
        self.centre.copy_(rows.mean(dim=0))
        axes = _principal(rows - rows.mean(dim=0), self.axes.shape[1])
        self.axes.copy_(axes)
        inside = (rows - rows.mean(dim=0)) @ axes
        left = ((rows - rows.mean(dim=0)).square().sum(dim=1) - inside.square().sum(dim=1)).clamp_min(0)
        beyond = max(1, rows.shape[1] - axes.shape[1])
        for label in range(len(self.means)):
            own = labels == label
            self.means[label] = inside[own].mean(dim=0)
            self.whitenings[label] = whitening(inside[own] - inside[own].mean(dim=0))
            self.outside[label] = (left[own].mean() / beyond).clamp_min(TINY)


def _quantiles(columns: Tensor, shares: Sequence[float]) -> Tensor:
    """Of each column its own: [N, D] and D shares -> [D]."""
    return torch.stack([column.quantile(share) for column, share in zip(columns.unbind(dim=1), shares, strict=True)])


def _closest(closeness: Tensor) -> Tensor:
    """The indices of the NEIGHBOURS closest: [N, R] -> [N, K]; R is a multiple of PARTS.

    Of the groups of PARTS, those with the highest peaks hold them all, so that few are sorted.
    """
    groups = closeness.unflatten(1, (PARTS, -1))
    peaks = groups.amax(dim=1)
    best = peaks.topk(min(NEIGHBOURS, peaks.shape[1]), dim=1).indices
    members = groups.gather(2, best[:, None].expand(-1, PARTS, -1)).flatten(1)
    chosen = members.topk(min(NEIGHBOURS, members.shape[1]), dim=1).indices
    return chosen // best.shape[1] * peaks.shape[1] + best.gather(1, chosen % best.shape[1])


def _products(rows: Tensor, others: Tensor) -> Tensor:
    """Of each row with its own others: [N, D] and [N, K, D] -> [N, K]."""
    return torch.einsum("nd,nkd->nk", rows, others)


def _apart(own: Tensor, products: Tensor, squares: Tensor) -> Tensor:
    """Root mean squared distance of rows from K others each: own squares [N], products and squares [N, K] -> [N]."""
    return (own - (2 * products - squares).mean(dim=1)).clamp_min(TINY).sqrt()


def _roots(images: Tensor) -> Tensor:
    """Root pixels at length 1, as the judge's: [N, C, H, W] -> [N, D].

    Their slope is that of softer roots, finite at 0, so that an attack that follows it gets somewhere: a gate that
    can't be attacked only seems to hold.
    """
    soft = (images + SOFT).sqrt()
    roots = soft + (images.clamp_min(0).sqrt() - soft).detach()
    return F.normalize(F.pad(roots.flatten(1), (0, 1), value=views.FAINT))[:, :-1]


def _principal(rows: Tensor, count: int) -> Tensor:
    """The directions [D, count] along which rows [N, D] are longest."""
    rows = rows.double()
    return torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -count:].float()


def familiar(factory: NetworkFactory) -> NetworkFactory:
    """A shape: an architecture behind distances, and all of that behind a count, which is all that a proof can read.

    The last two outputs are the gates' fake classes, the count's the very last.
    """
    return counted(behind(Familiar)(factory))


def familiar_network(name: str) -> NetworkFactory:
    """`--network familiar:NAME`, for the weights of such a network.

    Raises:
        BadInputError: no network has that name.
    """
    return familiar(NETWORKS.load(name))
