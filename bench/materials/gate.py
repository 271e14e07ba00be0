"""A classifier behind a gate: how likely the image is one at all, times what the classifier makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from bench.errors import BadInputError
from bench.types import ImageSpec, NetworkFactory

LIMIT = 1e30  # logits stay finite, and their slope alive, however large a gate's answer is


def limited(logit: Tensor) -> Tensor:
    """A gate's logit as it is used; never decreasing, so it keeps upper bounds."""
    return logit.clamp(-LIMIT, LIMIT)


class Gated(nn.Module):
    """Images [N, C, H, W] -> logits [N, outputs of the classifier + 1], whose softmax is a product.

    softmax(f)_j * sigmoid(a) for the classifier's outputs f, and 1 - sigmoid(a) for one more, the last, which is a
    fake class. A bound on the gate's answer a is a bound on every real class, whatever the classifier is.

    Args:
        classifier: images to K + F logits.
        gate: images to one logit [N, 1], high on images like the real ones.
    """

    def __init__(self, classifier: nn.Module, gate: nn.Module):
        super().__init__()
        self.classifier = classifier
        self.gate = gate

    def forward(self, images: Tensor) -> Tensor:
        # Each gets images of its own: a first layer that works in place must not change what the other sees.
        a = limited(self.gate(images.clone()))
        said = self.classifier(images.clone())
        if type(said) is not Tensor:  # another class may change what becomes of the product
            raise TypeError(f"the classifier behind a gate answers with a {type(said).__name__}; expected a Tensor")
        inside = log_softmax(said, dim=1).clamp(min=-LIMIT)
        return torch.cat([inside + logsigmoid(a), logsigmoid(-a)], dim=1)


@dataclass(frozen=True)
class Behind:
    """An architecture behind a new gate, as a `NetworkFactory`: the last of its outputs is the gate's fake class.

    Args:
        factory: the architecture, which may itself be behind a gate.
        gate: image facts -> images to one logit [N, 1].
    """

    factory: NetworkFactory
    gate: Callable[[ImageSpec], nn.Module]

    def __call__(self, spec: ImageSpec, outputs: int) -> Gated:
        """Build it.

        Raises:
            BadInputError: the gates leave the classifier fewer outputs than there are real classes.
        """
        least = least_outputs(self, spec)
        if outputs < least:
            raise BadInputError(
                f"{outputs} outputs behind {least - spec.real_classes} gates; expected {least} or more: one for each "
                f"of the {spec.real_classes} real classes and one for each gate"
            )
        return Gated(self.factory(spec, outputs - 1), self.gate(spec))


def apart(factory: NetworkFactory) -> tuple[list[Callable[[ImageSpec], nn.Module]], NetworkFactory]:
    """The gates that an architecture stands behind, the outermost first, and the classifier behind them all."""
    gates = []
    while isinstance(factory, Behind):
        gates.append(factory.gate)
        factory = factory.factory
    return gates, factory


def least_outputs(factory: NetworkFactory, spec: ImageSpec) -> int:
    """The fewest outputs that an architecture can have: one for each real class and one for each of its gates."""
    return spec.real_classes + len(apart(factory)[0])
