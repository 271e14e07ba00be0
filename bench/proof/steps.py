"""A module read into a flat list of steps whose bounds are known; anything else is refused, never guessed at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from bench.errors import BadInputError, NonFiniteError
from bench.proof.affine import Affine, Shape
from bench.proof.monotone import Elementwise, MaxPool
from bench.proof.readers import READERS, UnsupportedLayerError, Weights

Step = Affine | Elementwise | MaxPool
SKIPPED = (nn.Identity, nn.Dropout, nn.Dropout2d)  # in eval mode they hand on what they get
KNOWN = (nn.Sequential, *SKIPPED, *READERS)
PLAIN = (int, float, bool, str, type(None))  # what a layer's own settings are made of
HOLDERS = (dict, OrderedDict, set, list, tuple)


def is_one_of(kind: type, kinds: Iterable[type]) -> bool:
    """Whether it is the very class: `==`, and with it `in`, a metaclass may answer as it likes."""
    return any(kind is one for one in kinds)


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
        if not is_one_of(type(layer), SKIPPED):
            before = tuple(steps[-1].shape_out) if steps else tuple(shape)
            reader = next(reader for kind, reader in READERS.items() if kind is type(layer))
            steps.append(reader(layer, before, weights))
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
    if not is_one_of(type(module), KNOWN):
        raise UnsupportedLayerError(type(module).__name__)
    check_untouched(module)


def check_untouched(module: nn.Module) -> None:
    """Refuse a module that no longer runs, or no longer holds, what its class says."""
    name = type(module).__name__
    if module._forward_hooks or module._forward_pre_hooks:
        raise UnsupportedLayerError(f"{name} with a forward hook")
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        raise UnsupportedLayerError(f"{name} under a global forward hook")
    if module._compiled_call_impl is not None:
        raise UnsupportedLayerError(f"{name} compiled")
    for own, value in vars(module).items():
        if callable(getattr(type(module), own, None)):
            raise UnsupportedLayerError(f"{name} with a {own} of its own")
        if isinstance(value, Tensor):
            raise UnsupportedLayerError(f"{name} with a {own} that is no parameter")
        if not _is_plain(value):
            raise UnsupportedLayerError(f"{name} with a {own} of type {type(value).__name__}")
    for weight in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if not is_one_of(type(weight), (nn.Parameter, Tensor)):
            raise UnsupportedLayerError(f"{name} with a weight of type {type(weight).__name__}")
        if weight.is_floating_point() and weight.dtype not in (torch.float32, torch.float64):
            raise UnsupportedLayerError(f"{name} in {weight.dtype}")
        if not torch.isfinite(weight.detach()).all():
            raise NonFiniteError(f"a weight of {name} is not finite")


def _is_plain(value: Any) -> bool:
    """Whether it is what a stock layer has beside its weights: numbers, words, and Python's own holders.

    A holder of another kind may answer the reader otherwise than the layer; one of these holds what is checked apart.
    """
    if is_one_of(type(value), (list, tuple)):
        return all(_is_plain(each) for each in value)
    return is_one_of(type(value), (*PLAIN, *HOLDERS))
