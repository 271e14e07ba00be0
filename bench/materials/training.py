"""The one training loop: real images, and fakes beside them where a defense teaches some."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from bench.materials.split import Split
from bench.types import ImageSpec

IMAGES_SEEN = 200_000
LEAST_EPOCHS, MOST_EPOCHS = 5, 100
LEAST_BATCH, MOST_BATCH = 16, 128

OnBatch = Callable[[Tensor, Tensor, Tensor], None]
"""(logits [N, outputs], labels [N], loss of each image [N]): called after every optimiser step."""

OnEpoch = Callable[[nn.Module], None]
"""(the network): called after every epoch; the mode it leaves the network in does not matter."""


def default_epochs(images: int) -> int:
    """Epochs that let a small data set train long enough and a large one stay quick."""
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, round(IMAGES_SEEN / max(1, images))))


def default_batch(images: int) -> int:
    """Images a batch: small data sets take small ones, for enough steps in an epoch."""
    return min(MOST_BATCH, max(LEAST_BATCH, images // 20))


def default_shift(spec: ImageSpec) -> int:
    """Pixels by which an image may be moved and still be what it was: none on very small ones."""
    return max(spec.shape[1:]) // 14


def train_classifier(
    network: nn.Module,
    train: Split,
    *,
    generator: torch.Generator,
    epochs: int,
    fakes: Sequence[Split] = (),
    fake_share: float = 0.5,
    batch_size: int | None = None,
    learning_rate: float = 4e-3,
    most_shift: int = 0,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> nn.Module:
    """Train in place with Adam and a cosine schedule; returned in eval mode.

    Args:
        network: images [N, C, H, W] in [0, 1] to logits.
        train: real images and labels, on the CPU; an epoch sees each once.
        generator: draws the batches, on the CPU; the same state gives the same weights.
        epochs: how often every real image is seen.
        fakes: sets of fakes with their labels, replayed beside the real images; empty ones are left out.
        fake_share: fakes a batch, as a share of its real images, divided evenly among the sets.
        batch_size: real images a batch; `default_batch` of the images, if None.
        most_shift: pixels by which real images are shifted at random, each way, before they are seen.

    Raises:
        ValueError: nothing to train on.
    """
    if len(train) == 0 or epochs < 1:
        raise ValueError(f"{len(train)} images, {epochs} epochs; expected at least one of each")
    device = next(network.parameters()).device
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    batch_size = batch_size or default_batch(len(train))
    steps = epochs * -(-len(train) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    replays = [Replay(part, generator) for part in fakes if len(part)]
    each = max(1, round(batch_size * fake_share / len(replays))) if replays else 0
    for _ in range(epochs):
        network.train()
        for index in torch.randperm(len(train), generator=generator).split(batch_size):
            real = train[index]
            if most_shift:
                real = Split(shifted(real.images, most_shift, generator), real.labels)
            parts = [real, *(replay.take(each) for replay in replays)]
            labels = torch.cat([part.labels for part in parts]).to(device)
            logits = network(torch.cat([part.images for part in parts]).to(device))
            loss = cross_entropy(logits, labels, reduction="none")
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            schedule.step()
            if on_batch is not None:
                on_batch(logits.detach(), labels, loss.detach())
        if on_epoch is not None:
            on_epoch(network)
    return network.eval()


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each image [N, C, H, W] moved by up to `most` pixels down or up and right or left; what leaves is lost."""
    height, width = images.shape[2:]
    padded = pad(images, (most, most, most, most))
    down, right = torch.randint(0, 2 * most + 1, (2, len(images), 1, 1), generator=generator)
    rows = (down + torch.arange(height).view(1, -1, 1)).expand(-1, -1, width)
    columns = (right + torch.arange(width)).expand(-1, height, -1)
    each = torch.arange(len(images)).view(-1, 1, 1)
    return padded[each, :, rows, columns].movedim(-1, 1)


class Replay:
    """Endless draws from a set: every image comes once before any comes again."""

    def __init__(self, split: Split, generator: torch.Generator):
        self.split = split
        self.generator = generator
        self._order = torch.zeros(0, dtype=torch.long)

    def take(self, count: int) -> Split:
        while len(self._order) < count:
            self._order = torch.cat([self._order, torch.randperm(len(self.split), generator=self.generator)])
        index, self._order = self._order[:count], self._order[count:]
        return self.split[index]
