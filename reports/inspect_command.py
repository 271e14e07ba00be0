"""`python -m reports inspection` and `inspect`: let people look, and merge what they say."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from reports.verify_command import add_data_root
from reports.words import one_line

INSPECTION = """\
Make a page for people to look at: real and generated images, mixed, without a word on which is which.
Nothing agreed upon measures what is out of distribution, so people must be able to check the judge.
The page is one file that loads nothing; send it to anyone, and not its key, which is written beside the
certificate. What people save from it goes to `python -m reports inspect`. Needs the run's own folder and its data.

example:
  python -m reports inspection runs/digits-fakeclass-0-1a2b3c --out look.html

exit status: 0 written, 2 nothing written"""

INSPECT = """\
Merge what people said into the certificate: all saved files of one page at once, in any order.
Merging again replaces what was merged before; a file that does not fit is named, and nothing is written.

example:
  python -m reports inspect ann.json bob.json --certificate runs/digits-fakeclass-0-1a2b3c \\
      --key runs/digits-fakeclass-0-1a2b3c/look.key.json

exit status: 0 merged, 2 nothing written"""


def add_commands(command: Callable[[str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]) -> None:
    """Both commands; `command` adds one by name, description and function."""
    page = command("inspection", INSPECTION, run_inspection)
    page.add_argument("path", type=Path, metavar="RUN_OR_CERTIFICATE", help="a run's folder, or its certificate.json")
    page.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page; its key is FILE.key.json")
    page.add_argument("--images", type=int, default=60, metavar="N", help="half of them real (default: 60)")
    page.add_argument("--seed", type=int, default=0, metavar="S", help="which images are drawn (default: 0)")
    add_data_root(page)
    merge = command("inspect", INSPECT, run_inspect)
    merge.add_argument("files", nargs="+", type=Path, metavar="FILE", help="what an inspection page saved")
    merge.add_argument("--certificate", type=Path, required=True, metavar="PATH", help="it, or the folder it lies in")
    merge.add_argument("--key", type=Path, required=True, metavar="KEY.json", help="the page's key")


def run_inspection(arguments: argparse.Namespace) -> int:
    from reports.inspect_page import make_page

    images, key = make_page(arguments.path, arguments.out, arguments.images, arguments.seed, arguments.data_root)
    print(one_line(f"{arguments.out}: {images} images, half of them real; what they are: {key} (keep it from raters)"))
    return 0


def run_inspect(arguments: argparse.Namespace) -> int:
    from reports.inspect_merge import merge  # SciPy and scikit-learn: not for those who only build pages

    path, human = merge(arguments.files, arguments.certificate, arguments.key)
    people = len(human.raters)
    print(one_line(f"{path}: {human.marks} marks of {people} {'person' if people == 1 else 'people'} merged"))
    return 0
