"""The page's sections: one a command, each from its stored file alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil, floor
from statistics import fmean as mean

from bench.arsenal.markdown import number, source, table
from bench.figures.record import Curve, CurveRow, GateFigures, Growth, GrowthRow, Tightness, TightNetwork

GIVEN = {"mnist": {33: 0.995, 45: 0.969, 60: 0.90, 90: 0.62}}  # an earlier trial's shares, as they were reported
WANTED = 0.985  # accuracy and confident accuracy, at WANTED_K or, elsewhere, one less than the sparsest real image has
WANTED_K = {"mnist": 33, "digits": 15}

CURVE = """\
## What a proof costs on real images: {dataset}

{source}

{images:,} real test images; the sparsest real training image has {sparsest} lit pixels. The classifier behind the \
gates is `{network}`, trained as `sparse_gate` trains its own, weights `{weights}`: alone its accuracy is {accuracy}, \
and it is confident and right (true class at {p} or more) on {confident}.

A gate is trained to each k. *Proved* is the largest k, found exactly, at which its bound keeps every class below \
{p}, whatever the classifier says. *Let through* is the share of real test images with g >= {p}; *above* the share \
with g above what is proved of every image with at most k lit pixels. The *ceiling* is the share of real test images \
with more than k lit pixels: any other lies in S_k itself, so that no proof over S_k can let it through; for confident \
accuracy it is the share that has more, and that the classifier alone is confident of and right about. *Noise* and \
*shuffled* are the shares of noise, and of real images with their pixels in another order, that are shut out, g < {p}.

The plain gate is as wide, sees raw pixels, has no saturating first layer, and is trained with the same loss, steps \
and draws; its answer is then made steeper and moved until the proof holds. The share above is what compares the two: \
no such change moves it."""

TIGHTNESS = """\
## Proved, beside what attacks find: {dataset}

{source}

For each network and k: the highest probability over all images with at most k lit pixels, as it is proved by interval \
bounds, as it is proved by linear bounds too, and as it was found: the best image of {attacks}, with {targets} targets \
a class and {passes:,} passes an image each, or of any smaller k, or the blank one. Most and mean are over the real \
classes; bounds are rounded up, what was found is rounded down. The truth lies between *linear* and *found*; the gap \
is the mean of their difference. Undefended networks are trained as `sparse_gate` trains its classifier; a gate alone \
has one class, and lets an image through or not."""

GROWTH = """\
## The time of a bound

{source}

Bounds of all 10 classes at one k, over images of {shape}, of untrained networks, whose weights follow from the seed; \
the least of {repeats} times, taken in turns. A *pass* is one forward pass of {images:,} images through the same \
network, timed beside it: bounds are given in passes, which depends little on the machine, and in seconds, which were \
taken on whatever machine ran the command."""


def curve_section(record: Curve) -> Iterable[str]:
    yield CURVE.format(
        dataset=record.dataset,
        source=source(record, (row.revision for row in record.rows.values())),
        images=record.images,
        sparsest=record.sparsest,
        network=record.network,
        weights=record.weights[:12],
        accuracy=percent(record.accuracy),
        confident=percent(record.confident),
        p=record.p,
    )
    rows = sorted(record.rows.values(), key=lambda row: row.k)
    given = GIVEN.get(record.dataset, {})
    yield "On real test images:"
    head = ["k", "gate", "proved", "let through", "above", "ceiling", "accuracy", "confident", "ceiling", "noise",
            "shuffled", "seconds"]  # fmt: skip
    yield table(head, [line for row in rows for line in _gates(row)])
    if missing := sorted(set(record.planned) - {row.k for row in rows}):
        yield f"Not measured yet: k = {', '.join(map(str, missing))}."
    yield "The share above the bound, beside other gates:"
    head = ["k", "`sparse_gate`", "plain gate, measured here", "earlier trial, as given", "beaten"]
    yield table(head, [_beside(row, given.get(row.k)) for row in rows])
    yield table(["claim", "holds", "figures"], list(_curve_claims(record, rows)))


def _gates(row: CurveRow) -> Iterable[list[str]]:
    ceilings = percent(row.ceiling), percent(row.ceiling_confident)
    for name, gate in (("`sparse_gate`", row.gate), ("plain", row.rival)):
        yield [
            str(row.k), name, number(gate.proved), percent(gate.open), percent(gate.above), ceilings[0],
            percent(gate.accuracy), percent(gate.confident), ceilings[1], percent(gate.noise), percent(gate.shuffled),
            f"{gate.seconds:.1f}",
        ]  # fmt: skip


def _beside(row: CurveRow, given: float | None) -> list[str]:
    others = [row.rival.above] + ([given] if given is not None else [])
    beaten = yes(all(row.gate.above > other for other in others))
    if beaten == "no" and row.gate.above >= row.ceiling:
        beaten = "nothing can: at the ceiling"
    return [str(row.k), percent(row.gate.above), percent(row.rival.above), percent(given), beaten]


def _curve_claims(record: Curve, rows: Sequence[CurveRow]) -> Iterable[list[str]]:
    wanted = WANTED_K.get(record.dataset, record.sparsest - 1)
    whole = f"the classifier alone {percent(record.accuracy)}, {percent(record.confident)}"
    claim = f"proved to at least {wanted} at accuracy and confident accuracy of at least {percent(WANTED)}"
    found = [row.gate for row in rows if row.gate.proved is not None and row.gate.proved >= wanted]
    if found:
        best = max(found, key=lambda gate: min(gate.accuracy, gate.confident))
        yield [claim, yes(min(best.accuracy, best.confident) >= WANTED), f"{_figures(best)}; {whole}"]
    else:
        yield [
            claim,
            "no" if set(record.planned) <= {row.k for row in rows} else "not measured",
            "no gate proved so far",
        ]
    short = [row.k for row in rows if row.gate.proved is None or row.gate.proved < row.k]
    yield ["every gate is proved to the k it was trained to", yes(not short), f"short at k = {short}" if short else ""]


def _figures(gate: GateFigures) -> str:
    return f"proved {gate.proved}, accuracy {percent(gate.accuracy)}, confident {percent(gate.confident)}"


def tightness_section(record: Tightness) -> Iterable[str]:
    settings = record.settings
    revisions = (row.revision for network in record.networks.values() for row in network.rows.values())
    yield TIGHTNESS.format(
        dataset=record.dataset,
        source=source(record, revisions),
        attacks=", ".join(f"`{name}`" for name in record.attacks),
        targets=settings["targets"],
        passes=settings["passes"],
    )
    yield "No image with at most *proved* lit pixels reaches p for any class; one with *reached from* does:"
    head = ["network", "test accuracy", "proved, intervals alone", "proved, linear bounds too", "reached from", "p"]
    yield table(head, [_reach(name, network, record.p) for name, network in record.networks.items()])
    for name, network in record.networks.items():
        yield f"### {name}: weights `{network.weights[:12]}`"
        yield table(TIGHTNESS_HEAD, list(_tight_rows(network)))
        if missing := sorted(set(record.planned) - {row.k for row in network.rows.values()}):
            yield f"Not measured yet: k = {', '.join(map(str, missing))}."


TIGHTNESS_HEAD = (
    "k", "interval: most", "mean", "linear: most", "mean", "found: most", "mean", "gap", "found by",
    "seconds: interval", "linear",
)  # fmt: skip


def best_so_far(network: TightNetwork) -> dict[int, tuple[float, ...]]:
    """k -> each class's highest probability found with at most k lit pixels: an image of few is one of many, too."""
    best: dict[int, tuple[float, ...]] = {}
    before: tuple[float, ...] = ()
    for row in sorted(network.rows.values(), key=lambda row: row.k):
        before = tuple(map(max, zip(before, row.found, strict=True))) if before else row.found
        best[row.k] = before
    return best


def _tight_rows(network: TightNetwork) -> Iterable[list[str]]:
    best = best_so_far(network)
    for row in sorted(network.rows.values(), key=lambda row: row.k):
        ways = ((row.interval, ceil), (row.linear, ceil), (best[row.k], floor))
        sides = [_digits(value, way) for side, way in ways for value in (max(side), mean(side))]
        gap = _digits(mean(row.linear) - mean(best[row.k]), ceil)
        by = ", ".join(f"`{name}` {row.by.count(name)}" for name in sorted(set(row.by)))
        yield [str(row.k), *sides, gap, by, f"{row.seconds_interval:.3f}", f"{row.seconds_linear:.3f}"]


def _reach(name: str, network: TightNetwork, p: float) -> list[str]:
    fooled = min((k for k, found in best_so_far(network).items() if max(found) >= p), default=None)
    reach = [number(network.proved_interval), number(network.proved), number(fooled)]
    return [name, percent(network.accuracy), *reach, str(p)]


def _digits(value: float, way: Callable[[float], int]) -> str:
    """Four digits, rounded the way that claims less: a bound up, what was found down."""
    return f"{way(round(value * 1e4, 6)) / 1e4:.4f}"


def growth_section(record: Growth) -> Iterable[str]:
    yield GROWTH.format(
        source=source(record, (row.revision for row in record.rows.values())),
        shape=" by ".join(map(str, record.shape)),
        repeats=record.settings["repeats"],
        images=record.images,
    )
    head = ["varied", "network", "k", "interval, in passes", "linear, in passes", "linear / interval",
            "seconds: interval", "linear", "a pass"]  # fmt: skip
    names = {name: record.rows.get(name) for name in record.planned}
    yield table(head, [_growth_row(row) for row in names.values() if row])
    if missing := [name for name, row in names.items() if row is None]:
        yield f"Not measured yet: {'; '.join(missing)}."


def _growth_row(row: GrowthRow) -> list[str]:
    ratios = [row.interval / row.forward, row.linear / row.forward, row.linear / row.interval]
    seconds = [row.interval, row.linear, row.forward]
    return [row.series, row.network, str(row.k), *(f"{r:.3g}" for r in ratios), *(f"{s:.4f}" for s in seconds)]


def percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.2%}"


def yes(holds: bool) -> str:
    return "yes" if holds else "no"
