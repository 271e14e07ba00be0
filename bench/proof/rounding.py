"""How far a float32 network can stray from the real arithmetic it stands for.

A sum of n products computed in float32, in any order, is off by at most gamma_n = n u / (1 - n u) times the sum of
the products' absolute values, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).
That holds with or without fused multiply-adds, and not for TF32, half precision, Winograd or Fourier convolutions.

The bounds themselves are computed in float64, whose roundings are 2^29 times smaller and of the same sums: the margin
in SAFETY covers them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.errors import BadInputError, NonFiniteError

UNIT = 2.0**-24  # float32's unit roundoff: the relative error of one rounding
SAFETY = 1.01
UNDERFLOW = 2.0**-126  # the least normal float32: what flushing one product to zero can lose
LARGEST = 2.0**100  # values below it overflow in no order of summation, not even those an average sums first
SOFTMAX_SLACK = 1e-5  # absolute, on a probability: 168 units of roundoff, for a float32 softmax
SLACK_PER_OUTPUT = 4 * UNIT  # and more where it sums over many outputs


def gamma(fan_in: int) -> float:
    """The relative error of a float32 sum of `fan_in` products and a bias.

    Raises:
        BadInputError: more terms than the error bound is good for, some millions.
    """
    n = fan_in + 2
    if n * UNIT > 0.5:
        raise BadInputError(f"a layer that sums {fan_in} terms; float32's errors are bounded up to {0.5 / UNIT:.0f}")
    return SAFETY * n * UNIT / (1 - n * UNIT)


def error_of(mass: Tensor, fan_in: int) -> Tensor:
    """The largest float32 error of each output, given its mass |W||x| + |b| (`affine.Affine.absolute`).

    Raises:
        NonFiniteError: the network could overflow on some image.
    """
    if not (mass.detach() < LARGEST).all():
        raise NonFiniteError("the network's values could overflow float32 on sparse images")
    return gamma(fan_in) * mass + (fan_in + 2) * UNDERFLOW if fan_in else torch.zeros_like(mass)


def softmax_slack(outputs: int) -> float:
    """The largest float32 error of a probability, given exact logits."""
    return SOFTMAX_SLACK + SLACK_PER_OUTPUT * outputs
