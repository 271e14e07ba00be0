"""Weights of a network behind gates: what it is measured beside, and how many outputs it has."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from bench.errors import BadInputError
from bench.harness import lab
from bench.harness.preflight import preflight
from bench.harness.session import Session
from bench.materials.gate import apart
from bench.materials.networks import build, cnn, mlp, wide
from bench.types import ImageSpec
from bench.verify import logits_of
from defenses.familiar import familiar
from defenses.gate import behind, gated
from tests.harness.runs import settings

DIGITS = ImageSpec((1, 8, 8), 16, tuple("0123456789"))
PAIR = ImageSpec((1, 8, 8), 255, ("dark", "light"))
OWN = """
from bench.materials.networks import mlp as stock
from defenses.gate import gated

def plain(spec, outputs):
    return stock(spec, outputs)

shut = gated(plain)
renamed = stock
"""


def checkpoint(tmp_path, factory, spec, outputs):
    path = tmp_path / "net.safetensors"
    save_file(build(factory, spec, outputs, 0).state_dict(), path)
    return path


@pytest.fixture
def pair(tmp_path):
    """A data set of two classes."""
    draw = torch.Generator().manual_seed(0)
    for label, name in enumerate(PAIR.class_names):
        (tmp_path / "pair" / name).mkdir(parents=True)
        for index in range(60):
            values = torch.rand(8, 8, generator=draw) * 80 + 150 * label
            Image.fromarray(values.byte().numpy()).save(tmp_path / "pair" / name / f"{index}.png")
    return f"folder:{tmp_path / 'pair'}"


# What stands beside it


@pytest.mark.parametrize(("name", "shape", "outputs"), [("gated:mlp", gated, 11), ("familiar:mlp", familiar, 22)])
def test_the_control_has_no_gates_and_knows_every_class(tmp_path, name, shape, outputs):
    path = checkpoint(tmp_path, shape(mlp), DIGITS, outputs)
    session = Session(settings(tmp_path, network=name, checkpoint=path))
    test = session.data.test
    logits = logits_of(session.control, test.images)
    assert logits.shape == (len(test), 10)
    assert {*session.control.state_dict()} == {*mlp(DIGITS, 10).state_dict()}
    right = logits.argmax(dim=1) == test.labels
    assert [float(right[test.labels == label].double().mean()) > 0.8 for label in range(10)] == [True] * 10


@pytest.mark.parametrize("name", ["mlp", "gated:mlp", "familiar:mlp", "familiar:gated:mlp", "own_gated:shut"])
def test_the_control_is_the_classifier_behind_the_gates(tmp_path, monkeypatch, name):
    monkeypatch.setattr(lab, "default_epochs", lambda images: 1)
    (tmp_path / "own_gated.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    control = Session(settings(tmp_path, network=name)).lab.control
    assert [tensor.shape for tensor in control.parameters()] == [
        tensor.shape for tensor in mlp(DIGITS, 10).parameters()
    ]


@pytest.mark.parametrize(
    ("name", "classifier"),
    [
        ("mlp", mlp),
        ("cnn", cnn),
        ("gated:mlp", mlp),
        ("gated:cnn", cnn),
        ("gated:wide", wide),
        ("familiar:mlp", mlp),
        ("familiar:gated:mlp", mlp),
        ("bench.materials.networks:mlp", mlp),
        ("familiar:bench.materials.networks:mlp", mlp),
        ("own_gated:renamed", mlp),
    ],
)
def test_network_b_is_another_architecture_than_the_classifier(tmp_path, monkeypatch, name, classifier):
    monkeypatch.setattr(lab, "default_epochs", lambda images: 1)
    (tmp_path / "own_gated.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    b = Session(settings(tmp_path, network=name)).lab.network_b
    assert {key: t.shape for key, t in b.state_dict().items()} != {
        key: t.shape for key, t in classifier(DIGITS, 10).state_dict().items()
    }


# How many outputs it has


@pytest.mark.parametrize("fakes", [0, 1, 2])
def test_two_classes_behind_two_gates(tmp_path, pair, fakes):
    path = checkpoint(tmp_path, familiar(mlp), PAIR, 4 + fakes)
    session = Session(settings(tmp_path, dataset=pair, network="familiar:mlp", checkpoint=path))
    preflight(session)
    assert session.checkpoint_network(torch.zeros(3, *PAIR.shape)).shape == (3, 4 + fakes)
    assert session.lab.control(torch.zeros(3, *PAIR.shape)).shape == (3, 2)


def test_a_classifier_with_too_few_outputs_behind_its_gates_is_refused(tmp_path, pair):
    path = tmp_path / "net.safetensors"
    weights = build(familiar(mlp), PAIR, 4, 0).state_dict()
    for name in ("classifier.classifier.5.weight", "classifier.classifier.5.bias"):
        weights[name] = weights[name][:1].clone()
    save_file(weights, path)
    with pytest.raises(BadInputError, match=r"5\.weight makes 1 outputs; expected 2 or more, one for each real class"):
        preflight(Session(settings(tmp_path, dataset=pair, network="familiar:mlp", checkpoint=path)))


@pytest.mark.parametrize("outputs", [0, 1, 2, 3])
def test_gates_leave_every_class_an_output(outputs):
    with pytest.raises(BadInputError, match=f"{outputs} outputs behind 2 gates; expected 4 or more"):
        build(familiar(mlp), PAIR, outputs, 0)


@pytest.mark.parametrize("defense", ["undefended", "fakeclass", "sparse_gate"])
def test_gates_without_weights_are_refused(tmp_path, defense):
    with pytest.raises(BadInputError, match=r"--network gated:mlp: .*expected --checkpoint"):
        preflight(Session(settings(tmp_path, network="gated:mlp", defense=defense)))


# What it is made of


def test_a_network_comes_apart_into_its_gates_and_its_classifier():
    def one(spec):
        return nn.Linear(1, 1)

    def two(spec):
        return nn.Linear(1, 1)

    assert apart(mlp) == ([], mlp)
    assert apart(behind(one)(behind(two)(mlp))) == ([one, two], mlp)


def test_a_change_of_ones_own_classifier_behind_gates_is_another_run(tmp_path, monkeypatch):
    own = tmp_path / "own_source.py"
    own.write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    asked = settings(tmp_path, network="familiar:own_source:plain")
    before = Session(asked).config, Session(asked).lab._store("control").folder
    own.write_text(OWN + "# changed\n")
    after = Session(asked).config, Session(asked).lab._store("control").folder
    assert before[0]["sources"] != after[0]["sources"]
    assert before[1] != after[1]
