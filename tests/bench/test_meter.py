import pytest
import torch
from torch import nn

from bench.errors import BadInputError
from bench.meter import BudgetExceededError, Meter, count_outputs
from bench.types import ImageSpec

SPEC = ImageSpec((1, 2, 2), 255, ("a", "b"))


def net(outputs=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(4, outputs))


def test_forward_and_backward_passes_are_counted_per_image():
    meter = Meter(net(), SPEC)
    images = torch.rand(5, 1, 2, 2, requires_grad=True)
    meter(images.detach())
    torch.autograd.grad(meter(images).sum(), images)
    assert (meter.forward_passes, meter.backward_passes) == (10, 5)
    assert meter.fake_classes == 1


def test_a_second_gradient_of_the_same_logits_counts_again():
    meter = Meter(net(), SPEC)
    images = torch.rand(2, 1, 2, 2, requires_grad=True)
    logits = meter(images)
    torch.autograd.grad(logits[:, 0].sum(), images, retain_graph=True)
    torch.autograd.grad(logits[:, 1].sum(), images)
    assert meter.backward_passes == 4


def test_the_pass_beyond_the_allowance_raises():
    meter = Meter(net(), SPEC, allowance=4)
    meter(torch.rand(4, 1, 2, 2))
    with pytest.raises(BudgetExceededError, match="5 passes asked for, 4 allowed"):
        meter(torch.rand(1, 1, 2, 2))


def test_images_that_come_to_nan_are_counted():
    class BreaksWhenBright(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :2] / (images.flatten(1).amax(1, keepdim=True) < 0.5)

    meter = Meter(BreaksWhenBright(), SPEC)
    images = torch.full((5, 1, 2, 2), 0.25)
    images[3:] = 1
    meter(images)
    meter(images[:2])
    assert meter.non_finite == 2


def test_a_network_that_cuts_the_graph_has_slope_zero():
    class Cut(nn.Module):
        def forward(self, images):
            return (images.flatten(1) > 0.5).float()

    images = torch.rand(3, 1, 2, 2, requires_grad=True)
    meter = Meter(Cut(), SPEC)
    (slope,) = torch.autograd.grad(meter(images).sum(), images)
    assert slope.abs().max() == 0
    assert meter.backward_passes == 3


def test_networks_of_the_wrong_shape_are_refused():
    images = torch.zeros(3, 1, 2, 2)
    with pytest.raises(BadInputError, match=r"\(3, 1\)"):
        count_outputs(net(1), images, SPEC)
    with pytest.raises(BadInputError, match=r"\(3, 1, 2, 2\)"):
        count_outputs(nn.Identity(), images, SPEC)
    broken = net()
    nn.init.constant_(broken[1].bias, float("nan"))
    with pytest.raises(BadInputError, match="not finite"):
        count_outputs(broken, images, SPEC)


def test_a_network_that_writes_into_what_it_is_handed_changes_no_image_of_the_attack():
    class Writes(nn.Module):
        def forward(self, images):
            logits = images.flatten(1)[:, :2] + 0
            images.data.fill_(1)
            return logits

    meter, images = Meter(Writes(), SPEC), torch.zeros(3, 1, 2, 2, requires_grad=True)
    logits = meter(images)
    assert images.sum() == 0
    assert logits.sum() == 0
    assert torch.autograd.grad(logits.sum(), images)[0].sum() == 6
