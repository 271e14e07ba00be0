"""Trained weights in: safetensors, and PyTorch checkpoints without running what they hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.errors import BadInputError
from bench.materials.gate import least_outputs
from bench.materials.networks import build
from bench.types import ImageSpec, NetworkFactory

Weights = dict[str, Tensor]

ANSI = re.compile(r"\x1b\[[\d;]*m")  # torch colours some of its messages
PREFIXES = ("module.", "_orig_mod.")  # what parallel training and torch.compile put before every name
WRAPPERS = ("state_dict", "model_state_dict", "model")  # what training scripts commonly file weights under


def load_weights(path: Path, network: nn.Module) -> None:
    """Put a checkpoint into a network of its own architecture; a refused one leaves the network as it was.

    Args:
        path: `.safetensors`, or a `.pt` or `.pth` state dict.

    Raises:
        BadInputError: not weights, another architecture's, or not finite.
    """
    weights = read_weights(path)
    own = network.state_dict()
    _check_names(path, weights, own)
    for name, tensor in own.items():
        got = weights[name]
        if got.shape != tensor.shape:
            raise BadInputError(
                f"{path}: {name} has the shape {tuple(got.shape)}; expected {tuple(tensor.shape)}: "
                "name its network with --network"
            )
        if not torch.isfinite(got.to(tensor.dtype)).all():
            raise BadInputError(f"{path}: {name} holds NaN or infinity; expected finite weights: train it again")
    network.load_state_dict(weights)


def outputs_of(path: Path, factory: NetworkFactory, spec: ImageSpec) -> int:
    """How many outputs a checkpoint's network has: K + F, its gates' among them.

    The layer that tells is the one whose size follows the factory's `outputs`; a factory that ignores them
    has the size it has, and the fewest it could have are returned: K, and one for each gate.

    Raises:
        BadInputError: not weights, that layer is missing, or it has fewer outputs than there are real classes.
    """
    least = least_outputs(factory, spec)
    narrow, wide = (build(factory, spec, outputs, seed=0).state_dict() for outputs in (least, least + 1))
    head = next((name for name in narrow if narrow[name].shape != wide[name].shape), None)
    weights = read_weights(path)
    if head is None:
        return least
    if head not in weights or weights[head].ndim == 0:
        raise BadInputError(
            f"{path} has no layer {head}, which decides the outputs; expected the weights of this network: "
            "name its network with --network"
        )
    fakes = weights[head].shape[0] - narrow[head].shape[0]
    if fakes < 0:
        raise BadInputError(
            f"{path}: {head} makes {spec.real_classes + fakes} outputs; expected {spec.real_classes} or more, one for "
            "each real class: name the data set it was trained on with --dataset"
        )
    return least + fakes


def read_weights(path: Path) -> Weights:
    """Name -> tensor, on the CPU.

    Raises:
        BadInputError: no such file, or one that is not weights.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in READERS:
        raise BadInputError(f"{path} is not a checkpoint; expected a file named {', '.join(READERS)}")
    if not path.is_file():
        raise BadInputError(f"no file {path}; expected a checkpoint: check the path")
    try:
        weights = READERS[kind](path)
    except UnpicklingError:  # weights_only: what is no tensor is code to be run
        raise BadInputError(
            f"{path} holds more than tensors, a whole network maybe, or is damaged; expected a state dict: save "
            "network.state_dict()"
        ) from None
    except Exception as error:  # damaged files fail in any of the two libraries' ways
        reason = ANSI.sub("", (str(error).strip() or type(error).__name__).splitlines()[0])
        raise BadInputError(
            f"{path} cannot be read as weights ({reason}); expected a state dict: save network.state_dict()"
        ) from error
    return _bare(_checked(path, weights))


def _read_torch(path: Path) -> object:
    found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, dict):
        return next((found[key] for key in WRAPPERS if isinstance(found.get(key), dict)), found)
    return found


READERS: dict[str, Callable[[Path], object]] = {".safetensors": load_file, ".pt": _read_torch, ".pth": _read_torch}


def _checked(path: Path, weights: object) -> Weights:
    if not isinstance(weights, dict) or not weights:
        raise BadInputError(
            f"{path} holds {type(weights).__name__} without weights; expected a state dict: save network.state_dict()"
        )
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise BadInputError(
                f"{path} holds {type(tensor).__name__} under {name!r}; expected nothing but tensors: "
                "save network.state_dict()"
            )
    return weights


def _bare(weights: Weights) -> Weights:
    """Without the prefixes of parallel training and compilation, in any order, where every name has them."""
    for prefix in PREFIXES * 2:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def _check_names(path: Path, weights: Weights, own: Weights) -> None:
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    if missing or unexpected:
        lacks = f"lacks {', '.join(missing[:3])}" if missing else ""
        extra = f"holds {', '.join(unexpected[:3])} besides" if unexpected else ""
        raise BadInputError(
            f"{path} {' and '.join(part for part in (lacks, extra) if part)}; expected this network's "
            f"{len(own)} tensors, {next(iter(own), 'none')} first: name its network with --network"
        )
