"""Plain supervised training: the undefended control and network B."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.materials.split import Split

IMAGES_SEEN = 200_000
LEAST_EPOCHS, MOST_EPOCHS = 5, 100
LEAST_BATCH, MOST_BATCH = 16, 128

OnBatch = Callable[[int, float, Tensor, Tensor], None]
"""(step from 0, loss, logits [N, outputs], labels [N]): called after every optimiser step."""

OnEpoch = Callable[[int, nn.Module], None]
"""(epoch from 0, the network): called after every epoch; the mode it leaves the network in does not matter."""


def default_epochs(images: int) -> int:
    """Epochs that let a small data set train long enough and a large one stay quick."""
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, round(IMAGES_SEEN / max(1, images))))


def default_batch(images: int) -> int:
    """Images a batch: small data sets take small ones, for enough steps in an epoch."""
    return min(MOST_BATCH, max(LEAST_BATCH, images // 20))


def train_classifier(
    network: nn.Module,
    train: Split,
    *,
    generator: torch.Generator,
    epochs: int,
    batch_size: int | None = None,
    learning_rate: float = 4e-3,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> nn.Module:
    """Train in place with Adam and a cosine schedule; returned in eval mode.

    Args:
        network: images [N, C, H, W] in [0, 1] to logits; with fake classes, labels stay below the real ones.
        train: images and labels, on the CPU.
        generator: draws the batches, on the CPU; the same state gives the same weights.
        epochs: how often every image is seen.
        batch_size: `default_batch` of the images, if None.

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
    step = 0
    for epoch in range(epochs):
        network.train()
        for index in torch.randperm(len(train), generator=generator).split(batch_size):
            batch = train[index]
            labels = batch.labels.to(device)
            logits = network(batch.images.to(device))
            loss = cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if on_batch is not None:
                on_batch(step, loss.item(), logits.detach(), labels)
            step += 1
        if on_epoch is not None:
            on_epoch(epoch, network)
    return network.eval()
