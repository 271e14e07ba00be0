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
CNN_STRIDE = 4  # of a first convolution, at most, so that filters stay small


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
    """Small and quick: images [N, C, H, W] in [0, 1] -> logits [N, outputs]."""
    return convolutional(spec, outputs, channels=(16, 32), width=64, side=10)


def wide(spec: ImageSpec, outputs: int) -> nn.Sequential:
    """The same with twice the channels at a finer grid, for accuracy: images [N, C, H, W] -> logits [N, outputs]."""
    return convolutional(spec, outputs, channels=(32, 64), width=128, side=14)


def convolutional(spec: ImageSpec, outputs: int, *, channels: tuple[int, int], width: int, side: int) -> nn.Sequential:
    """Two strided convolutions and a hidden layer.

    Args:
        channels: of the two convolutions.
        width: of the hidden layer.
        side: about the side to which the first convolution brings an image; it decides what a pass costs.
    """
    first, second = channels
    _, height, width_in = spec.shape
    stride = min(CNN_STRIDE, max(1, round(max(height, width_in) / side)))
    kernel = 2 * (stride // 2) + 3  # odd and wider than the stride: every pixel is seen, by overlapping filters
    rows, columns = (ceil(ceil(length / stride) / 2) for length in (height, width_in))
    return nn.Sequential(
        nn.Conv2d(spec.shape[0], first, kernel, stride, padding=kernel // 2),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * rows * columns, width),
        nn.ReLU(),
        nn.Linear(width, outputs),
    )


NETWORKS: dict[str, NetworkFactory] = {"mlp": mlp, "cnn": cnn, "wide": wide}
"""Those that a proof can bound; `bench/materials/resnet.py` has one that it cannot."""


def other(classifier: NetworkFactory) -> NetworkFactory:
    """The architecture of network B, given that of the classifier under test, without gates; never the same."""
    return cnn if classifier is mlp else mlp


def build(factory: NetworkFactory, spec: ImageSpec, outputs: int, seed: int) -> nn.Module:
    """An untrained network whose weights follow from the seed; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's alone: `torch.manual_seed` also reseeds GPUs
        return factory(spec, outputs)
