"""Whatever was switched on, the next pass is plain float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.arithmetic import PRECISE, plain_float32
from bench.meter import Meter
from bench.types import ImageSpec
from bench.verify import logits_of

SWITCHES = {
    "matmul": lambda: torch.set_float32_matmul_precision("medium"),
    "convolutions": lambda: setattr(torch.backends.mkldnn.conv, "fp32_precision", "bf16"),
    "everything": lambda: setattr(torch.backends, "fp32_precision", "bf16"),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "flushing": lambda: torch.set_flush_denormal(True),
}


@pytest.fixture(autouse=True)
def as_it_was():
    yield
    plain_float32()


class Switches(nn.Module):
    """Products of whole numbers that bfloat16 does not hold, and of some that are subnormal."""

    def __init__(self, switch):
        super().__init__()
        self.switch = switch
        self.dense, self.conv = nn.Linear(64, 64), nn.Conv2d(8, 8, 3)
        for each in (self.dense, self.conv):
            nn.init.constant_(each.weight, 257.0)
            nn.init.zeros_(each.bias)
        self.requires_grad_(False)

    def forward(self, images):
        dense, conv = self.dense(images[:, 0].flatten(1)), self.conv(images)
        small = images[:, 0, 0, 0] * 1e-39 * 1e30 * 1e12
        said = torch.stack([dense[:, 0], conv[:, 0, 0, 0], small], dim=1).float()
        self.switch()
        return said


EXACT = [64 * 257.0, 72 * 257.0, 1000.0]


@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES)
def test_no_pass_feels_a_switch(switch):
    network, spec = Switches(switch), ImageSpec((8, 8, 8), 255, ("a", "b", "c"))
    images = torch.ones(3000, *spec.shape)  # two chunks, the second after the network has switched
    switch()
    assert torch.allclose(logits_of(network, images), torch.tensor([EXACT]), rtol=1e-5)
    meter = Meter(network, spec)
    for _ in range(2):
        assert torch.allclose(meter(images[:64]), torch.tensor([EXACT]), rtol=1e-5)


def test_every_precision_is_what_ieee_says():
    for switch in SWITCHES.values():
        switch()
    plain_float32()
    assert {backend.fp32_precision for backend in PRECISE} == {"ieee"}
    assert not torch.is_autocast_enabled("cpu")
    assert torch.tensor(1e-39) * 1 > 0
