"""A module read into a flat list of steps whose bounds are known; anything else is refused, never guessed at."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from bench.errors import BadInputError, NonFiniteError
from bench.proof.affine import Affine, Shape
from bench.proof.monotone import Elementwise, MaxPool
from bench.proof.readers import READERS, UnsupportedLayerError, Weights

Step = Affine | Elementwise | MaxPool
SKIPPED = (nn.Identity, nn.Dropout, nn.Dropout2d)  # in eval mode they hand on what they get
KNOWN = {nn.Sequential, *SKIPPED, *READERS}


def read(network: nn.Module, shape: Shape, dtype: torch.dtype | None = None) -> list[Step]:
    """The steps a network takes in eval mode, whatever mode it is in.

    Args:
        network: float32 or float64, from images [N, *shape].
        shape: of one image.
        dtype: of the steps' weights, copied and cut off from the graph; None leaves the network's own weights in,
            with their gradients.

    Raises:
        UnsupportedLayerError: a layer that is not known, or one whose behaviour was changed by a hook, a subclass,
            a parametrisation or an own forward.
        BadInputError: a layer that does not fit what comes before it, or no layers at all.
        NonFiniteError: a weight is NaN or infinite.
    """
    steps: list[Step] = []
    weights = Weights(network, dtype)
    for layer in leaves(network):
        if type(layer) not in SKIPPED:
            before = tuple(steps[-1].shape_out) if steps else tuple(shape)
            steps.append(READERS[type(layer)](layer, before, weights))
    if not steps:
        raise BadInputError("the network has no layers; expected images to logits")
    return steps


def leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The layers in the order they run, each checked to be the plain one that its class promises."""
    check_plain(module)
    if type(module) is nn.Sequential:
        for child in module:
            yield from leaves(child)
    else:
        yield module


def check_plain(module: nn.Module) -> None:
    if type(module) not in KNOWN:
        raise UnsupportedLayerError(type(module).__name__)
    check_untouched(module)


def check_untouched(module: nn.Module) -> None:
    """Refuse a module that no longer runs, or no longer holds, what its class says."""
    name = type(module).__name__
    if module._forward_hooks or module._forward_pre_hooks:
        raise UnsupportedLayerError(f"{name} with a forward hook")
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        raise UnsupportedLayerError(f"{name} under a global forward hook")
    for own, value in vars(module).items():
        if callable(getattr(type(module), own, None)):
            raise UnsupportedLayerError(f"{name} with a {own} of its own")
        if isinstance(value, Tensor):
            raise UnsupportedLayerError(f"{name} with a {own} that is no parameter")
    if module._compiled_call_impl is not None:
        raise UnsupportedLayerError(f"{name} compiled")
    for weight in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if type(weight) not in (nn.Parameter, Tensor):
            raise UnsupportedLayerError(f"{name} with a weight of type {type(weight).__name__}")
        if weight.is_floating_point() and weight.dtype not in (torch.float32, torch.float64):
            raise UnsupportedLayerError(f"{name} in {weight.dtype}")
        if not torch.isfinite(weight.detach()).all():
            raise NonFiniteError(f"a weight of {name} is not finite")
