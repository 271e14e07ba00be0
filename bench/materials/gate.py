"""A classifier behind a gate: how likely the image is one at all, times what the classifier makes of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

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
        inside = log_softmax(self.classifier(images.clone()), dim=1).clamp(min=-LIMIT)
        return torch.cat([inside + logsigmoid(a), logsigmoid(-a)], dim=1)
