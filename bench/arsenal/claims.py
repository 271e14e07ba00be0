"""What the figures say about the claims: yes or no, each from the stored files alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bench.arsenal.record import Network, Pixels, Strength, Success, Tiny

SIGMA_ZERO = "sigma_zero"
CHEAPER = 5  # how many times cheaper the cascade is to be

Answer = Literal["yes", "no", "not measured"]


@dataclass(frozen=True)
class Claim:
    """One claim.

    Args:
        claim: in words.
        answer: what the figures say; "not measured" where they are missing.
        figures: those that decide it.
    """

    claim: str
    answer: Answer
    figures: str


def fewest(columns: Iterable[Pixels]) -> Pixels:
    """The fewest of several attacks, target by target; None where none has any."""
    return tuple(least(column) for column in zip(*columns, strict=True))


def least(pixels: Iterable[int | None]) -> int | None:
    return min((n for n in pixels if n is not None), default=None)


def no_more(ours: int | None, theirs: int | None) -> bool:
    """Ours has no more pixels; nothing found never holds, not even where they found nothing either."""
    return ours is not None and (theirs is None or ours <= theirs)


def per_class(pixels: Pixels, targets: tuple[int, ...], classes: Iterable[int]) -> list[int | None]:
    """The least of each class."""
    return [least(n for n, target in zip(pixels, targets, strict=True) if target == label) for label in classes]


@dataclass(frozen=True)
class Sides:
    """The pixels of each target that each side of the claims stands for; empty: nothing was measured.

    Args:
        ensemble, alone: the ensemble with and without sigma-zero.
        sigma: sigma-zero alone.
        raw, pruned: the best of the other libraries' attacks.
    """

    ensemble: Pixels
    alone: Pixels
    sigma: Pixels
    raw: Pixels
    pruned: Pixels


def sides(record: Strength, network: Network) -> Sides:
    """The sides of the claims on one network, over the attacks that have been measured."""
    done = {name: cell for name, cell in network.cells.items() if cell.problem is None}
    ours = {name: done[name].pixels for name in record.ensemble if name in done}
    peers = [done[name] for name in record.peers if name in done]
    return Sides(
        ensemble=fewest(ours.values()),
        alone=fewest(pixels for name, pixels in ours.items() if name != SIGMA_ZERO),
        sigma=ours.get(SIGMA_ZERO, ()),
        raw=fewest(cell.pixels for cell in peers),
        pruned=fewest(cell.pruned for cell in peers),
    )


def missing(record: Strength, network: Network) -> tuple[list[str], list[str]]:
    """Which attacks of the ensemble, and which peers, have no figures."""
    done = {name for name, cell in network.cells.items() if cell.problem is None}
    return [n for n in record.ensemble if n not in done], [n for n in record.peers if n not in done]


def strength_claims(record: Strength, network: Network) -> list[Claim]:
    """The claims of one network, per class and per target."""
    side = sides(record, network)
    classes = sorted(set(record.targets))
    peers = f"{len(record.peers) - len(missing(record, network)[1])} of {len(record.peers)} peers"
    claims = []
    for us, ours in (("the ensemble", side.ensemble), ("the ensemble without sigma_zero", side.alone)):
        for them, theirs in (
            (f"the best of {peers}, raw", side.raw),
            (f"the best of {peers}, pruned", side.pruned),
            ("sigma_zero alone", side.sigma),
        ):
            claims.append(_compared(f"per class, {us} needs no more pixels than {them}", ours, theirs, record, classes))
        claims.append(_compared(f"per target, {us} needs no more pixels than sigma_zero alone", ours, side.sigma))
    return claims


def _compared(
    claim: str, ours: Pixels, theirs: Pixels, record: Strength | None = None, classes: list[int] | None = None
) -> Claim:
    """By the least of each class where classes are given, else target by target."""
    if not ours or not theirs:
        return Claim(claim, "not measured", "")
    if record is not None and classes is not None:
        ours = tuple(per_class(ours, record.targets, classes))
        theirs = tuple(per_class(theirs, record.targets, classes))
    holds = [no_more(a, b) for a, b in zip(ours, theirs, strict=True)]
    fewer = sum(held and a != b for held, a, b in zip(holds, ours, theirs, strict=True))
    return Claim(claim, "yes" if all(holds) else "no", f"{sum(holds)} of {len(holds)}, {fewer} of them with fewer")


@dataclass(frozen=True)
class Tally:
    """Classes of tiny networks, counted.

    Args:
        known: their optimum is known.
        equal: the best image has as many pixels as the optimum, or there is none where none can be.
        below: fewer pixels than the optimum, which would be a fault of the enumeration.
    """

    known: int
    equal: int
    below: int


def tally(record: Tiny, family: str, attacks: Iterable[str]) -> Tally:
    """How often the sparsest image of these attacks is the optimum, over the networks of a family."""
    attacks = tuple(attacks)
    known = equal = below = 0
    for network in record.networks.values():
        if network.family != family:
            continue
        best = fewest(network.reached[name] for name in attacks)
        for reached, optimum in zip(best, network.optimum, strict=True):
            if optimum is None:
                below += reached is not None and reached <= network.enumerated
                continue
            known += 1
            equal += reached == optimum
            below += reached is not None and reached < optimum
    return Tally(known, equal, below)


def tiny_claims(record: Tiny) -> list[Claim]:
    """The ensemble reaches the optimum of every class whose optimum is known."""
    families = {network.family for network in record.networks.values()}
    tallies = [tally(record, family, record.ensemble) for family in families]
    known, equal, below = (sum(getattr(t, name) for t in tallies) for name in ("known", "equal", "below"))
    claim = "the ensemble reaches the true optimum of every class of every tiny network"
    holds = known and equal == known and not below and len(record.networks) == len(record.planned)
    figures = f"{equal} of {known} classes, {below} below it, {len(record.networks)} of {len(record.planned)} networks"
    return [Claim(claim, ("yes" if holds else "no") if known else "not measured", figures)]


def success_claims(record: Success) -> list[Claim]:
    """Health of every attack, and the cascade's cost at the same worst case."""
    healthy = [name for name, row in record.rows.items() if row.healthy]
    weak = ", ".join(name for name in record.rows if name not in healthy)
    chain = {name: row for name, row in record.rows.items() if row.chain is not None}
    all_passes = sum(row.passes for row in chain.values())
    chain_passes = sum(row.chain.passes for row in chain.values())
    everything = {target for row in chain.values() for target in row.fooled}
    cascaded = {target for row in chain.values() for target in row.chain.fooled}
    ratio = all_passes / chain_passes if chain_passes else 0.0
    return [
        Claim(
            f"every attack is healthy: at least {record.health:.0%} of its targets by the lower bound",
            "yes" if len(healthy) == len(record.rows) else "no",
            f"{len(healthy)} of {len(record.rows)}" + (f"; not {weak}" if weak else ""),
        ),
        Claim(
            "the cascade fools the same targets as every attack on every target",
            "yes" if cascaded == everything else "no",
            f"{len(cascaded)} and {len(everything)} of {record.targets}, {len(cascaded ^ everything)} differ",
        ),
        Claim(
            f"the cascade is at least {CHEAPER} times cheaper",
            "yes" if ratio >= CHEAPER and cascaded == everything else "no",
            f"{ratio:.1f} times: {chain_passes:,} passes against {all_passes:,}",
        ),
    ]
