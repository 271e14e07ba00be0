"""How far a model is proved and from where p is reached, in words: for the pages and the terminal alike."""

from __future__ import annotations

from typing import NamedTuple

from bench.record import Certificate
from reports.words import NOTHING, at_least, at_most, count

NOT_SEARCHED = "not searched"  # no attack looked for the fewest lit pixels
NOT_FOUND = "nothing found"  # attacks looked, and reached p with nothing


def level(certificate: Certificate) -> float:
    """The probability that no real class should reach: the least of the classes' operating points, in [0, 1]."""
    threat = certificate.threat
    return min(threat.operating_point, default=threat.p)


class Values(NamedTuple):
    """What is known at one k, each cell as text."""

    k: int
    linear: str
    interval: str
    best: str
    state: str


def pixels(number: int) -> str:
    """E.g. `21 lit pixels`."""
    return f"{count(number)} lit {'pixel' if number == 1 else 'pixels'}"


def not_reached(certificate: Certificate) -> str:
    """What it means that `fooled_from` is absent."""
    return NOT_SEARCHED if certificate.frontier is None else NOT_FOUND


def proved_sentence(certificate: Certificate) -> str:
    """What is proved, or why nothing is."""
    return "No proof was attempted." if certificate.proof is None else certificate.proof.reason


def reached_sentence(certificate: Certificate) -> str:
    """The fewest lit pixels that reached p, or what became of looking for them."""
    if certificate.fooled_from is not None:
        return f"An attack reached p with {pixels(certificate.fooled_from)}."
    if certificate.frontier is None:
        return "No attack looked for the fewest lit pixels."
    return "No attack found an image that reaches p."


def state(certificate: Certificate, k: int) -> str:
    """What is known of the images with at most k lit pixels: `proved`, `reached` or `open`."""
    if certificate.proved_to is not None and k <= certificate.proved_to:
        return "proved"
    return "reached" if certificate.fooled_from is not None and k >= certificate.fooled_from else "open"


def _gap(first: int, last: int) -> str:
    if first >= last:
        return "nothing is open" if first > last else f"open at {count(first)}"
    return f"open from {count(first)} to {count(last)}"


def between(certificate: Certificate) -> str:
    """Up to where it is proved, from where p is reached, and which counts of lit pixels are open."""
    proved, reached = certificate.proved_to, certificate.fooled_from
    first = 0 if proved is None else proved + 1
    parts = ["Nothing is proved" if proved is None else f"Proved up to {pixels(proved)}"]
    if reached is None:
        parts.append(f"reached from: {not_reached(certificate)}")
        parts.append(f"open from {count(first)}" if first <= certificate.threat.pixels else "nothing is open")
    else:
        parts.append(f"reached from {pixels(reached)}")
        parts.append(_gap(first, reached - 1))
    return "; ".join(parts) + "."


def proof_values(certificate: Certificate) -> list[Values]:
    """Every k that has a bound or an attack, in order."""
    bounds = {row.k: row for row in certificate.proof.rows} if certificate.proof else {}
    found = {row.k: row for row in certificate.frontier.rows} if certificate.frontier else {}
    return [
        Values(
            k,
            at_most(bounds[k].linear) if k in bounds else NOTHING,
            at_most(bounds[k].interval) if k in bounds else NOTHING,
            at_least(found[k].best_probability) if k in found else NOTHING,
            state(certificate, k),
        )
        for k in sorted(bounds.keys() | found.keys())
    ]


def proof_line(certificate: Certificate) -> str | None:
    """One line for a terminal, in ASCII unless the certificate is not; none where no proof was attempted."""
    proof = certificate.proof
    if proof is None or proof.proved_to is None:
        return proof and proof.reason
    reached = certificate.fooled_from
    found = f"reached from: {not_reached(certificate)}" if reached is None else f"reached from {reached}"
    lit = f"{proof.proved_to} lit pixel{'' if proof.proved_to == 1 else 's'}"
    return f"proved up to {lit}; {found} (sparsest real training image: {proof.sparsest_real})"
