"""`python -m bench.arsenal`: measure how strong the attacks are, and write the page that says so."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bench.arsenal.commandline import add_command, add_data_options, run_parsed, safe, whole
from bench.arsenal.page import FOLDER, render

STRENGTH = """\
How few lit pixels each attack needs on undefended networks, other libraries' attacks beside ours.
A killed command goes on where it was: each attack on each network is stored as soon as it is measured, and measured
again only when its own sources, the network's weights, or the versions of the libraries under it have changed.

example:
  python -m bench.arsenal strength --data-root data"""

TINY = """\
How often the attacks reach the true optimum, found by enumeration, on networks small enough for it.
Needs no data. A killed command goes on where it was; a network is measured again when an attack has changed.

example:
  python -m bench.arsenal tiny --networks 50"""

SUCCESS = """\
Every attack's success on the undefended control, with its bound, and what the cascade saves.
The work is a run of the suites and is kept in its folder under --run-root, so that a killed command goes on; any change
of the code begins a new one.

example:
  python -m bench.arsenal success --dataset mnist --data-root data"""

RENDER = """\
Write the page from the stored files. The other commands end with this; torch is not imported.

example:
  python -m bench.arsenal render"""

LEAST_PASSES = 40  # an attack that is asked several times gets a few steps each time


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench.arsenal", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="{strength,tiny,success,render}")

    def command(name: str, words: str, run: Callable) -> argparse.ArgumentParser:
        return add_command(commands, name, words, run, Path("attacks"), FOLDER)

    def seeded(sub: argparse.ArgumentParser, *, data: bool, fresh: bool = True) -> None:
        sub.add_argument("--seed", type=whole(0), default=0, metavar="N", help="every draw follows from it (default 0)")
        if fresh:
            sub.add_argument("--fresh", action="store_true", help="measure all again, whatever is stored")
        if data:
            add_data_options(sub, "trained networks and runs")

    def measured(sub: argparse.ArgumentParser, passes: int) -> None:
        sub.add_argument("--passes", type=whole(LEAST_PASSES), default=passes, metavar="N",
                         help=f"forward and backward passes an image (default {passes})")  # fmt: skip
        sub.add_argument("--confidence", type=_probability, default=0.9, metavar="P",
                         help="probability that counts as sure (default 0.9)")  # fmt: skip

    sub = command("strength", STRENGTH, run_strength)
    sub.add_argument("--dataset", default="mnist", metavar="NAME", help="mnist (default), digits, ...")
    sub.add_argument("--network", action="append", dest="networks", metavar="NAME",
                     help="mlp or cnn-strides; repeatable (default: both)")  # fmt: skip
    sub.add_argument("--targets", type=whole(1), default=100, metavar="N", help="every class equally often "
                     "(default 100)")  # fmt: skip
    measured(sub, 2000)
    seeded(sub, data=True)

    sub = command("tiny", TINY, run_tiny)
    sub.add_argument("--networks", type=whole(1), default=50, metavar="N", help="how many (default 50)")
    measured(sub, 1000)
    seeded(sub, data=False)

    sub = command("success", SUCCESS, run_success)
    sub.add_argument("--dataset", default="digits", metavar="NAME", help="digits (default), mnist, ...")
    sub.add_argument("--network", default="cnn", metavar="NAME", help="cnn (default) or mlp")
    sub.add_argument("--budget", default="standard", metavar="NAME", help="quick, standard (default) or full")
    sub.add_argument("--attack", action="append", dest="attacks", metavar="NAME", help="this one alone; repeatable "
                     "(default: all)")  # fmt: skip
    seeded(sub, data=True, fresh=False)

    command("render", RENDER, run_render)
    return top


def _probability(text: str) -> float:
    try:
        p = float(text)
    except ValueError:
        p = 0.0
    if not 0 < p < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a probability between 0 and 1")
    return p


def _command(arguments: argparse.Namespace, *names: str) -> str:
    """The command that makes the same figures again, whatever was left to its defaults."""
    words = ["python -m bench.arsenal", arguments.command]
    for name in names:
        value = getattr(arguments, name.removeprefix("--").replace("-", "_"))
        words.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return " ".join(words)


def run_strength(arguments: argparse.Namespace) -> None:
    from bench.arsenal.networks import NETWORKS
    from bench.arsenal.strength import Asked, measure
    from bench.errors import BadInputError

    networks = tuple(dict.fromkeys(arguments.networks or NETWORKS))
    for name in networks:
        if name not in NETWORKS:
            raise BadInputError(f"--network {name}: expected one of {', '.join(NETWORKS)}")
    asked = Asked(
        arguments.dataset, networks, arguments.targets, arguments.passes, arguments.confidence, arguments.seed
    )
    command = _command(arguments, "--dataset", "--targets", "--passes", "--confidence", "--seed")
    measure(
        asked,
        command,
        stored_at(arguments, f"strength-{safe(arguments.dataset)}"),
        data_root=arguments.data_root,
        download=arguments.download,
        cache=arguments.run_root / "cache",
        fresh=arguments.fresh,
    )


def run_tiny(arguments: argparse.Namespace) -> None:
    from bench.arsenal.tiny import measure

    command = _command(arguments, "--networks", "--passes", "--confidence", "--seed")
    asked = (arguments.networks, arguments.passes, arguments.confidence, arguments.seed)
    measure(*asked, command, stored_at(arguments, "tiny"), fresh=arguments.fresh)


def run_success(arguments: argparse.Namespace) -> None:
    from bench.arsenal.ensemble import ensemble
    from bench.arsenal.success import measure, settings
    from bench.budgets import BUDGETS
    from bench.errors import BadInputError

    if arguments.budget not in BUDGETS:
        raise BadInputError(f"--budget {arguments.budget}: expected one of {', '.join(BUDGETS)}")
    attacks = tuple(dict.fromkeys(arguments.attacks or ensemble()))
    asked = settings(
        arguments.dataset,
        arguments.network,
        attacks,
        arguments.budget,
        arguments.seed,
        arguments.data_root.resolve(),
        arguments.download,
        arguments.run_root.resolve(),
    )
    command = _command(arguments, "--dataset", "--network", "--budget", "--seed")
    if arguments.attacks:
        command = " ".join([command, *(f"--attack {name}" for name in attacks)])
    measure(asked, command, stored_at(arguments, f"success-{safe(arguments.dataset)}"))


def run_render(arguments: argparse.Namespace) -> None:
    print(render(arguments.into))


def stored_at(arguments: argparse.Namespace, name: str) -> Path:
    return arguments.into / FOLDER / f"{name}.json"


def main(arguments: list[str] | None = None) -> int:
    return run_parsed("python -m bench.arsenal", parser().parse_args(arguments), run_render)


if __name__ == "__main__":
    sys.exit(main())
