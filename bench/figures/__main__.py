"""`python -m bench.figures`: measure what is proved of sparse images, and write the page that says so."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bench.arsenal.commandline import add_command, add_data_options, run_parsed, safe, whole
from bench.arsenal.record import RecordError
from bench.figures.page import FOLDER, render

CURVE = """\
What a proof up to k costs on real images: sparse_gate's gate, trained to each k, beside a plain one.
A killed command goes on where it was: each k is stored as soon as it is measured, and measured again only when the
sources that decide it, the classifier's weights, the data or torch have changed.

example:
  python -m bench.figures curve --dataset mnist --network wide --data-root data"""

TIGHTNESS = """\
Proved bounds beside the best attack, at each k, of undefended networks, of the gate alone, and of given weights.
A killed command goes on where it was: each network at each k is stored as soon as it is measured.

example:
  python -m bench.figures tightness --dataset digits
  python -m bench.figures tightness --weights runs/NAME/rounds/004/network.safetensors --network cnn"""

GROWTH = """\
How the time of a bound grows with k and with the network, in forward passes timed beside it.
Needs no data. A killed command goes on where it was.

example:
  python -m bench.figures growth"""

RENDER = """\
Write the page from the stored files. The other commands end with this; torch is not imported.

example:
  python -m bench.figures render"""

LEAST_PASSES = 40


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench.figures", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="{curve,tightness,growth,render}")

    def command(name: str, words: str, run: Callable) -> argparse.ArgumentParser:
        return add_command(commands, name, words, run, Path("bench/proof"), FOLDER)

    def seeded(sub: argparse.ArgumentParser) -> None:
        add = sub.add_argument
        add("--seed", type=whole(0), default=0, metavar="N", help="every draw follows from it (default 0)")
        add("--fresh", action="store_true", help="measure all again, whatever is stored")

    def data(sub: argparse.ArgumentParser) -> None:
        add = sub.add_argument
        add("--dataset", default="digits", metavar="NAME", help="digits (default), mnist, ...")
        add("--k", type=whole(0), action="append", dest="ks", metavar="K", help="lit pixels; repeatable (default: the "
            "data set's usual ones)")  # fmt: skip
        add_data_options(sub, "trained networks")

    sub = command("curve", CURVE, run_curve)
    data(sub)
    sub.add_argument("--network", default="cnn", metavar="NAME", help="the classifier: cnn (default), wide, mlp")
    seeded(sub)

    sub = command("tightness", TIGHTNESS, run_tightness)
    data(sub)
    add = sub.add_argument
    add("--targets", type=whole(1), default=10, metavar="N", help="of each class, for every attack (default 10)")
    add("--passes", type=whole(LEAST_PASSES), default=1000, metavar="N", help="forward and backward passes an image, "
        "for every attack (default 1000)")  # fmt: skip
    add("--weights", type=Path, metavar="FILE", help="weights of one more network to measure")
    add("--network", metavar="NAME", help="the architecture that --weights are of: cnn, wide, mlp, gated:cnn, ...")
    add("--label", metavar="NAME", help="what --weights are called on the page (default: the file's name)")
    seeded(sub)

    sub = command("growth", GROWTH, run_growth)
    sub.add_argument("--repeats", type=whole(1), default=5, metavar="N", help="times each, of which the least counts "
                     "(default 5)")  # fmt: skip
    seeded(sub)

    command("render", RENDER, run_render)
    return top


def _command(arguments: argparse.Namespace, *names: str) -> str:
    """The command that makes the same figures again; what was not given is left to its default."""
    words = ["python -m bench.figures", arguments.command]
    words += [f"--{name} {value}" for name in names if (value := getattr(arguments, name)) is not None]
    return " ".join([*words, *(f"--k {k}" for k in getattr(arguments, "ks", None) or ())])


def run_curve(arguments: argparse.Namespace) -> None:
    from bench.figures.curve import Asked, measure

    asked = Asked(arguments.dataset, arguments.network, tuple(arguments.ks or ()), arguments.seed)
    name = f"curve-{safe(arguments.dataset)}-{safe(arguments.network)}"
    command = _command(arguments, "dataset", "network", "seed")
    measure(asked, command, stored_at(arguments, name), **_places(arguments))


def run_tightness(arguments: argparse.Namespace) -> None:
    from bench.figures.tightness import Asked, measure

    if (arguments.weights is None) != (arguments.network is None):
        raise RecordError("--weights and --network: expected both or neither: a file, and the network it is of")
    if arguments.label is not None and arguments.weights is None:
        raise RecordError("--label: expected with --weights, which it names")
    weights = None
    if arguments.weights:
        weights = (arguments.label or arguments.weights.stem, arguments.weights, arguments.network)
    ks = tuple(arguments.ks or ())
    asked = Asked(arguments.dataset, ks, arguments.targets, arguments.passes, arguments.seed, weights)
    usual = ("dataset", "targets", "passes", "seed")
    commands = (_command(arguments, *usual), _command(arguments, *usual, "weights", "network", "label"))
    measure(asked, commands, stored_at(arguments, f"tightness-{safe(arguments.dataset)}"), **_places(arguments))


def run_growth(arguments: argparse.Namespace) -> None:
    from bench.figures.growth import measure

    command = _command(arguments, "repeats", "seed")
    where = stored_at(arguments, "growth")
    measure(arguments.repeats, arguments.seed, command, where, fresh=arguments.fresh)


def run_render(arguments: argparse.Namespace) -> None:
    print(render(arguments.into))


def stored_at(arguments: argparse.Namespace, name: str) -> Path:
    return arguments.into / FOLDER / f"{name}.json"


def _places(arguments: argparse.Namespace) -> dict:
    return {
        "data_root": arguments.data_root,
        "download": arguments.download,
        "cache": arguments.run_root / "cache",
        "fresh": arguments.fresh,
    }


def main(arguments: list[str] | None = None) -> int:
    return run_parsed("python -m bench.figures", parser().parse_args(arguments), run_render)


if __name__ == "__main__":
    sys.exit(main())
