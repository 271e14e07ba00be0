"""The three libraries: how their attacks are found, built and run on two logits, original class 1, wanted class 0."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from attacks.peers.asked import Asked, parameters
from attacks.peers.defaults import ART_COST, FOOLBOX_COST, TORCHATTACKS_COST, ball, filled, offered, widest
from attacks.peers.reduction import TwoLogits

TARGET, ORIGINAL = 0, 1  # the two logits

# Attacks of ART that take the wanted class for a label though they can't be told that they are targeted.
LABEL_IS_TARGET = {"SaliencyMapMethod", "TargetedUniversalPerturbation"}


class Foolbox:
    """https://github.com/bethgelab/foolbox. Attacks within a fixed norm take `epsilon`, one more argument.

    Left out, it is the norm of k pixels of full brightness, of all of them for k = 0.
    """

    package = "foolbox"
    alone = frozenset()
    lifted = frozenset({"L2CarliniWagnerAttack", "NewtonFoolAttack"})
    away = frozenset({"SparseL1DescentAttack"})  # targeted, it holds every dark pixel at 0

    def classes(self) -> dict[str, type]:
        return offered("foolbox.attacks", importlib.import_module("foolbox.attacks").Attack)

    def accepted(self, made: type) -> set[str]:
        return {*parameters(made), *({"epsilon"} if "epsilon" in inspect.signature(made.run).parameters else ())}

    def build(self, asked: Asked, made: type, network: TwoLogits, passes: int, seed: int) -> Any:
        arguments = filled(asked, made, passes, FOOLBOX_COST, {})
        arguments.pop("epsilon", None)
        attack = made(**arguments)
        if made.__name__ == "L0FMNAttack":
            mend(attack, most=math.prod(network.classifier.spec.shape) - 1)
        return attack

    def run(self, asked: Asked, attack: Any, network: TwoLogits, images: Tensor) -> Tensor:
        from foolbox.attacks.fast_minimum_norm import FMNAttackLp

        options = inspect.signature(attack.run).parameters
        if "epsilon" in options:
            epsilon = asked.arguments.get("epsilon", widest(attack.distance.p, network))
            return self.attacked(attack, network, images, epsilon=epsilon)
        if "starting_points" not in options or isinstance(attack, FMNAttackLp):  # those start from the clean image
            return self.attacked(attack, network, images)
        points, there = network.crossed(images)
        if there.any():
            points[there] = self.attacked(attack, network, images[there], starting_points=points[there])
        return points

    def attacked(self, attack: Any, network: TwoLogits, images: Tensor, **options: Any) -> Tensor:
        """Run it towards the wanted class, or, where it can't be told one, away from the other."""
        from foolbox import PyTorchModel, criteria

        model = PyTorchModel(network.eval(), bounds=(0, 1), device=images.device)
        labels = torch.full((len(images),), ORIGINAL, device=images.device)
        if type(attack).__name__ not in self.away:
            wanted = criteria.TargetedMisclassification(torch.full_like(labels, TARGET))
            try:
                return attack.run(model, images, wanted, **options)
            except ValueError as error:
                if str(error) != "unsupported criterion":
                    raise
        return attack.run(model, images, criteria.Misclassification(labels), **options)


class Art:
    """https://github.com/Trusted-AI/adversarial-robustness-toolbox: the attacks of `art.attacks.evasion`."""

    package = "art"
    alone = frozenset({"BoundaryAttack", "GeoDA", "HopSkipJump", "PixelAttack", "ShadowAttack"})
    lifted = frozenset({"CarliniL0Method", "CarliniL2Method", "CarliniLInfMethod", "NewtonFool"})
    unlabelled = frozenset({"PixelAttack", "ThresholdAttack"})  # refuse labels of two classes, and do without
    crossing = frozenset({"BoundaryAttack", "HopSkipJump"})  # start from an image of the wanted class

    def classes(self) -> dict[str, type]:
        with no_home():
            base = importlib.import_module("art.attacks.attack").EvasionAttack
            return offered("art.attacks.evasion", base)

    def accepted(self, made: type) -> set[str]:
        return set(parameters(made))

    def build(self, asked: Asked, made: type, network: TwoLogits, passes: int, seed: int) -> Any:
        from art.estimators.classification import PyTorchClassifier

        estimator = PyTorchClassifier(
            network.eval(),
            loss=nn.CrossEntropyLoss(),
            input_shape=network.classifier.spec.shape,
            nb_classes=2,
            clip_values=(0.0, 1.0),
            device_type="cpu" if network.device.device.type == "cpu" else "gpu",
        )
        facts = {"batch_size": len(network.seen.targets), "verbose": False, "seed": seed}
        facts |= ball(asked, made, network)
        facts |= {"targeted": True} if made.__name__ not in self.unlabelled else {}
        return made(estimator, **filled(asked, made, passes, ART_COST, facts))

    def run(self, asked: Asked, attack: Any, network: TwoLogits, images: Tensor) -> Tensor:
        name = type(attack).__name__
        label = TARGET if attack.targeted or name in LABEL_IS_TARGET else ORIGINAL
        labels = None if name in self.unlabelled else np.eye(2, dtype=np.float32)[[label] * len(images)]
        options = {}
        if name in self.crossing:
            options["x_adv_init"] = network.crossed(images)[0].cpu().numpy()
        return torch.from_numpy(attack.generate(images.cpu().numpy(), labels, **options)).to(images)


class Torchattacks:
    """https://github.com/Harry24k/adversarial-attacks-pytorch."""

    package = "torchattacks"
    alone = frozenset({"DeepFool", "JSMA", "OnePixel", "Pixle", "SparseFool"})
    lifted = frozenset({"CW"})
    away = frozenset({"FAB"})  # targeted, it takes what is not yet of the wanted class for done

    def classes(self) -> dict[str, type]:
        return offered("torchattacks", importlib.import_module("torchattacks.attack").Attack)

    def accepted(self, made: type) -> set[str]:
        return set(parameters(made))

    def build(self, asked: Asked, made: type, network: TwoLogits, passes: int, seed: int) -> Any:
        facts = {"n_classes": 2, "seed": seed} | ball(asked, made, network)
        attack = made(network.eval(), **filled(asked, made, passes, TORCHATTACKS_COST, facts))
        if "targeted" in attack.supported_mode and made.__name__ not in self.away:
            attack.set_mode_targeted_by_label(quiet=True)
        return attack

    def run(self, asked: Asked, attack: Any, network: TwoLogits, images: Tensor) -> Tensor:
        label = TARGET if attack.targeted else ORIGINAL
        return attack(images, torch.full((len(images),), label, device=images.device))


def mend(attack: Any, most: int) -> None:
    """Foolbox's L0 projection looks past the last number once it may keep all: let it keep at most so many."""
    project = attack.project
    attack.project = lambda x, x0, epsilon: project(x=x, x0=x0, epsilon=epsilon.minimum(most))


@contextmanager
def no_home() -> Iterator[None]:
    """A home folder for the moment: importing ART writes a settings file, for data sets, into the user's."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, HOME=folder, USERPROFILE=folder):
        yield
