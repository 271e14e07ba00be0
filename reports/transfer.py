"""Every attack on every kind of network, side by side: how often its images fool, how often they are detected."""

from __future__ import annotations

from typing import NamedTuple

from bench.record import AttackRow, Certificate

# criterion: the network that the images were made on, and what its rate counts
NETWORKS = {
    0: ("undefended control", "fools it"),
    6: ("network B", "detected by this model"),
    7: ("B and past networks", "detected by this model"),
    8: ("this model", "fools it"),
}


class Transfer(NamedTuple):
    """Rows are attacks, columns the criteria above; a cell is that attack's row, or none."""

    columns: dict[int, tuple[str, str]]
    rows: dict[str, list[AttackRow | None]]


def transfer(certificate: Certificate) -> Transfer | None:
    """The matrix; none where no attack was recorded."""
    by_criterion = {number: {row.attack: row for row in certificate.criteria[number].per_attack} for number in NETWORKS}
    columns = {number: NETWORKS[number] for number in NETWORKS if by_criterion[number]}
    attacks = dict.fromkeys(attack for number in columns for attack in by_criterion[number])
    if not attacks:
        return None
    return Transfer(columns, {attack: [by_criterion[number].get(attack) for number in columns] for attack in attacks})
