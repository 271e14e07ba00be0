"""Arguments that were not given: a run as long as the budget, a ball as wide as the threat model."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping
from typing import Any

from attacks.peers.asked import Asked, parameters
from attacks.peers.reduction import TwoLogits

LENGTHS = ("steps", "max_iter", "max_iterations", "num_iter_set", "nb_iter", "n_queries")

# Passes of one step, where they are not a forward and a backward; None: too unlike a step to be set from the budget.
FOOLBOX_COST = {"EADAttack": 3, "GenAttack": 10, "HopSkipJumpAttack": None, "SaltAndPepperNoiseAttack": None}
ART_COST = {"ElasticNet": 6, "DeepFool": 4, "CarliniL2Method": 14, "CarliniL0Method": None, "CarliniLInfMethod": None}
ART_COST |= dict.fromkeys(("BoundaryAttack", "GeoDA", "HopSkipJump", "PixelAttack", "ThresholdAttack"))
ART_COST |= dict.fromkeys(("SignOPTAttack", "ZooAttack"))
TORCHATTACKS_COST = {"EADL1": 3, "EADEN": 3, "EOTPGD": 4, "OnePixel": 10, "Pixle": 40, "SPSA": 256, "Square": 1}
TORCHATTACKS_COST |= {"SparseFool": 20, "DeepFool": 3}

# Attacks whose steps are taken anew for each step of a search for their constant.
SEARCHING = {"EADAttack", "L2CarliniWagnerAttack", "ElasticNet", "CarliniL2Method", "EADL1", "EADEN"}


def filled(asked: Asked, made: type, passes: int, cost: Mapping[str, int | None], facts: Mapping[str, Any]) -> dict:
    """The arguments to build an attack with: those given, facts where it takes them, and its length.

    Args:
        passes: what an image may cost.
        cost: passes of a step, by the attack's name.
        facts: what is so whatever is asked for: which class is wanted, how many there are, the seed.
    """
    accepted = parameters(made)
    known = {name: value for name, value in facts.items() if name in accepted}
    length, step = next((name for name in LENGTHS if name in accepted), None), cost.get(made.__name__, 2)
    if length and step:
        name = "binary_search_steps"
        searches = asked.arguments.get(name, accepted.get(name)) if made.__name__ in SEARCHING else 1
        known[length] = max(1, passes // (step * searches))
    return known | dict(asked.arguments)


def offered(module: str, base: type) -> dict[str, type]:
    """The attacks in a module, by name: what can be an instance of `base` and is not `base` itself."""
    members = vars(importlib.import_module(module)).items()
    found = {name: thing for name, thing in members if isinstance(thing, type) and issubclass(thing, base)}
    return {name: thing for name, thing in found.items() if thing is not base and not inspect.isabstract(thing)}


def ball(asked: Asked, made: type, network: TwoLogits) -> dict[str, float]:
    """`eps`, as `widest`, in the norm an attack is asked for or has: an argument, or the end of its name.

    Empty where that is none of the usual norms.
    """
    norm = asked.arguments.get("norm", parameters(made).get("norm", "2" if made.__name__.endswith("L2") else "inf"))
    norm = str(norm).removeprefix("L")
    return {"eps": widest(float(norm), network)} if norm in ("1", "2", "inf") else {}


def widest(norm: float, network: TwoLogits) -> float:
    """The norm of an image of k pixels at full brightness, of all pixels for k = 0."""
    spec, k = network.classifier.spec, network.seen.threat.k
    numbers = spec.shape[0] * (k or spec.pixels)
    return 1.0 if math.isinf(norm) else float(numbers) if norm == 0 else numbers ** (1 / norm)
