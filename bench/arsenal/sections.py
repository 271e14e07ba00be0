"""The page's sections: one a command, each from its stored file alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.arsenal import claims
from bench.arsenal.markdown import number, source, table
from bench.arsenal.record import Cell, Network, Pixels, Strength, Success, SuccessRow, Tiny

OUTCOMES = ("fooling", "borderline", "in_distribution", "dense", "unconfident", "neither")

STRENGTH = """\
## Fewest lit pixels on undefended networks: {dataset}

{source}

Probability at least {p} of the target over all outputs, from nothing, {n} targets, every class equally often, \
{passes} passes an image. What counts is the image rounded to the data set's grey values, as the harness sees it. The \
ensemble is every attack that is given a network and a target and nothing else; those that are given a judge, or \
images to start from, are left out.

- *minimiser*: an attack that minimises pixels is asked for none, and goes on to the end of the passes.
- *descent*: one that stops at a number of pixels is asked several times, first for the usual number, then for one \
fewer than it has; the passes are shared, and what it yields is pruned within them.
- *peer*: another library's attack, with the same passes. Its result is the sparsest confident image that it returns \
or looks at, as it is, and again after pruning it with further passes, which are given to peers alone.

The median is over all targets; one without an image counts as more pixels than any other. The least of each class \
stands in label order."""

TINY = """\
## The true optimum on tiny networks

{source}

The optimum is the fewest lit pixels with which any image reaches p >= {p}, by trying every support and every value. \
A class whose optimum has more pixels than were tried, or that no image reaches, is left out. An attack has several \
targets a class, and {passes} passes a target."""

SUCCESS = """\
## Success on the undefended control: {dataset}

{source}

{n} targets, {passes} passes an image over {restarts} starts, network {network}, validation accuracy {accuracy}. \
Success is a confident and sparse image, whatever the judge says; the bound is the lower one-sided 95% Clopper-Pearson \
bound; an attack is healthy where the bound is at least {health}. Fooling images are those that the judge rejects, too.

The cascade runs the cheapest attack first, each on the targets that still stand; an attack's price is known from the \
control, as in every run. Attacks that are given images to start from are no part of it here, nor of the cost of \
running every attack: what they start from has cost others their passes."""


def strength_section(record: Strength) -> Iterable[str]:
    settings = record.settings
    revisions = {cell.revision for network in record.networks.values() for cell in network.cells.values()}
    yield STRENGTH.format(
        dataset=record.dataset,
        source=source(record, revisions),
        p=settings["p"],
        n=len(record.targets),
        passes=f"{settings['passes']:,}",
    )
    for name, network in record.networks.items():
        yield f"### {name}: validation accuracy {network.accuracy:.2%}, weights `{network.weights[:12]}`"
        yield table(STRENGTH_HEAD, [_strength_row(record, network, n) for n in (*record.ensemble, *record.peers)])
        yield _claims(claims.strength_claims(record, network))
        yield _side_by_side(record, network)


STRENGTH_HEAD = (
    "attack", "asked", "success", "median", "least", "least of each class", "pruned: median", "least",
    "least of each class", "passes an image", "seconds",
)  # fmt: skip


def _strength_row(record: Strength, network: Network, name: str) -> list[str]:
    cell = network.cells.get(name)
    if cell is None or cell.problem is not None:
        return [f"`{name}`", cell.problem if cell else "not measured yet", *[""] * (len(STRENGTH_HEAD) - 2)]
    found = sum(n is not None for n in cell.pixels)
    pruned = _pixels(record, cell.pruned) if cell.pruned else [""] * 3
    raw = _pixels(record, cell.pixels)
    return [f"`{name}`", cell.way, f"{found}/{len(cell.pixels)}", *raw, *pruned, _passes(cell), f"{cell.seconds:.1f}"]


def _passes(cell: Cell) -> str:
    return f"{cell.passes:,.0f}" + (f" + {cell.pruning:,.0f}" if cell.pruning else "")


def _pixels(record: Strength, pixels: Pixels) -> list[str]:
    """Median, least, and least of each class."""
    classes = claims.per_class(pixels, record.targets, sorted(set(record.targets)))
    return [_median(pixels), number(claims.least(pixels)), " ".join(map(number, classes))]


def _median(pixels: Pixels) -> str:
    """The middle one, the lower of two; none at all is more than any number."""
    ordered = sorted(pixels, key=lambda n: (n is None, n))
    return number(ordered[(len(ordered) - 1) // 2])


def _side_by_side(record: Strength, network: Network) -> str:
    side = claims.sides(record, network)
    classes = sorted(set(record.targets))
    rows = []
    for name, pixels in (
        ("the ensemble", side.ensemble),
        ("the ensemble without sigma_zero", side.alone),
        ("sigma_zero alone", side.sigma),
        ("the best peer, raw", side.raw),
        ("the best peer, pruned", side.pruned),
    ):
        least = claims.per_class(pixels, record.targets, classes) if pixels else [None] * len(classes)
        rows.append([name, *map(number, least)])
    return table(["least of class", *map(str, classes)], rows)


def tiny_section(record: Tiny) -> Iterable[str]:
    made = source(record, (network.revision for network in record.networks.values()))
    yield TINY.format(source=made, p=record.settings["p"], passes=f"{record.settings['passes']:,}")
    families = sorted({network.family for network in record.networks.values()})
    rows = [("the ensemble", record.ensemble), *((f"`{name}`", (name,)) for name in record.ensemble)]
    lines = []
    for title, attacks in rows:
        tallies = [claims.tally(record, family, attacks) for family in families]
        lines.append([title, *(f"{tally.equal} of {tally.known}" for tally in tallies)])
    networks = [sum(n.family == family for n in record.networks.values()) for family in families]
    head = [f"{family} ({count} networks)" for family, count in zip(families, networks, strict=True)]
    yield table(["optimum reached, of classes", *head], lines)
    yield _claims(claims.tiny_claims(record))
    if missed := list(_missed(record)):
        yield "Missed:"
        yield table(["network", "family", "class", "optimum", "the ensemble"], missed)


def _missed(record: Tiny) -> Iterable[list[str]]:
    for name, network in record.networks.items():
        best = claims.fewest(network.reached[attack] for attack in record.ensemble)
        for label, (optimum, reached) in enumerate(zip(network.optimum, best, strict=True)):
            if optimum is not None and optimum != reached:
                yield [name, network.family, str(label), str(optimum), number(reached)]


def success_section(record: Success) -> Iterable[str]:
    yield SUCCESS.format(
        dataset=record.dataset,
        source=source(record, {record.revision}),
        n=record.targets,
        passes=f"{record.passes:,}",
        restarts=record.restarts,
        network=record.network,
        accuracy=f"{record.accuracy:.2%}",
        health=f"{record.health:.0%}",
    )
    head = [
        "attack", "success", "bound", "healthy", *(name.replace("_", " ") for name in OUTCOMES), "passes an image",
        "passes a fooling image", "cascade: targets", "passes", "seconds",
    ]  # fmt: skip
    yield table(head, [_success_row(name, row) for name, row in record.rows.items()])
    yield _claims(claims.success_claims(record))


def _success_row(name: str, row: SuccessRow) -> list[str]:
    fooling = row.outcomes["fooling"]
    chain = [str(row.chain.targets), f"{row.chain.passes:,}"] if row.chain else ["no part of it", ""]
    return [
        f"`{name}`",
        f"{row.reached.successes}/{row.reached.n}",
        _floored(row.reached.lower),
        "yes" if row.healthy else "no",
        *(str(row.outcomes[outcome]) for outcome in OUTCOMES),
        f"{row.passes / row.reached.n:,.0f}",
        f"{row.passes / fooling:,.0f}" if fooling else "-",
        *chain,
        f"{row.seconds:.1f}",
    ]


def _floored(rate: float) -> str:
    """Per cent with one digit, never more than it is."""
    return f"{int(rate * 1000) / 10:.1f}%"


def _claims(found: Sequence[claims.Claim]) -> str:
    return table(["claim", "holds", "figures"], [[claim.claim, claim.answer, claim.figures] for claim in found])
