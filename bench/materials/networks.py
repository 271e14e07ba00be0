"""Small classifiers that fit any image shape, and the other one for network B.

They are made of linear layers, convolutions, ReLU and flattening only, and the first layer sees the pixels as
they are (its weights learn the scale), so that a proof over sparse images reads it off directly.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import nn

from bench.types import ImageSpec, NetworkFactory

MLP_WIDTH = 256
CNN_CHANNELS = (16, 32)
CNN_WIDTH = 64
CNN_SIDE = 10  # about the side to which the first convolution brings an image: what an attack's pass costs
CNN_STRIDE = 4  # at most, so that filters stay small


def mlp(spec: ImageSpec, outputs: int) -> nn.Sequential:
    """Two hidden layers: images [N, C, H, W] in [0, 1] -> logits [N, outputs]."""
    channels, height, width = spec.shape
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * width, MLP_WIDTH),
        nn.ReLU(),
        nn.Linear(MLP_WIDTH, MLP_WIDTH),
        nn.ReLU(),
        nn.Linear(MLP_WIDTH, outputs),
    )


def cnn(spec: ImageSpec, outputs: int) -> nn.Sequential:
    """Two strided convolutions and a hidden layer: images [N, C, H, W] in [0, 1] -> logits [N, outputs]."""
    channels, height, width = spec.shape
    first, second = CNN_CHANNELS
    stride = min(CNN_STRIDE, max(1, round(max(height, width) / CNN_SIDE)))
    kernel = 2 * (stride // 2) + 3  # odd and wider than the stride: every pixel is seen, by overlapping filters
    height, width = (ceil(ceil(side / stride) / 2) for side in (height, width))
    return nn.Sequential(
        nn.Conv2d(channels, first, kernel, stride, padding=kernel // 2),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * height * width, CNN_WIDTH),
        nn.ReLU(),
        nn.Linear(CNN_WIDTH, outputs),
    )


NETWORKS: dict[str, NetworkFactory] = {"mlp": mlp, "cnn": cnn}


def other(name: str) -> NetworkFactory:
    """The architecture of network B, given the name of the defense's; never the same."""
    return cnn if name == "mlp" else mlp


def build(factory: NetworkFactory, spec: ImageSpec, outputs: int, seed: int) -> nn.Module:
    """An untrained network whose weights follow from the seed; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's alone: `torch.manual_seed` also reseeds GPUs
        return factory(spec, outputs)
