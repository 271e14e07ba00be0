"""Whether attacks could see at all: what a network does to them, found by running it on a few images.

A finding never turns a failure into a pass; it only takes away that failing attacks are evidence. So each
check asks for something that a smooth, well-defended network does not do, however small its gradients.

After the checks of Croce and Hein, AutoAttack, https://arxiv.org/abs/2003.01690, and the list of Carlini et al.,
https://arxiv.org/abs/1902.06705.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.arithmetic import plain_float32
from bench.harness.effort import TARGETS, check_attacks
from bench.harness.generate import balanced_targets
from bench.health import Cause, Finding
from bench.seeds import derive, generator
from bench.types import Attack, Budget, ImageSpec, Judge, Outcome, ThreatModel
from bench.verify import Verified, alone, logits_of

if TYPE_CHECKING:
    from bench.harness.session import Session

MOST = 0.5  # the share of probes that must show a fault
USELESS = 1e-6  # of the margin: what all pixels together change less than, float32 does not resolve
NOISY = 1e-4  # of the largest logit that counts: two passes that differ by more are random, by less are arithmetic
NOISIEST = 0.05  # of a log-probability, however large the logits
COUNTS = -100.0  # a log-probability; the logit of a class below it says nothing of how exact the others are
SMALL_STEPS = (1, 2, 4)  # grid levels
FAR = 1 / 8  # of the range, or a grid level where that is more
AGREES = 0.75  # the share of probes that a step along the slope must raise; a slope without meaning raises half
SPARSE = "k lit pixels"
HELD = math.log(9)  # an odds: 90% against
BLIND = 0.01  # of the odds: what all pixels together promise less than, while a network turns an image away
BISECTIONS = 12  # of the way to noise
CLIFF, SEEN = 0.5, 0.1  # a fall of that share of the margin's, of which neither side's slope tells that much
CHECKED = ("l1_sparse", "differential_evolution")  # run on: one that takes gradients, one that takes none


@dataclass(frozen=True)
class Probes:
    """Images a network is asked about, on the value grid.

    Args:
        starts: "noise", "sparse noise", "real" -> [N, C, H, W], such as attacks start from; `SPARSE`, noise on k
            pixels, such as they end with.
        targets: [N], every class about equally often.
    """

    starts: dict[str, Tensor]
    targets: Tensor

    @classmethod
    def draw(cls, spec: ImageSpec, real: Tensor, k: int, seed: int) -> Probes:
        """`TARGETS` images of each start; real ones are a grid level or none from an image of `real`."""
        draw = generator(seed, "probes")

        def rand(*shape: int) -> Tensor:
            return torch.rand(TARGETS, *shape, generator=draw)

        density, brightness = rand(1, 1, 1), rand(1, 1, 1)
        sparse = rand(*spec.shape) * brightness * (rand(1, *spec.shape[1:]) < density)
        near = real[torch.randint(len(real), (TARGETS,), generator=draw)] + (rand(*spec.shape) - 0.5) / spec.levels
        first = rand(spec.pixels).argsort(dim=1)[:, : min(k, spec.pixels)]
        lit = torch.zeros(TARGETS, spec.pixels).scatter_(1, first, 1).view(TARGETS, 1, *spec.shape[1:])
        ends = lit * (1 + (spec.levels - 1) * rand(*spec.shape)) / spec.levels
        starts = {"noise": rand(*spec.shape), "sparse noise": sparse, "real": near, SPARSE: ends}
        targets = balanced_targets(spec.real_classes, TARGETS)[:TARGETS]
        return cls({name: spec.round(images) for name, images in starts.items()}, targets)

    @property
    def everything(self) -> Tensor:
        return torch.cat(list(self.starts.values()))


def check_evaluation(
    network: nn.Module,
    attacks: Mapping[str, Attack],
    spec: ImageSpec,
    *,
    threat: ThreatModel,
    budget: Budget,
    judge: Judge,
    real: Tensor,
    seed: int,
    evaluated: Mapping[str, Verified] | None = None,
    anew: Callable[[], nn.Module] | None = None,
) -> list[Finding]:
    """Everything that would make failing attacks no evidence.

    Args:
        network: the one that was attacked; put in eval mode.
        attacks: name -> attack; which are black boxes is seen from the passes they take.
        threat, budget, judge: of the evaluation.
        real: [N, C, H, W] real images, on the value grid.
        seed: of the checks alone; other than the evaluation's.
        evaluated: attack -> what it came to in the evaluation; without it the attacks first run as they were
            evaluated, on `TARGETS` targets. Where one fooled a target the verdict is out and attacks are not run on.
        anew: makes the network once more, unasked; without it nothing tells whether it remembers.

    Returns:
        Findings, none for a sound evaluation. Costs about 5,000 passes of the network, and for every attack
        3 shares of the budget on each of `TARGETS` targets; with `anew`, a few hundred passes of copies.

    Raises:
        NonFiniteError: logits, images or scores that are not finite.
        BudgetExceededError: an attack took more passes than its share.
    """
    found = list(check_network(network, spec, Probes.draw(spec, real, threat.k, seed), seed))
    if any(bool(images.is_(Outcome.FOOLING).any()) for images in (evaluated or {}).values()):
        return found
    return found + check_attacks(
        network, attacks, spec, threat=threat, budget=budget, judge=judge, seed=seed, evaluated=evaluated, anew=anew
    )


def session_findings(session: Session) -> list[Finding]:
    """`check_evaluation` of a run's final network, after its cascade; of each kind of attack one is run on.

    Raises:
        NonFiniteError: as `check_evaluation`.
    """
    settings = session.settings
    return check_evaluation(
        session.final,
        {name: attack for name, attack in session.attacks.items() if name in CHECKED},
        session.spec,
        threat=session.final_threat,
        budget=settings.attack,
        judge=session.lab.measuring_judge,
        real=session.validation.images,
        seed=derive(settings.seed, "checks"),
        evaluated={name: made.verified for name, made in session.gallery.cascade().items()},
        anew=session.final_anew,
    )


def check_network(network: nn.Module, spec: ImageSpec, probes: Probes, seed: int) -> Iterator[Finding]:
    """What can be seen without any attack; about 5,000 passes, an image counted each time."""
    checks: tuple[Callable[[], str | None], ...] = (
        lambda: _zero_gradient(network, probes),
        lambda: _blind_rejection(network, spec, probes),
        lambda: _cliff(network, spec, probes),
        lambda: _misleading_gradient(network, spec, probes),
        lambda: _randomised(network, probes),
        lambda: _batch_dependent(network, probes),
        lambda: _not_logits(network, probes),
        lambda: _quantised(network, spec, probes, seed),
        lambda: _saturated(network, probes),
    )
    causes = (
        *(Cause.ZERO_GRADIENT, Cause.BLIND_REJECTION, Cause.CLIFF),
        *(Cause.MISLEADING_GRADIENT, Cause.RANDOMISED, Cause.BATCH_DEPENDENT),
        *(Cause.NOT_LOGITS, Cause.QUANTISED_INPUT, Cause.SATURATED),
    )
    for cause, check in zip(causes, checks, strict=True):
        if sentence := check():
            yield Finding(cause=cause, sentence=sentence)


def _zero_gradient(network: nn.Module, probes: Probes) -> str | None:
    """From one kind of start or more, moving every pixel as the gradient says changes nothing in float32."""
    for name, images in probes.starts.items():
        useless = ~_useful(*margin_slopes(network, images, probes.targets))
        if useless.float().mean() >= MOST:
            n, of = int(useless.sum()), len(images)
            return f"The gradient of the margin is zero or infinite, or vanishes, at {n} of {of} starts from {name}."
    return None


def _useful(found: Tensor, slopes: Tensor) -> Tensor:
    """[N] whether all pixels together can change a margin by more than float32 resolves."""
    reach = slopes.abs().flatten(1).sum(dim=1)
    return reach.isfinite() & (reach > USELESS * found.abs().clamp_min(1))


def _blind_rejection(network: nn.Module, spec: ImageSpec, probes: Probes) -> str | None:
    """Where fake classes hold an image, the odds of a real one should have a slope: it is all that leads out.

    The margin of one real class may have one all the same, that of the classifier behind a gate which opens and shuts.
    """

    def odds(logits: Tensor) -> Tensor:
        real, fake = logits[:, : spec.real_classes], logits[:, spec.real_classes :]
        return real.logsumexp(dim=1) - fake.logsumexp(dim=1)

    for name, images in probes.starts.items():
        if logits_of(network, images[:1]).shape[1] <= spec.real_classes:
            return None
        found, slopes = _slopes(network, images, odds)
        reach = slopes.abs().flatten(1).sum(dim=1)
        held = found < -HELD
        blind = held & ~(reach.isfinite() & (reach > BLIND * found.abs()))
        if held.sum() >= TARGETS // 4 and blind.sum() >= MOST * held.sum():
            return (
                f"{int(blind.sum())} of {int(held.sum())} starts from {name} are held by fake classes, and no slope "
                "leads out: the odds of the real classes have next to none."
            )
    return None


def _cliff(network: nn.Module, spec: ImageSpec, probes: Probes) -> str | None:
    """On the way from a real image to noise, belief should not fall at one point, from slopes that tell nothing of it.

    Whoever stands below sees no way up. The place where half of the fall is behind is bisected; a network that falls
    there by a step has as much of it left within the last bit of the way.
    """
    real = probes.starts["real"]
    classes = logits_of(network, real)[:, : spec.real_classes].argmax(dim=1)

    def seen(images: Tensor) -> tuple[Tensor, Tensor]:
        return margin_slopes(network, images, classes)

    for name, noise in probes.starts.items():
        if name == "real":
            continue
        above, below = (margins(logits_of(network, images), classes) for images in (real, noise))
        near, far, middle = real, noise, (above + below) / 2
        for _ in range(BISECTIONS):
            half = (near + far) / 2
            upper = (margins(logits_of(network, half), classes) > middle).view(-1, 1, 1, 1)
            near, far = torch.where(upper, half, near), torch.where(upper, far, half)
        (before, slopes), (after, slopes_below) = seen(near), seen(far)
        told = torch.stack([(each * (far - near)).flatten(1).sum(dim=1).abs() for each in (slopes, slopes_below)])
        falls = (above > HELD) & (below < HELD)
        blind = falls & (before - after > CLIFF * (above - below)) & ~(told.amax(dim=0) > SEEN * (before - after))
        if falls.sum() >= TARGETS // 4 and blind.sum() >= MOST * falls.sum():
            return (
                f"On {int(blind.sum())} of {int(falls.sum())} ways from a real image to {name} most of the margin goes "
                "at one point, of which no slope tells."
            )
    return None


def _misleading_gradient(network: nn.Module, spec: ImageSpec, probes: Probes) -> str | None:
    """Steps along the slopes should raise margins where images lie, on the value grid: a few levels away, and further.

    Between two levels a slope may hold and lead nowhere: an input drawn to the grid by a wave as fine as the grid
    turns all slopes around at every image there is.
    """
    few = tuple(levels / spec.levels for levels in SMALL_STEPS)
    for name, images in probes.starts.items():
        before, slopes = margin_slopes(network, images, probes.targets)
        useful = _useful(before, slopes)
        if not useful.any():
            continue
        steps = slopes[useful] / slopes[useful].abs().amax(dim=(1, 2, 3), keepdim=True)
        n = int(useful.sum())
        for lengths, said in ((few, "a few grid levels"), ((max(FAR, few[0]),), "an eighth of the range")):
            paths = (spec.round(images[useful] + length * steps) for length in lengths)
            reached = (margins(logits_of(network, moved, gradients=True), probes.targets[useful]) for moved in paths)
            risen = max(int((after > before[useful]).sum()) for after in reached)
            if risen < AGREES * n:
                return (
                    f"A step of {said} along the gradient of the margin does not raise it at {n - risen} of {n} "
                    f"starts from {name}."
                )
    return None


def margins(logits: Tensor, targets: Tensor) -> Tensor:
    """z_t - logsumexp(z_other), of logits [N, K + F] and targets [N] -> [N]."""
    column = targets[:, None]
    return logits.gather(1, column).squeeze(1) - logits.scatter(1, column, -math.inf).logsumexp(dim=1)


def margin_slopes(network: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """z_t - logsumexp(z_other) and its gradient by the image, zero where the network cuts the graph.

    Args:
        images: [N, C, H, W]; targets: [N].

    Returns:
        [N] and [N, C, H, W], on the CPU.
    """
    return _slopes(network, images, lambda logits: margins(logits, targets.to(logits.device)))


def _slopes(network: nn.Module, images: Tensor, what: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """A number of each row of logits, and its gradient by the image; zero where the network cuts the graph."""
    network.eval()
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    plain_float32()
    seen = images.to(device).detach().requires_grad_()  # the network gets the copy below
    logits = network(seen.clone())
    found = what(logits.float())
    slope = torch.autograd.grad(found.sum(), seen, allow_unused=True)[0] if logits.requires_grad else None
    return found.detach().cpu(), torch.zeros_like(images) if slope is None else slope.cpu()


def _randomised(network: nn.Module, probes: Probes) -> str | None:
    once, again, seen = (logits_of(network, probes.everything, gradients=on) for on in (False, False, True))
    if differs := _differing(once, again):
        return f"Two passes in eval mode differ for {differs} of {len(once)} images."
    if differs := _differing(once, seen):
        return f"The answer to {differs} of {len(once)} images is another where a gradient is asked for."
    return None


def _batch_dependent(network: nn.Module, probes: Probes) -> str | None:
    """Attacks and figures look at batches; what fools alone would be another question."""
    together, single = logits_of(network, probes.everything), alone(network, probes.everything)
    if differs := _differing(together, single):
        return f"The answer to {differs} of {len(single)} images is another when they are alone than in a batch."
    return None


def _differing(once: Tensor, again: Tensor) -> int:
    """For how many images two passes give other probabilities, by more than arithmetic."""
    log_p, log_q = (logits.log_softmax(dim=1) for logits in (once, again))
    largest = once.abs().where(log_p > COUNTS, 0).amax(dim=1)
    allowed = (NOISY * largest).clamp(NOISY, NOISIEST)
    return int(((log_p.clamp_min(COUNTS) - log_q.clamp_min(COUNTS)).abs().amax(dim=1) > allowed).sum())


def _not_logits(network: nn.Module, probes: Probes) -> str | None:
    outputs = logits_of(network, probes.everything)
    inside = bool(((outputs >= 0) & (outputs <= 1)).all())
    if outputs.shape[1] > 1 and inside and bool(((outputs.sum(dim=1) - 1).abs() < 1e-4).all()):
        return "Every row of outputs lies in [0, 1] and sums to 1: probabilities, which a softmax then flattens."
    return None


def _quantised(network: nn.Module, spec: ImageSpec, probes: Probes, seed: int) -> str | None:
    """Of the pixels that count when moved by half their range or more, most do not when moved by a few levels.

    A quantised network drops from its own steep steps to none; only its answer to the large change tells that
    from a pixel it does not look at.
    """
    images, draw = probes.everything, generator(seed, "quantised")
    rows = torch.arange(len(images))
    pixel = torch.randint(spec.pixels, (len(images),), generator=draw)
    flat = images.flatten(2)
    value = flat[rows, :, pixel]  # [N, C]
    upward = torch.where(value < 0.5, 1.0, -1.0)

    def moved(to: Tensor) -> Tensor:
        changed = flat.clone()
        changed[rows, :, pixel] = to
        return logits_of(network, spec.round(changed.view_as(images)))

    before = logits_of(network, images)
    counts = (moved((upward + 1) / 2) != before).any(dim=1)
    if counts.sum() < TARGETS // 2:
        return None
    for levels in (step for step in SMALL_STEPS if 2 * step < spec.levels):
        still = (moved(value + upward * levels / spec.levels) == before).all(dim=1) & counts
        if still.sum() >= MOST * counts.sum():
            return (
                f"{int(still.sum())} of {int(counts.sum())} pixels that change the logits when moved to black or "
                f"white do not when moved by {levels} of {spec.levels} grid levels."
            )
    return None


def _saturated(network: nn.Module, probes: Probes) -> str | None:
    share = {}
    for name, images in probes.starts.items():
        if name == SPARSE:  # a sound detector may be as sure as that there
            continue
        probability = logits_of(network, images).softmax(dim=1)
        share[name] = float(((probability == 0) | (probability == 1)).all(dim=1).float().mean())
    if min(share.values()) >= MOST:
        return (
            f"The softmax is exactly 0 and 1 in float32 for at least {min(share.values()):.0%} of every kind of start, "
            "so the gradients of a cross-entropy vanish."
        )
    return None
