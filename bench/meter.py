"""The network under attack, with its passes counted from outside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.arithmetic import plain_float32
from bench.errors import BadInputError
from bench.types import ImageSpec


class BudgetExceededError(Exception):
    """An attack asked for more passes than its budget allows."""


class Meter:
    """A `Classifier` that counts image passes: a forward pass of one image is one, a backward pass another.

    Args:
        network: images in [0, 1] to K + F logits; put in eval mode, its parameters are left alone.
        spec: the facts of its images.
        allowance: passes after which the next one raises `BudgetExceededError`; None counts only.
    """

    def __init__(self, network: nn.Module, spec: ImageSpec, allowance: int | None = None):
        self.network = network.eval()
        self.spec = spec
        self.device = next((t.device for t in network.parameters()), torch.device("cpu"))
        self.allowance = allowance
        self.forward_passes = 0
        self.backward_passes = 0
        self._non_finite = torch.zeros((), dtype=torch.long, device=self.device)
        self.fake_classes = (
            count_outputs(network, torch.zeros(1, *spec.shape, device=self.device), spec) - spec.real_classes
        )

    @property
    def passes(self) -> int:
        return self.forward_passes + self.backward_passes

    @property
    def non_finite(self) -> int:
        """Images whose logits were NaN or infinite."""
        return int(self._non_finite)

    def __call__(self, images: Tensor) -> Tensor:
        self.forward_passes += len(images)
        self._check()
        plain_float32()
        # A copy, since a network may write into what it is handed; in float32, as verdicts are made.
        logits = self.network(images.clone()).float()
        self._non_finite += (~torch.isfinite(logits.detach())).any(dim=1).sum()  # a tensor: waits for no GPU
        if images.requires_grad:  # a network may cut the graph: its slope is 0 then, not an error
            logits = logits + 0 * images.flatten(1).sum(dim=1, keepdim=True)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)
        return logits

    def _count_backward(self, gradient: Tensor) -> None:
        self.backward_passes += len(gradient)
        self._check()

    def _check(self) -> None:
        if self.allowance is not None and self.passes > self.allowance:
            raise BudgetExceededError(f"{self.passes} passes asked for, {self.allowance} allowed")


def count_outputs(network: nn.Module, images: Tensor, spec: ImageSpec) -> int:
    """Outputs of a network, found by running a few images through it.

    Args:
        images: [N, C, H, W] on the network's device.

    Raises:
        BadInputError: logits of the wrong shape, fewer than the real classes, or not finite.
    """
    network.eval()
    with torch.no_grad():
        logits = network(images)
    n, k = len(images), spec.real_classes
    if logits.ndim != 2 or logits.shape[0] != n or logits.shape[1] < k:
        raise BadInputError(
            f"the network turns {n} images into {tuple(logits.shape)}; expected ({n}, {k} or more): "
            f"one logit for each of the {k} real classes first, then any fake classes"
        )
    if not torch.isfinite(logits).all():
        raise BadInputError("the network's logits are not finite on a few plain images; expected finite numbers")
    return logits.shape[1]
