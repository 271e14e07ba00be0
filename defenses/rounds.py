"""What defenses share: training on real data with fakes beside it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.materials.split import Split
from bench.task import Recorder

BATCH = 128
LEARNING_RATE = 2e-3


def train_epochs(
    network: nn.Module,
    real: Split,
    new: Split,
    past: Split,
    *,
    epochs: int,
    generator: torch.Generator,
    recorder: Recorder,
    fake_share: float = 0.5,
) -> None:
    """Train in place with Adam and a cosine schedule; every batch holds real images and, where there are any, fakes.

    Args:
        network: images [N, C, H, W] to logits.
        real: real images; an epoch sees each once.
        new: this round's fakes with their labels; may be empty.
        past: the fakes of all past rounds, replayed; may be empty.
        epochs: passes over the real images.
        generator: CPU; draws every batch.
        recorder: hears of every batch and epoch.
        fake_share: fakes per batch, as a share of the real images in it, at most.
    """
    device = next(network.parameters()).device
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    steps = epochs * -(-len(real) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    fakes = [_drawn(part, generator) for part in (new, past) if len(part)]
    count = int(BATCH * fake_share) // max(1, len(fakes))
    for _ in range(epochs):
        network.train()
        for index in torch.randperm(len(real), generator=generator).split(BATCH):
            parts = [real[index], *(next(draw)(count) for draw in fakes)]
            images = torch.cat([part.images for part in parts]).to(device)
            labels = torch.cat([part.labels for part in parts]).to(device)
            logits = network(images)
            loss = cross_entropy(logits, labels, reduction="none")
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            schedule.step()
            recorder.batch(logits, labels, loss)
        recorder.epoch(network)
    network.eval()


def _drawn(split: Split, generator: torch.Generator) -> Iterator:
    """Endless draws from a set: every image comes once before any comes again."""
    order: Tensor = torch.zeros(0, dtype=torch.long)

    def take(count: int) -> Split:
        nonlocal order
        while len(order) < count:
            order = torch.cat([order, torch.randperm(len(split), generator=generator)])
        index, order = order[:count], order[count:]
        return split[index]

    while True:
        yield take
