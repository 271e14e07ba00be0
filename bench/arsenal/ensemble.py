"""Which attacks are measured: the ensemble, and other libraries' beside it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import attacks.fixtures
from bench.harness.registry import ATTACKS
from bench.types import Attack

# Other libraries' attacks that minimise pixels, or may be made to; "library:Attack", as `--attack` takes them.
PEERS = (  # those that find sparse images from blank at all; attacks/peers/README.md has the rest
    "foolbox:EADAttack",
    "foolbox:L0FMNAttack",
    "foolbox:L1FMNAttack",
    "foolbox:SparseL1DescentAttack",
    "foolbox:L1BrendelBethgeAttack",
    "foolbox:L0BrendelBethgeAttack",
    "art:ElasticNet",
    "art:SaliencyMapMethod(theta=1.0)",
    "torchattacks:JSMA",
    "torchattacks:SparseFool",
    "torchattacks:EADL1",
)
DISTRIBUTIONS = {"foolbox": "foolbox", "art": "adversarial-robustness-toolbox", "torchattacks": "torchattacks"}


def ensemble() -> dict[str, Attack]:
    """Every attack of attacks/fixtures.py, by name."""
    fixtures = {name: ATTACKS.load(name) for name in ATTACKS.names() if hasattr(attacks.fixtures, name)}
    return {name: fixture() for name, fixture in fixtures.items()}


def unaided() -> dict[str, Attack]:
    """Those that need neither a judge nor images to start from: a network and a target are all they are given."""
    return {name: a for name, a in ensemble().items() if name not in ATTACKS.judged and name not in ATTACKS.started}


def installed(peer: str) -> str | None:
    """The version of a peer's library; None where it is not installed."""
    try:
        return version(DISTRIBUTIONS[peer.partition(":")[0]])
    except PackageNotFoundError:
        return None
