"""The one training loop: real images, and fakes beside them where a defense teaches some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, pad

from bench.materials.split import Split
from bench.types import ImageSpec

IMAGES_SEEN = 200_000
LEAST_EPOCHS, MOST_EPOCHS = 5, 100
LEAST_BATCH, MOST_BATCH = 16, 128
FAKE_SHARE = 0.5  # fakes a batch, beside its real images

TURN, SHEAR, TAUT, MOVE = 0.2, 0.15, 0.1, 0.12  # the most by which `warped` warps: radians, and shares of half a side

OnBatch = Callable[[Tensor, Tensor, Tensor], None]
"""(logits [N, outputs], labels [N], loss of each image [N]): called after every optimiser step.

Unlabelled images are not among the N.
"""

OnEpoch = Callable[[nn.Module], None]
"""(the network): called after every epoch; the mode it leaves the network in does not matter."""

Alter = Callable[[nn.Module, Split, float], Tensor]
"""(the network, real images of a batch, the share of the training that is over) -> what is seen instead of them,
[N, C, H, W], on any device."""


@dataclass(frozen=True)
class Unlabelled:
    """Images of no class, from which every batch learns beside its labelled ones.

    Args:
        draw: (the network, real images of the batch) -> [M, C, H, W], on any device.
        loss: their logits [M, outputs] -> [M], what is to become small.
        weight: of the mean of that, beside the mean loss of the labelled images.
    """

    draw: Callable[[nn.Module, Split], Tensor]
    loss: Callable[[Tensor], Tensor]
    weight: float


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
    fake_share: float = FAKE_SHARE,
    unlabelled: Unlabelled | None = None,
    alter: Alter | None = None,
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
        unlabelled: images without a label, beside the real ones and the fakes.
        alter: what becomes of the real images of a batch before they are seen, after any shift.
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
    replay = mixed(fakes, batch_size * fake_share, generator)
    for _ in range(epochs):
        network.train()
        for index in torch.randperm(len(train), generator=generator).split(batch_size):
            real = train[index]
            if most_shift:
                real = Split(shifted(real.images, most_shift, generator), real.labels)
            if alter is not None:
                real = Split(alter(network, real, schedule.last_epoch / steps), real.labels)
            parts = [real, *replay()]
            labels = torch.cat([part.labels.to(device) for part in parts])
            images = [part.images.to(device) for part in parts]
            if unlabelled is not None:
                images.append(unlabelled.draw(network, real).to(device))
            outputs = network(torch.cat(images))
            logits = outputs[: len(labels)]
            loss = cross_entropy(logits, labels, reduction="none")
            total = loss.mean()
            if unlabelled is not None:
                total = total + unlabelled.weight * unlabelled.loss(outputs[len(labels) :]).mean()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            schedule.step()
            if on_batch is not None:
                on_batch(logits.detach(), labels, loss.detach())
        if on_epoch is not None:
            on_epoch(network)
    return network.eval()


def to_uniform(logits: Tensor) -> Tensor:
    """Cross-entropy of the uniform distribution over all outputs: [N, outputs] -> [N]; least, log(outputs), at it."""
    return -logits.log_softmax(dim=1).mean(dim=1)


def mixed(sets: Sequence[Split], count: float, generator: torch.Generator) -> Callable[[], list[Split]]:
    """A function that draws about `count` images at each call, evenly from all sets that aren't empty."""
    replays = [Replay(part, generator) for part in sets if len(part)]
    each = max(1, round(count / len(replays))) if replays else 0
    return lambda: [replay.take(each) for replay in replays]


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each image [N, C, H, W] moved by up to `most` pixels down or up and right or left; what leaves is lost."""
    height, width = images.shape[2:]
    padded = pad(images, (most, most, most, most))
    down, right = torch.randint(0, 2 * most + 1, (2, len(images), 1, 1), generator=generator)
    rows = (down + torch.arange(height).view(1, -1, 1)).expand(-1, -1, width)
    columns = (right + torch.arange(width)).expand(-1, height, -1)
    each = torch.arange(len(images)).view(-1, 1, 1)
    return padded[each, :, rows, columns].movedim(-1, 1)


def warped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image [N, C, H, W] turned, sheared, stretched and moved a little, as another hand would have drawn it."""
    turn, shear, *rest = (torch.rand(len(images), 6, generator=generator) * 2 - 1).unbind(dim=1)
    wide, high, right, down = (1 + TAUT * rest[0], 1 + TAUT * rest[1], MOVE * rest[2], MOVE * rest[3])
    turn = TURN * turn
    rows = [turn.cos() * wide, SHEAR * shear - turn.sin(), right, turn.sin(), turn.cos() * high, down]
    grid = affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), list(images.shape), align_corners=False)
    return grid_sample(images, grid, align_corners=False)


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
