"""`python -m reports`: build the leaderboard, or show one certificate as text."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from bench.record import Certificate, CertificateError
from reports.build import CERTIFICATE_NAME, build_site, find_certificates
from reports.entry import read_checked
from reports.inspect_command import add_commands
from reports.ledger import LEDGER
from reports.recipe import recipe_table
from reports.table import results_table
from reports.text import verdict_table
from reports.verify_command import add_command, add_ledger
from reports.words import one_line

BUILD = """\
Build the leaderboard from certificates: index.html, and one page per certificate, each complete in itself.
Beside them, for machines: data.json, table.csv, schema.json, and a badge per certificate.
Nothing else is needed; torch is not imported.

example:
  python -m reports build runs results/alice/certificate.json --out site

exit status: 0 built, 1 built without the certificates named on stderr, 2 no certificate is readable"""

SHOW = """\
Print one certificate's verdicts as a table, then the sentence of each criterion that did not pass.

example:
  python -m reports show runs/digits-fakeclass-0-1a2b3c/certificate.json

exit status: 0 shown, 2 not readable"""


TABLE = """\
Pool certificates into tables: a row a defense, its seeds side by side, and what each attack found; Markdown on stdout.

example:
  python -m reports table reports/results > reports/results/TABLE.md

exit status: 0 printed, 2 a certificate is not readable, or there is none"""


RECIPE = """\
Compare variants of a defense: one line a certificate, what it does to criteria 8 and 10, in Markdown on stdout.

example:
  python -m reports recipe runs > defenses/RECIPE.md

exit status: 0 printed, 2 a certificate is not readable, or there is none"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m reports", description=__doc__)
    commands = top.add_subparsers(
        dest="command", required=True, metavar="{build,show,table,recipe,inspection,inspect,verify}"
    )

    def command(name: str, text: str, run) -> argparse.ArgumentParser:
        layout = argparse.RawDescriptionHelpFormatter
        sub = commands.add_parser(
            name, help=re.split(r"[:.]\s", text)[0].lower(), description=text, formatter_class=layout
        )
        sub.set_defaults(run=run)
        return sub

    build = command("build", BUILD, run_build)
    build.add_argument(
        "paths",
        nargs="*",
        type=Path,
        default=[Path("runs")],
        metavar="PATH",
        help=f"a certificate, or a folder to search for {CERTIFICATE_NAME} (default: runs)",
    )
    build.add_argument(
        "--out",
        type=Path,
        default=Path("runs/site"),
        metavar="FOLDER",
        help="where to write (default: runs/site)",
    )
    add_ledger(build)
    show = command("show", SHOW, run_show)
    show.add_argument("path", type=Path, metavar="CERTIFICATE", help="a certificate, or the folder it lies in")
    for name, text, made in (("table", TABLE, results_table), ("recipe", RECIPE, recipe_table)):
        pooled = command(name, text, partial(run_pooled, made))
        pooled.add_argument(
            "paths", nargs="+", type=Path, metavar="PATH", help="certificates, or folders to search for them"
        )
    add_commands(command)
    add_command(command)
    return top


def run_build(arguments: argparse.Namespace) -> int:
    certificates = find_certificates(arguments.paths)
    if not certificates:
        given = ", ".join(map(str, arguments.paths))
        raise FileNotFoundError(f"{given}: no {CERTIFICATE_NAME} in it; make one with `pytest suites/` first")
    if arguments.ledger != LEDGER and not arguments.ledger.exists():
        raise FileNotFoundError(f"--ledger {arguments.ledger}: no such file; expected a ledger of `reports verify`")
    site = build_site(certificates, arguments.out, arguments.ledger)
    for refusal in site.refusals:
        print(one_line(f"not readable: {refusal.path}: {refusal.reason}"), file=sys.stderr)
    print(f"{site.index}: {site.certificates} of {site.certificates + len(site.refusals)} certificates")
    return 0 if not site.refusals else 1 if site.certificates else 2


def run_pooled(made: Callable[[Iterable[Certificate]], str], arguments: argparse.Namespace) -> int:
    found = find_certificates(arguments.paths)
    if not found:
        raise FileNotFoundError(f"{', '.join(map(str, arguments.paths))}: no {CERTIFICATE_NAME} in it")
    print(made(map(read_checked, found)), end="")
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    path = arguments.path / CERTIFICATE_NAME if arguments.path.is_dir() else arguments.path
    certificate = read_checked(path)
    print(one_line(f"{certificate.subject} on {certificate.dataset}: {certificate.answer}, scope {certificate.scope}"))
    print(one_line(certificate.summary), verdict_table(certificate), sep="\n\n")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parsed = parser().parse_args(arguments)
    try:
        return parsed.run(parsed)
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(one_line(f"python -m reports: error: {where}"), file=sys.stderr)
    except CertificateError as error:
        print(one_line(f"python -m reports: error: {error}"), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
