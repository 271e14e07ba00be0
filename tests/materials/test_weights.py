"""Weights come back as they went, and whatever else is offered gets one line."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.errors import BadInputError
from bench.materials.networks import NETWORKS, build, cnn, mlp
from bench.materials.weights import load_weights, outputs_of, read_weights
from bench.types import ImageSpec

SPEC = ImageSpec((1, 5, 7), 16, ("a", "b", "c"))


def network(factory=mlp, outputs: int = 5, seed: int = 0) -> nn.Module:
    return build(factory, SPEC, outputs, seed)


def same(one: nn.Module, two: nn.Module) -> bool:
    two_state = two.state_dict()
    return all(torch.equal(value, two_state[key]) for key, value in one.state_dict().items())


def refusal(action) -> str:
    with pytest.raises(BadInputError) as caught:
        action()
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)
    return str(caught.value)


def save(path, network):
    save_file(network.state_dict(), path)


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_weights_come_back(name, tmp_path):
    path = tmp_path / "network.safetensors"
    saved = network(NETWORKS[name])
    save(path, saved)
    loaded = network(NETWORKS[name], outputs_of(path, NETWORKS[name], SPEC), seed=1)
    load_weights(path, loaded)
    assert same(saved, loaded)
    assert os.listdir(tmp_path) == ["network.safetensors"]


def parallel(weights):
    return {f"module._orig_mod.{name}": weight for name, weight in weights.items()}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT"])
@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"epoch": 3, "state_dict": s}, lambda s: {"model": s}, parallel]
)
def test_pytorch_checkpoints_load(tmp_path, suffix, wrap):
    path = tmp_path / f"network{suffix}"
    saved = network()
    torch.save(wrap(saved.state_dict()), path)
    loaded = network(seed=1)
    load_weights(path, loaded)
    assert same(saved, loaded)


@pytest.mark.parametrize("factory", [mlp, cnn])
@pytest.mark.parametrize("outputs", [3, 4, 6])
def test_outputs_are_read_off_the_last_layer(tmp_path, factory, outputs):
    path = tmp_path / "network.safetensors"
    save(path, network(factory, outputs))
    assert outputs_of(path, factory, SPEC) == outputs


def test_outputs_are_found_whatever_the_layers_are_called(tmp_path):
    class Named(nn.Module):
        def __init__(self, spec, outputs):
            super().__init__()
            self.answer = nn.Linear(8, outputs)
            self.zoom = nn.Linear(spec.pixels, 8)

    path = tmp_path / "network.safetensors"
    save(path, Named(SPEC, 6))
    assert outputs_of(path, Named, SPEC) == 6


def test_a_factory_of_one_size_keeps_it(tmp_path):
    path = tmp_path / "network.safetensors"
    save(path, network(outputs=7))
    assert outputs_of(path, lambda spec, outputs: mlp(spec, 7), SPEC) == 3


def test_too_few_outputs(tmp_path):
    path = tmp_path / "network.safetensors"
    save(path, network(outputs=2))
    assert "5.weight makes 2 outputs; expected 3 or more" in refusal(lambda: outputs_of(path, mlp, SPEC))


def test_another_architecture_has_no_layer_for_the_outputs(tmp_path):
    path = tmp_path / "network.safetensors"
    save(path, nn.Sequential(nn.Flatten(), nn.Linear(35, 5)))
    assert "has no layer 5.weight" in refusal(lambda: outputs_of(path, mlp, SPEC))


def broken(change) -> dict[str, torch.Tensor]:
    state = {key: value.clone() for key, value in network().state_dict().items()}
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.update({"3.weight": torch.zeros(4, 4)}), "3.weight has the shape (4, 4); expected (256, 256)"),
        (lambda s: s.pop("3.bias"), "lacks 3.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "holds extra besides"),
        (lambda s: s["5.bias"].fill_(float("nan")), "5.bias holds NaN or infinity"),
        (lambda s: s["1.weight"][0].fill_(float("inf")), "1.weight holds NaN or infinity"),
        (lambda s: s.update({"5.bias": torch.full((5,), 1e300, dtype=torch.float64)}), "5.bias holds NaN or inf"),
    ],
)
def test_weights_of_another_kind_are_refused_and_change_nothing(tmp_path, change, told):
    path = tmp_path / "network.safetensors"
    save_file(broken(change), path)
    untouched = network(seed=1)
    assert told in refusal(lambda: load_weights(path, untouched))
    assert same(untouched, network(seed=1))


def test_half_precision_is_taken(tmp_path):
    path = tmp_path / "network.safetensors"
    save_file({key: value.half() for key, value in network().state_dict().items()}, path)
    loaded = network(seed=1)
    load_weights(path, loaded)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())


def garbage(path: Path) -> None:
    path.write_bytes(b"not weights\nat all" * 10)


def pickled(path: Path) -> None:
    class_free_of_torch = Path("x")
    path.write_bytes(pickle.dumps(class_free_of_torch))


def whole_network(path: Path) -> None:
    torch.save(network(), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.safetensors", garbage),
        ("a.pt", garbage),
        ("a.pt", pickled),
        ("a.pth", whole_network),
        ("a.safetensors", lambda path: path.write_bytes(b"")),
        ("a.pt", lambda path: path.write_bytes(b"")),
        ("a.pt", lambda path: torch.save([1, 2], path)),
        ("a.pt", lambda path: torch.save({}, path)),
        ("a.pt", lambda path: torch.save({"epoch": 1}, path)),
        ("a.safetensors", lambda path: path.mkdir()),
        ("a.safetensors", lambda path: None),
        ("a.onnx", garbage),
        ("a", garbage),
    ],
)
def test_what_is_not_weights_gets_one_line(tmp_path, name, write):
    write(tmp_path / name)
    told = refusal(lambda: read_weights(tmp_path / name))
    assert name in told
    assert "\x1b" not in told


def test_a_whole_network_is_told_in_words_of_our_own(tmp_path):
    whole_network(tmp_path / "a.pt")
    told = refusal(lambda: read_weights(tmp_path / "a.pt"))
    assert "holds more than tensors, a whole network maybe" in told
    assert "two options" not in told


def test_a_missing_checkpoint_is_told_from_a_damaged_one(tmp_path):
    assert "no file" in refusal(lambda: read_weights(tmp_path / "a.pt"))


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "network.safetensors"
    save(path, network())
    path.write_bytes(path.read_bytes()[:-10])
    refusal(lambda: load_weights(path, network()))


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Payload:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save({"1.weight": Payload()}, tmp_path / "a.pt")
    refusal(lambda: read_weights(tmp_path / "a.pt"))
    assert not (tmp_path / "ran").exists()
