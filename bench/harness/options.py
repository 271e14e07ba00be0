"""The command line of a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from bench.budgets import BUDGETS
from bench.errors import BadInputError
from bench.harness.registry import ATTACKS, DEFENSES, NETWORKS
from bench.harness.settings import Settings
from bench.materials.data import KNOWN

DEFENSE = "fakeclass"


def add_options(parser: pytest.Parser) -> None:
    """Every option of `pytest suites/`; `pytest suites/ --help` prints them."""
    group = parser.getgroup("distal", "Distal: certify a classifier against sparse fooling images")

    def option(*names: str, **words: object) -> None:
        group.addoption(*names, **words)

    option("--defense", metavar="NAME", help=f"what trains the network: {', '.join(DEFENSES)} (default: {DEFENSE}), or "
           "module:attr of your own")  # fmt: skip
    option("--checkpoint", metavar="FILE", help="certify these weights (.safetensors, or a .pt state dict) without "
           "training, at scope model; --network says what they fit")  # fmt: skip
    option("--dataset", default="digits", metavar="NAME", help=f"{KNOWN} with one folder of images per class "
           "(default: digits, which needs no download)")  # fmt: skip
    option("--data-root", default=os.environ.get("DISTAL_DATA_ROOT", "data"), metavar="DIR",
           help="where data sets lie (default: $DISTAL_DATA_ROOT, else data)")  # fmt: skip
    option("--download", action="store_true", help="fetch a data set that is missing")
    option("--network", default="cnn", metavar="NAME", help=f"{', '.join(NETWORKS)} (default: cnn), or module:attr of "
           "your own function of (spec, outputs)")  # fmt: skip
    option("--attack", action="append", dest="attacks", metavar="NAME", help="attack with this one; repeatable "
           "(default: all at full, fewer below); a fixture's name, or module:function of your own")  # fmt: skip
    option("--budget", default="standard", choices=sorted(BUDGETS), help="images per attack, passes per image, rounds; "
           "standard (default) and full can certify")  # fmt: skip
    option("--passes", type=int, metavar="N", help="passes an image when measuring: more than the budget's, "
           "to see whether a verdict stands (default: by budget)")  # fmt: skip
    option("--confidence", type=float, default=0.9, metavar="P", help="probability that counts as sure (default 0.9)")
    option("--pixels", type=int, metavar="K", help="most lit pixels of a sparse image (default: by data set)")
    option("--seed", type=int, default=0, metavar="N", help="every random draw follows from it (default 0)")
    option("--device", default="auto", metavar="NAME", help="auto (default: a GPU where there is one), cpu, cuda, ...")
    option("--threads", type=int, default=1, metavar="N", help="CPU threads (default 1); figures depend on it")
    option("--max-rounds", type=int, metavar="N", help="stop training after this many rounds (default: by budget)")
    option("--replay-sample", type=int, metavar="N", help="measure criterion 3 on a sample of N images, say 1000 "
           "(default: on all)")  # fmt: skip
    option("--thresholds", metavar="FILE", help="TOML over suites/thresholds.toml; looser values never certify")
    option("--scope", default="process", choices=["process", "model"], help="what exit status 0 asks for: process "
           "(default, all eleven) or model (a network without a training history)")  # fmt: skip
    option("--prove", type=int, metavar="K", help="fail unless it is proved that no image with at most K lit pixels "
           "fools the network (default: the proof only informs)")  # fmt: skip
    option("--run-root", default="runs", metavar="DIR", help="where runs and the leaderboard are kept (default runs)")
    option("--run-dir", metavar="DIR", help="this run's own folder (default: named after its settings)")
    option("--fresh", action="store_true", help="train and measure again, whatever is stored")


def settings_from(config: pytest.Config) -> Settings:
    """The run that was asked for.

    Raises:
        BadInputError: an option that makes no sense, in one line.
    """
    option = config.option
    base = config.invocation_params.dir

    def path(value: str | None) -> Path | None:
        return (base / value).resolve() if value is not None else None

    least = BUDGETS[option.budget].passes
    checks = (
        (option.checkpoint is None or option.defense is None,
         f"--defense {option.defense} beside --checkpoint; expected one of them: weights are certified as they are"),
        (0 < option.confidence <= 1, f"--confidence {option.confidence}; expected a probability in (0, 1]"),
        (option.threads >= 1, f"--threads {option.threads}; expected at least 1"),
        (option.seed >= 0, f"--seed {option.seed}; expected 0 or more"),
        (option.max_rounds is None or option.max_rounds >= 1, f"--max-rounds {option.max_rounds}; expected at least 1"),
        (option.passes is None or option.passes >= least,
         f"--passes {option.passes}; expected at least the {least} of --budget {option.budget}: fewer are weaker"),
        (option.prove is None or option.prove >= 0, f"--prove {option.prove}; expected 0 or more lit pixels"),
        (option.replay_sample is None or option.replay_sample >= 1,
         f"--replay-sample {option.replay_sample}; expected at least 1"),
    )  # fmt: skip
    for holds, message in checks:
        if not holds:
            raise BadInputError(message)
    return Settings(
        dataset=_anchored(option.dataset, base),
        defense=None if option.checkpoint else option.defense or DEFENSE,
        checkpoint=path(option.checkpoint),
        network=option.network,
        attacks=tuple(dict.fromkeys(option.attacks or _ensemble(option.budget))),
        budget=option.budget,
        seed=option.seed,
        device=_device(option.device),
        threads=option.threads,
        passes=option.passes,
        max_rounds=option.max_rounds,
        replay_sample=option.replay_sample,
        p=option.confidence,
        k=option.pixels,
        thresholds=path(option.thresholds),
        data_root=path(option.data_root),
        download=option.download,
        run_root=path(option.run_root),
        run_dir=path(option.run_dir),
        fresh=option.fresh,
    )


def _ensemble(budget: str) -> list[str]:
    """Every attack there is, but for those that a small budget leaves out."""
    return [name for name in ATTACKS.names() if name not in BUDGETS[budget].leaves_out]


def _anchored(dataset: str, base: Path) -> str:
    """A folder's path is meant from where the command was given."""
    kind, colon, rest = dataset.partition(":")
    return f"{kind}:{(base / rest).resolve()}" if kind == "folder" and rest else f"{kind}{colon}{rest}"


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise BadInputError(f"--device {name}: {str(error).splitlines()[0]}; expected auto, cpu or cuda") from None
    return name
