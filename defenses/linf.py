"""The inner maximum of two rivals: projected gradient ascent in a ball of the largest change of any pixel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def worst(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    images: Tensor,
    start: Tensor,
    *,
    radius: float,
    step: float,
    steps: int,
) -> Tensor:
    """The image with the greatest loss seen, for each: steps along the gradient's sign, clipped to ball and [0, 1].

    Madry et al., https://arxiv.org/abs/1706.06083. The network is asked in eval mode and left in the mode it had.

    Args:
        network: images in [0, 1] to logits.
        loss: logits [N, outputs] -> [N].
        images: [N, C, H, W] in [0, 1], the balls' centres, on the network's device.
        start: [N, C, H, W], where the ascent begins.
        radius: the most that a pixel may change.
        step: how far each step moves a pixel.
        steps: each a forward and a backward pass; one more forward pass looks at where the last one led.

    Returns:
        [N, C, H, W], on the network's device, without gradients.
    """
    training = network.training
    network.eval()
    low, high = (images - radius).clamp(min=0), (images + radius).clamp(max=1)
    x = best = start.clamp(low, high)
    most = torch.full((len(images),), -torch.inf, device=images.device)
    for left in reversed(range(steps + 1)):
        x = x.detach().requires_grad_(left > 0)
        with torch.set_grad_enabled(left > 0):
            value = loss(network(x))
        better = value.detach() > most
        most = torch.where(better, value.detach(), most)
        best = torch.where(better[:, None, None, None], x.detach(), best)
        if left:
            (slope,) = torch.autograd.grad(value.sum(), x)
            x = (x + step * slope.sign()).clamp(low, high)
    network.train(training)
    return best


def random_start(images: Tensor, radius: Tensor | float, generator: torch.Generator) -> Tensor:
    """Images [N, C, H, W] on the CPU, each pixel moved evenly by up to `radius` either way; not clipped."""
    return images + radius * (2 * torch.rand(images.shape, generator=generator) - 1)
