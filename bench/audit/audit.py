"""One folder from a stranger, checked: the answer to `python -m reports verify`."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

import attacks.fixtures  # noqa: F401  (registers which attacks look for the fewest pixels, and which start from what)
from bench.audit.claims import CONFIG, Config, check_names, contradictions, read_config, settings_of
from bench.audit.difference import Difference, RefusedError, differences
from bench.audit.folder import take_in
from bench.audit.replay import Replay
from bench.errors import BadInputError, NonFiniteError
from bench.harness.certify import certify
from bench.harness.lab import accuracy
from bench.harness.proof import ProofViolatedError
from bench.harness.provenance import code_hash, packages, revision
from bench.record import RULES, Certificate, Sheet

ELSEWHERE = {"dataset", "environment", "cost", "hashes", "human"}  # no result of what is stored, or compared before
FIGURES = (
    *("frontier.json", "proof.json", "perturbed.json", "transfer.json"),
    *(f"measurements/{criterion:02d}.json" for criterion in range(11)),
)


class NotReadableError(Exception):
    """A folder that can't be checked here: what it takes is missing on this side."""


@dataclass(frozen=True)
class Answer:
    """What became of a check.

    Args:
        differences: what is said and was found otherwise; none where the folder is verified.
        trusted: what can't be computed from what is stored, one sentence each.
        notes: what a reader of the answer should know.
        images: how many images were scored again.
        revision, packages: what checked it.
    """

    differences: tuple[Difference, ...]
    trusted: tuple[str, ...]
    notes: tuple[str, ...]
    images: int
    revision: str
    packages: dict[str, str]


def audit(
    folder: Path,
    certificate: Certificate,
    sheets: Mapping[str, bytes],
    *,
    data_root: Path,
    download: bool = False,
    dataset: str | None = None,
    trust_code: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Answer:
    """Check a run's folder against its own certificate, on the CPU, from a copy.

    Args:
        folder: as it was handed in; nothing is written there.
        certificate: the folder's own, already read.
        sheets: its contact sheets, file name -> PNG, already checked against their hashes.
        data_root, download: as the suites have them.
        dataset: where a data set of one's own lies here, "folder:PATH".
        trust_code: whether names of someone's own code may be imported.
        say: told what long step begins.

    Raises:
        NotReadableError: the data set can't be had here.
    """
    found: list[Difference] = []
    trusted, notes, images = (), (), 0
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="distal-verify-") as name:
        copy = Path(name) / "run"
        try:
            say("copying")
            found += take_in(folder, copy, certificate.hashes)
            if certificate.rules != RULES:
                expected = f"rules {RULES}, by which criteria count more or less; make the certificate again"
                raise RefusedError("certificate.json: rules", certificate.rules, expected)
            config = read_config(copy)
            found += contradictions(certificate, config)
            check_names(config, trust_code)
            torch.set_num_threads(config.threads)
            run = Replay(settings_of(certificate, config, copy, dataset, data_root, download), config, say)
            _check_data(run, config)
            found += _checked(run, certificate, sheets)
            notes, images = tuple(_notes(run, certificate, config)), run.images
            trusted = () if found else tuple(_trusted(run, certificate))
        except RefusedError as error:
            found.append(error.difference)
        except BadInputError as error:
            found.append(Difference(CONFIG, "settings that can be used", str(error).replace(f"{copy}/", "")))
        finally:
            torch.set_num_threads(threads)
    return Answer(tuple(dict.fromkeys(found)), trusted, notes, images, revision(), packages())


def _check_data(run: Replay, config: Config) -> None:
    run.say("loading data")
    try:
        fingerprint = run.data.fingerprint
    except BadInputError as error:
        raise NotReadableError(str(error)) from None
    if fingerprint != config.data:
        raise RefusedError(f"{CONFIG}: data", config.data, f"{fingerprint} for {config.dataset} here")
    if config.k > run.spec.pixels:
        raise RefusedError(f"{CONFIG}: k", config.k, f"{run.spec.pixels} pixels in an image")


def _checked(run: Replay, certificate: Certificate, sheets: Mapping[str, bytes]) -> list[Difference]:
    """All that differs: images and weights first, then what was computed from them."""
    derived: list[Difference] = []
    try:
        derived += _compared(run, certificate, sheets)
    except RefusedError as error:
        derived.append(error.difference)
    return run.found + derived


def _compared(run: Replay, certificate: Certificate, sheets: Mapping[str, bytes]) -> Iterator[Difference]:
    """Make the certificate again, and compare it and the figures it was made from with what was handed in."""
    try:
        again = certify(run, certificate.environment.command)
    except (NonFiniteError, ProofViolatedError) as error:
        reason = str(error).replace(f"{run.store.folder}/", "")
        raise RefusedError("certificate.json", "figures", reason) from None
    said, found = (one.model_dump(mode="json", exclude=ELSEWHERE) for one in (certificate, again))
    for one in (said, found):
        of_rounds = [round_["sheet"] for round_ in one["rounds"] if round_["sheet"]]
        for sheet in (*one["sheets"], *of_rounds, *(step["sheet"] for step in one["evolution"])):
            del sheet["sha256"]
    yield from differences(said, found, "")
    for sheet in _sheets(again):
        if not _same_picture(sheets.get(sheet.file), run.store.path(sheet.file).read_bytes()):
            yield Difference(sheet.file, "a contact sheet of the stored images", "another picture")
    for name in FIGURES:
        made, handed = (_json(run, where) for where in (name, f"said/{name}"))
        if handed is ... and made is not ...:
            yield Difference(name, "a file of the run", "no such file")
        elif handed is not ...:
            for one in differences(handed, made, ""):
                yield replace(one, where=f"{name}: {one.where}")


def _json(run: Replay, name: str) -> object:
    return run.store.load_json(name) if run.store.has(name) else ...


def _sheets(certificate: Certificate) -> list[Sheet]:
    of_rounds = [round_.sheet for round_ in certificate.rounds if round_.sheet]
    return [*certificate.sheets, *of_rounds, *(step.sheet for step in certificate.evolution)]


def _same_picture(handed: bytes | None, made: bytes) -> bool:
    """The same bytes, or the same pixels: another version of a library packs them otherwise."""
    if handed is None or handed == made:
        return handed is not None
    try:
        one, other = (Image.open(io.BytesIO(data), formats=["PNG"]) for data in (handed, made))
        return (one.mode, one.size) == (other.mode, other.size) and one.tobytes() == other.tobytes()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _trusted(run: Replay, certificate: Certificate) -> Iterator[str]:
    """What no stored image or weight can show."""
    budget = certificate.budget
    yield (
        f"That the attacks ran as the settings say ({budget.passes} passes an image, {budget.restarts} starts) and "
        "that the stored images are what they found; time, passes, and what came to NaN on the way."
    )
    shown = " ".join(finding.sentence for finding in run.handed_findings) or "nothing."
    yield f"What running the attacks on once more showed: {shown}"
    control, other = (accuracy(network, run.validation) for network in (run.control, run.network_b))
    yield (
        f"That the undefended control and network B were trained as the protocol says; they get {control:.1%} and "
        f"{other:.1%} of the validation images right."
    )
    if certificate.checkpoint is not None:
        yield "That the stored weights are those of the checkpoint's name, and that they were trained on half A alone."
    else:
        yield "That the network was trained by the defense named, on half A alone, and taught what the rounds say."
    yield "The command, revision, packages, device and date of the run."
    if certificate.human is not None:
        yield "What people said of its images."


def _notes(run: Replay, certificate: Certificate, config: Config) -> Iterator[str]:
    if config.code != code_hash():
        made = certificate.environment.revision
        yield f"It was made by other code (revision {made}; here {revision()}): figures may differ for that reason."
    if config.torch != torch.__version__:
        yield f"It was made with torch {config.torch}; here {torch.__version__}: figures may differ for that reason."
    if config.device != "cpu":
        yield f"It was made on {config.device}; here images were scored on the CPU."
    if run.left_open:
        yield f"{run.left_open} outcomes lie within 0.0001 of a threshold, and were taken as they were handed in."
    if looser := config.thresholds.looser_than(run.default_thresholds):
        yield f"Its thresholds are looser than Distal's own (criteria {', '.join(map(str, looser))})."
