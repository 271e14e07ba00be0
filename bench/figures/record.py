"""What the commands store: one JSON file each, readable without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bench.arsenal.record import Header, Measured
from bench.record import Count, Rate, Record, Sha256


class Row(Record):
    """What can be kept from an earlier run.

    Args:
        key: hash of all that decides the figures: sources, weights, settings, library versions.
        revision: git commit of the code that measured them.
    """

    key: Sha256
    revision: str


class GateFigures(Record):
    """One gate, trained to one k.

    Args:
        proved: the largest k at which its bound keeps every class below p; None: not even the blank image.
        open: share of real test images that the gate alone would let be confident: g >= p.
        above: share of real test images with g above what is proved of every image with at most k lit pixels.
        accuracy, confident: of the classifier behind the gate, on real test images; confident: true class at p or more.
        noise, shuffled: share of noise, and of real test images with shuffled pixels, that is shut out: g < p.
        seconds: of training, on the machine at hand.
    """

    proved: Count | None
    open: Rate
    above: Rate
    accuracy: Rate
    confident: Rate
    noise: Rate
    shuffled: Rate
    seconds: Measured


class CurveRow(Row):
    """Both gates at one k, and the most that any gate could reach there.

    Args:
        k: to which they were trained.
        ceiling: share of real test images with more than k lit pixels; the others lie in S_k themselves.
        ceiling_confident: share that has more, and that the classifier alone is confident of and right about.
        gate, rival: `sparse_gate`'s, and a plain one on raw pixels.
    """

    k: Count
    ceiling: Rate
    ceiling_confident: Rate
    gate: GateFigures
    rival: GateFigures


class Curve(Header):
    """`curve`: what a proof up to k costs on real images.

    Args:
        p: probability that counts as confident.
        images: real test images.
        sparsest: fewest lit pixels of a real training image.
        accuracy, confident: of the classifier alone, on real test images.
        weights: SHA-256 of the classifier's weights.
        rows: by k.
    """

    kind: Literal["curve"] = "curve"
    dataset: str
    network: str
    p: Rate
    images: Count
    sparsest: Count
    accuracy: Rate
    confident: Rate
    weights: Sha256
    planned: tuple[Count, ...]
    rows: dict[str, CurveRow] = Field(default_factory=dict)


class TightRow(Row):
    """One network at one k; of each real class the highest probability that is proved, and that was found.

    Args:
        interval, linear: bounds over all images with at most k lit pixels.
        found: of the best image with at most k lit pixels that any attack found, or the blank one.
        by: the attack that found it; "blank" where none did better.
        seconds_interval, seconds_linear: of one bound for all classes, on the machine at hand.
    """

    k: Count
    interval: tuple[Rate, ...]
    linear: tuple[Rate, ...]
    found: tuple[Rate, ...]
    by: tuple[str, ...]
    seconds_interval: Measured
    seconds_linear: Measured


class TightNetwork(Record):
    """One network.

    Args:
        command: measures it again.
        accuracy: on real test images; None for a gate alone, which has no classes.
        weights: SHA-256 of its weights.
        proved_interval, proved: the largest k at which the bound of every class is below p, by intervals alone and by
            linear bounds too; None: not even the blank image.
        rows: by k.
    """

    command: str
    accuracy: Rate | None
    weights: Sha256
    proved_interval: Count | None
    proved: Count | None
    rows: dict[str, TightRow] = Field(default_factory=dict)


class Tightness(Header):
    """`tightness`: what is proved beside what attacks find.

    Args:
        p: probability that counts as confident.
        attacks: whose best image counts.
        networks: by name.
    """

    kind: Literal["tightness"] = "tightness"
    dataset: str
    p: Rate
    attacks: tuple[str, ...]
    planned: tuple[Count, ...]
    networks: dict[str, TightNetwork] = Field(default_factory=dict)


class GrowthRow(Row):
    """The time of one bound for all classes, each the least of several, taken in turns.

    Args:
        series: what varies from row to row.
        network: in words.
        k: lit pixels.
        interval, linear: seconds of a bound.
        forward: seconds of one forward pass of `Growth.images` images.
    """

    series: str
    network: str
    k: Count
    interval: Measured
    linear: Measured
    forward: Measured


class Growth(Header):
    """`growth`: how the time of a bound grows with k and with the network.

    Args:
        images: in the forward pass that bounds are measured against.
        shape: of an image.
        rows: by name.
    """

    kind: Literal["growth"] = "growth"
    images: Count
    shape: tuple[Count, Count, Count]
    planned: tuple[str, ...]
    rows: dict[str, GrowthRow] = Field(default_factory=dict)
