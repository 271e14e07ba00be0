"""How fast `l1_sparse` is: against a plain L1-Adam attack, and against the bare passes it makes.

Run with `pytest bench/speed`. Other work on the machine slows down both sides of a ratio, so the sides take turns
and each is measured in processor time, at its fastest.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from attacks.l1_sparse import l1_sparse
from bench.meter import Meter
from bench.speed.clock import timed
from bench.types import Budget, ThreatModel
from bench.verify import logits_of, reached

THREAT = ThreatModel(0.9, 300)
BUDGET = Budget(2000)
STEPS = 1000  # of the baseline
# (images, threat, budget): what the attack mostly does, over in a few steps, and what it does on a strong network
LOADS = {
    "1000 images that fall": (1000, THREAT, BUDGET),
    "200 images that stand": (200, ThreatModel(0.9, 3), Budget(200)),
}


def targets_of(count: int) -> Tensor:
    return torch.arange(count) % 10


def attack(classifier, count: int, threat: ThreatModel = THREAT, budget: Budget = BUDGET, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return l1_sparse(classifier, targets_of(count), threat=threat, budget=budget, generator=generator)


def baseline(classifier, count: int, seed: int = 0) -> Tensor:
    """Cross-entropy to the target plus 0.1 * mean brightness, by Adam from normal noise, for 1,000 steps."""
    targets = targets_of(count)
    start = torch.randn(count, *classifier.spec.shape, generator=torch.Generator().manual_seed(seed))
    images = start.requires_grad_()
    optimizer = torch.optim.Adam([images], lr=0.5, eps=1e-4)
    for _ in range(STEPS):
        optimizer.zero_grad()
        penalty = 0.1 * images.abs().flatten(1).sum(dim=1) / images[0].numel()
        (cross_entropy(classifier(images), targets, reduction="sum") + penalty.sum()).backward()
        optimizer.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    return classifier.spec.round(images.detach())


class SizeLog:
    """A metered classifier that notes the size of every batch."""

    def __init__(self, network, spec):
        self.meter = Meter(network, spec)
        self.spec, self.device, self.fake_classes = spec, self.meter.device, self.meter.fake_classes
        self.sizes: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        return self.meter(images)


def bare_passes(classifier: Meter, sizes: list[int], images: Tensor) -> None:
    """The same passes, metered alike, and nothing else: forward, and backward to the pixels."""
    for size in sizes:
        batch = images[:size].detach().requires_grad_()
        logits = classifier(batch)
        torch.autograd.grad(logits, batch, torch.ones_like(logits))


def test_thirty_times_the_fooling_images_per_second_of_plain_l1_adam(benchmark, network, mnist):
    classifier = Meter(network, mnist.spec)

    def rate(images: Tensor) -> float:
        return reached(logits_of(network, images), images, targets_of(len(images)), THREAT).float().mean().item()

    slow = fast = float("inf")
    for _ in range(2):
        slow = min(slow, timed(lambda: baseline(classifier, 100))[0])
        fast = min(fast, *(timed(lambda: attack(classifier, 1000))[0] for _ in range(5)))
    images = benchmark.pedantic(attack, args=(classifier, 1000), rounds=5)
    ours, theirs = rate(images), rate(baseline(classifier, 100))
    figures = {
        "l1_sparse_success": ours,
        "baseline_success": theirs,
        "l1_sparse_fooling_per_second": 1000 * ours / fast,
        "baseline_fooling_per_second": 100 * theirs / slow,
        "baseline_images_per_second": 100 / slow,
    }
    ratio = figures["l1_sparse_fooling_per_second"] / max(figures["baseline_fooling_per_second"], 1e-9)
    benchmark.extra_info.update(figures, ratio=ratio)
    assert ours >= theirs
    assert 1000 * ours / fast >= 30 * 100 / slow  # even were every image of the baseline's a success
    assert ratio >= 30


def test_at_most_a_quarter_above_the_bare_passes(benchmark, network, mnist):
    images = torch.rand(1000, *mnist.spec.shape, generator=torch.Generator().manual_seed(0))
    log = SizeLog(network, mnist.spec)
    whole, bare = dict.fromkeys(LOADS, float("inf")), dict.fromkeys(LOADS, float("inf"))
    for name, load in LOADS.items():
        log.sizes.clear()
        attack(log, *load)
        sizes = list(log.sizes)
        for _ in range(9):
            whole[name] = min(whole[name], timed(lambda load=load: attack(log, *load))[0])
            bare[name] = min(bare[name], timed(lambda sizes=sizes: bare_passes(log.meter, sizes, images))[0])
        benchmark.extra_info[f"ratio, {name}"] = whole[name] / bare[name]
    ratio = sum(whole.values()) / sum(bare.values())
    benchmark.extra_info.update(ratio=ratio, bare_seconds=sum(bare.values()))
    benchmark.pedantic(lambda: [attack(log, *load) for load in LOADS.values()], rounds=3)
    assert ratio <= 1.25
