"""What the measuring commands share on the command line: numbers, names, where things lie, how errors end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from bench.arsenal.record import RecordError


def whole(least: int) -> Callable[[str], int]:
    """A type for argparse: a whole number of at least that."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, at least {least}")
        return int(text)

    return read


def safe(name: str) -> str:
    """A name as part of a file's: folder:PATH without its path."""
    return "".join(c for c in Path(name).name if c.isalnum() or c in "-_")


def add_command(commands, name: str, words: str, run: Callable, into: Path, folder: str) -> argparse.ArgumentParser:
    """One subcommand.

    Args:
        words: its description, of which the first sentence is its line in the list.
        run: called with what was parsed.
        into: where the page and the folder of stored files are kept by default.
        folder: that folder's name.
    """
    line = words.partition(".\n")[0].partition(". ")[0]
    sub = commands.add_parser(name, help=line[0].lower() + line[1:], description=words,
                              formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    sub.set_defaults(run=run)
    sub.add_argument("--into", type=Path, default=into, metavar="DIR",
                     help=f"where the page and its folder {folder}/ are kept (default {into})")  # fmt: skip
    return sub


def add_data_options(sub: argparse.ArgumentParser, kept: str) -> None:
    """Where data sets lie, and where what is `kept` goes."""
    root = os.environ.get("DISTAL_DATA_ROOT", "data")
    sub.add_argument("--data-root", type=Path, default=Path(root), metavar="DIR", help="where data sets lie "
                     "(default: $DISTAL_DATA_ROOT, else data)")  # fmt: skip
    sub.add_argument("--download", action="store_true", help="fetch a data set that is missing")
    sub.add_argument("--run-root", type=Path, default=Path("runs"), metavar="DIR", help=f"where {kept} are kept "
                     "(default runs)")  # fmt: skip


def run_parsed(prog: str, parsed: argparse.Namespace, render: Callable[[argparse.Namespace], None]) -> int:
    """Run the command that was parsed, then `render` -> exit status; an error takes one line."""
    try:
        if parsed.run is not render:
            _measure(parsed)
        render(parsed)
    except OSError as error:
        print(f"{prog}: error: {error.filename}: {error.strerror}", file=sys.stderr)
    except RecordError as error:
        print(f"{prog}: error: {error}", file=sys.stderr)
    else:
        return 0
    return 2


def _measure(parsed: argparse.Namespace) -> None:
    """Run a command that needs torch.

    Raises:
        RecordError: bad input, a network that can't be bounded, or a stored file that is not what it says.
    """
    import torch

    from bench.errors import BadInputError, NonFiniteError
    from bench.proof.bounds import UnsupportedLayerError
    from bench.store import StoreError

    torch.set_num_threads(1)  # figures depend on it
    try:
        parsed.run(parsed)
    except (BadInputError, NonFiniteError, StoreError) as error:
        raise RecordError(str(error)) from None
    except UnsupportedLayerError as error:
        raise RecordError(f"no proof: {error}") from None
