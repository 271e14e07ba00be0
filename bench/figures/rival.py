"""The plain gate that `sparse_gate`'s is measured against: as wide, trained the same way, on raw pixels."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import softplus

from bench.materials.data import Data
from bench.materials.networks import build
from bench.materials.training import Replay, default_shift, shifted
from bench.proof.bounds import upper_logit
from bench.seeds import derive, generator
from bench.types import ImageSpec
from defenses.gate import BATCH, HIDDEN, LEARNING_RATE, OPEN, REAL_WEIGHT, SHUT, STEEP, STEPS, oddities


def plain_gate(spec: ImageSpec, outputs: int) -> nn.Sequential:
    """An untrained gate without a saturating first layer: images [N, C, H, W] in [0, 1] -> logits [N, outputs]."""
    inputs = spec.shape[0] * spec.pixels
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 1 + HIDDEN), nn.ReLU(), nn.Linear(1 + HIDDEN, outputs))


def trained_rival(data: Data, k: int, seed: int) -> nn.Sequential:
    """A plain gate trained on half A's training images with `train_gate`'s loss, steps and draws.

    Afterwards its answer is made STEEP times as steep and moved until its bound is at most SHUT, so that every image
    above the bound by more than a little is let through.
    """
    gate = build(plain_gate, data.spec, 1, derive(seed, "rival"))
    draws = generator(seed, "gate")
    optimizer = torch.optim.Adam(gate.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)
    real = Replay(data.a_train, draws)
    for step in range(STEPS):
        images = real.take(min(BATCH, len(data.a_train))).images
        if most := default_shift(data.spec):
            images = shifted(images, most, draws)
        bound = upper_logit(gate, data.spec, min(k, math.ceil(2 * k * (step + 1) / STEPS)))
        loss = REAL_WEIGHT * softplus(OPEN - 2 - gate(images)).mean()
        loss = loss + softplus(gate(oddities(images, draws)) - SHUT).mean() + (bound - SHUT).clamp(min=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    gate.requires_grad_(False)
    gate[-1].weight *= STEEP
    gate[-1].bias *= STEEP
    gate[-1].bias -= float(upper_logit(gate, data.spec, k)) - SHUT
    return gate.eval()
