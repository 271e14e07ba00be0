"""What is proved of the final network, beside what the attacks found: no image with at most k lit pixels reaches p."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import NonFiniteError
from bench.harness.gallery import CONFIDENT
from bench.harness.once import once
from bench.materials.data import Data
from bench.proof.bounds import UnsupportedLayerError, bounds, proved_to
from bench.record import Proof, ProofRow
from bench.types import lit_pixels

if TYPE_CHECKING:
    from bench.harness.session import Session

METHODS = ("interval", "linear")
STEPS = (0, 1, 2, 5, 10, 20)  # then doubled up to k


class ProofViolatedError(Exception):
    """An image reaches p with no more lit pixels than are proved: the prover or the harness is wrong."""


def proof(session: Session) -> Proof:
    """How far the proof reaches on the final network, computed once and stored.

    Raises:
        ProofViolatedError: an attack found what is proved not to exist.
    """
    found = once(session.store, "proof.json", Proof, lambda: _computed(session))
    _compare(session, found)
    return found


def sparsest_real(data: Data) -> int:
    """Fewest lit pixels of a real training image: a proof up to one less costs nothing that is real."""
    return min(int(lit_pixels(half.images).min()) for half in (data.a_train, data.b_train))


def _computed(session: Session) -> Proof:
    session.say("proving")
    network, spec = session.final, session.spec
    sparsest = sparsest_real(session.data)
    try:
        reach = proved_to(network, spec, session.final_threat.p)
        steps = {k for k in (*STEPS, *(20 * 2**i for i in range(1, 12))) if k <= session.k}
        steps |= {session.k, sparsest - 1} | ({reach, reach + 1} if reach is not None else set())
        ks = sorted(k for k in steps if 0 <= k <= spec.pixels)
        interval, linear = (bounds(network, spec, ks, way).probability.amax(dim=1) for way in METHODS)
    except (UnsupportedLayerError, NonFiniteError) as error:
        return Proof(proved_to=None, sparsest_real=sparsest, rows=(), reason=f"No proof: {error}.")
    rows = tuple(
        ProofRow(k=k, interval=float(wide), linear=float(tight))
        for k, wide, tight in zip(ks, interval, linear, strict=True)
    )
    return Proof(proved_to=reach, sparsest_real=sparsest, rows=rows, reason=_sentence(reach, sparsest))


def _sentence(reach: int | None, sparsest: int) -> str:
    if reach is None:
        return "Nothing is proved: the bound does not even keep the blank image below p."
    held = f"No image with at most {_count(reach)} reaches p for any class"
    if reach == 0:
        held = "The blank image, and no other, is proved not to reach p for any class"
    return f"{held}; the sparsest real training image has {sparsest}."


def _count(pixels: int) -> str:
    return f"{pixels} lit pixel{'s' * (pixels != 1)}"


def _compare(session: Session, found: Proof) -> None:
    frontier = session.frontier()
    counts = [] if frontier is None or frontier.fooled_from is None else [frontier.fooled_from]
    for attack in session.settings.attacks:
        for images in (session.known.of(attack), *session.known.once_more(attack)):
            counts += images.pixels[images.is_(*CONFIDENT)].tolist()
    fewest = min(counts, default=None)
    if found.proved_to is not None and fewest is not None and fewest <= found.proved_to:
        raise ProofViolatedError(
            f"internal error: no image with at most {found.proved_to} lit pixels should reach p, but one with {fewest} "
            f"does (run directory {session.store.folder}); expected fewer: please report it with this folder"
        )
