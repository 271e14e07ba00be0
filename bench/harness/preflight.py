"""Bad input ends here: every name resolved, data and weights loaded, one batch run; nothing trained."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import torch
from torch import nn

from bench.errors import BadInputError
from bench.harness.registry import ATTACKS, first_line
from bench.materials.gate import least_outputs
from bench.meter import count_outputs

if TYPE_CHECKING:
    from bench.harness.session import Session


ATTACK_TAKES = ("classifier", "targets", "threat=", "budget=", "generator=")


def preflight(session: Session) -> None:
    """Check everything a run was asked for.

    Raises:
        BadInputError: bad input, in one line.
    """
    settings = session.settings
    for name in settings.attacks:
        if name not in ATTACKS:  # those in it are fixtures, which give the function
            _check_takes(ATTACKS.load(name), f"--attack {name}", *ATTACK_TAKES)
    if not settings.checkpoint:
        _check_takes(session.defense.train, f"--defense {settings.defense}", "task", "recorder")
    _check_names(session)
    _ = session.thresholds
    _check_data(session)
    if not 1 <= session.k <= session.spec.pixels:
        raise BadInputError(f"--pixels {session.k}; expected 1 to {session.spec.pixels}, the pixels of an image")
    network = _built(session)
    check_network(session, network, f"--network {settings.network}")
    if settings.checkpoint:
        check_network(session, session.checkpoint_network, f"--checkpoint {settings.checkpoint}")
    elif session.lab.classifier is not session.lab.factory:
        raise BadInputError(
            f"--network {settings.network}: its gates are for weights, and no defense trains them; "
            "expected --checkpoint, or a network without gates"
        )
    _ = session.store


def _check_names(session: Session) -> None:
    """An attack that training used is told from the others by its name: a weak one may not go by a strong one's."""
    for name, attack in session.defense.attacks.items():
        ours = ATTACKS.load(name) if name in ATTACKS else None
        if ours and not inspect.signature(ours).parameters and ours() is not attack:
            raise BadInputError(
                f"--defense {session.settings.defense}: what it calls {name!r} is another attack than the fixture of "
                "that name; expected the same, or a name of its own"
            )


def _check_takes(function: object, given: str, *names: str) -> None:
    """A function that could not even be called would break every test of the run, one by one."""
    expected = f"expected a function of ({', '.join(names)})"
    if not callable(function):
        raise BadInputError(f"{given}: {type(function).__name__} {str(function)[:80]!r}; {expected}")
    named = {name.rstrip("="): None for name in names if name.endswith("=")}
    try:
        inspect.signature(function).bind(*names[: len(names) - len(named)], **named)
    except TypeError as error:
        raise BadInputError(f"{given}: {error}; {expected}") from None
    except ValueError:  # some built-in functions do not say what they take
        return


def _built(session: Session) -> nn.Module:
    given = f"--network {session.settings.network}"
    try:
        network = session.lab.new_network(least_outputs(session.lab.factory, session.spec), 0)
    except BadInputError:
        raise
    except Exception as error:  # a user's code may raise anything
        raise BadInputError(f"{given}: {first_line(error)}; expected a function of (spec, outputs)") from None
    if not isinstance(network, nn.Module):
        raise BadInputError(f"{given} gives {type(network).__name__}; expected an nn.Module")
    return network


def _check_data(session: Session) -> None:
    for split in (session.data.a_train, session.data.b_train, session.data.test):
        if not torch.isfinite(split.images).all() or split.images.min() < 0 or split.images.max() > 1:
            raise BadInputError(f"--dataset {session.settings.dataset}: images outside [0, 1]; scale them into it")


def check_network(session: Session, network: nn.Module, given: str) -> None:
    """Run a few real images through a network.

    Raises:
        BadInputError: it does not run on them, or its logits have the wrong shape or are not finite.
    """
    try:
        count_outputs(network, session.data.a_val.images[:8].to(session.lab.device), session.spec)
    except BadInputError as error:
        raise BadInputError(f"{given}: {error}") from None
    except Exception as error:
        raise BadInputError(
            f"{given}: it does not run on images {session.spec.shape}: {first_line(error)}; expected an nn.Module from "
            "such images to logits"
        ) from None
