"""Confident images with fewer and fewer pixels lit: what a network still believes when a digit falls apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from bench.harness.generate import Generated
from bench.harness.registry import PRUNE, import_path
from bench.meter import Meter
from bench.types import ThreatModel
from bench.verify import Verified, logits_of, target_probability, verify

if TYPE_CHECKING:
    from bench.harness.session import Session

PASSES = 400  # an image


def thinned(session: Session, network: nn.Module, found: Verified, threat: ThreatModel) -> Generated:
    """Darken pixels of confident images until none can go, and judge what is left.

    Args:
        network: that the images are confident on.
        found: [N] confident images.
        threat: of the verdict.

    Returns:
        [N]; an image that would not be confident any more, as rounding goes, comes back as it was.

    Raises:
        NonFiniteError: the network's logits are not finite.
    """
    meter = Meter(network, session.spec, allowance=PASSES * len(found.targets))
    prune = import_path(PRUNE, "prune")
    thin = prune(meter, found.images.to(meter.device), found.targets, ThreatModel(threat.p, 0), PASSES).cpu()
    held = target_probability(logits_of(network, thin), found.targets) >= threat.p_of(found.targets)
    images = torch.where(held.view(-1, *[1] * (thin.ndim - 1)), thin, found.images)
    verified = verify(network, session.spec, images, found.targets, threat, session.lab.measuring_judge)
    return Generated(verified, meter.forward_passes, meter.backward_passes, meter.non_finite)
