"""What training logs: every batch, every epoch, every round; to metrics.jsonl and TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import torch
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from bench.errors import NonFiniteError
from bench.harness.detection import detection_counts, real_counts
from bench.harness.history import History, Images
from bench.materials.data import Data
from bench.seeds import generator
from bench.sheets import sheet
from bench.store import Store, write_atomic
from bench.task import Batch
from bench.types import Outcome, ThreatModel
from bench.verdict.measurement import Counts
from bench.verify import Verified

SHEET_IMAGES = 50


class RunRecorder:
    """The harness's side of `bench.task.Recorder`.

    Holds the test data to log criterion 10; it hands nothing back, so nothing here can steer training.

    Args:
        store: the run's folder.
        history: verifies the images that training made.
        data: half A to log 9, test data to log 10.
        threat_of: the threat model with a network's own operating point.
        nominal: p without the operating point.
        replay_sample: past images to log criterion 3 on; None takes all of them.
        seed: of the run.
        on_step: called with what is being done, for a progress display.
    """

    def __init__(
        self,
        store: Store,
        history: History,
        data: Data,
        threat_of: Callable[[nn.Module], ThreatModel],
        nominal: float,
        replay_sample: int | None,
        seed: int,
        on_step: Callable[[str], None],
    ):
        self.store = store
        self.history = history
        self.data = data
        self.threat_of = threat_of
        self.nominal = nominal
        self.replay_sample = replay_sample
        self.seed = seed
        self.on_step = on_step
        self.round = len(history.rounds)
        self.step = self.epochs = 0
        self.pending: Images | None = None
        self._lines: list[str] = []
        self._path = store.path("metrics.jsonl")
        self._forget_unfinished()
        self._board = SummaryWriter(str(store.path("tensorboard")), purge_step=self.step or None)

    def generated(self, index: int, batch: Batch) -> None:
        """Criteria 0 and 1 of the round: outcomes, class-wise, and a contact sheet."""
        self.pending = self.history.admit_images(index, batch)
        names = self.data.spec.class_names
        for kind, found in (("train", self.pending.made), ("heldout", self.pending.heldout)):
            self._write("round", {f"{kind}/{key}": value for key, value in outcome_figures(found, names).items()})
        self._write("round", {"taught": int(batch.taught.sum()), "attempted": len(batch.targets)})
        self._show(index, self.pending.made)
        self.on_step(f"round {index}: {int(batch.taught.sum())} of {len(batch.targets)} images to learn")

    def batch(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Criteria 2 and 9 of one optimiser step: loss and probability per real and per fake class."""
        logits, labels, loss = logits.detach().cpu(), labels.cpu(), loss.detach().cpu()
        k, outputs = self.data.spec.real_classes, logits.shape[1]
        probability = logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
        right = (logits.argmax(dim=1) == labels).float()
        count = torch.bincount(labels, minlength=outputs)
        figures: dict[str, float] = {}
        for name, values in (("loss", loss), ("probability", probability), ("right", right)):
            sums = torch.bincount(labels, weights=values.double(), minlength=outputs)
            for kind, part in (("real", slice(0, k)), ("fake", slice(k, outputs))):
                if n := int(count[part].sum()):
                    figures[f"{kind}/{name}"] = float(sums[part].sum()) / n
            means = (sums / count.clamp_min(1)).tolist()
            for label in torch.nonzero(count).flatten().tolist():
                kind = f"real/{label}" if label < k else f"fake/{label - k}"
                figures[f"{kind}/{name}"] = means[label]
        self._write("batch", figures)
        self.step += 1

    def epoch(self, network: nn.Module) -> None:
        """Criteria 2, 3, 4, 5, 9 and 10 after a pass over the training data."""
        threat, names = self.threat_of(network), self.data.spec.class_names
        past = [past.images for past in self.history.rounds if past.images]
        sets = {
            "2": [self.pending.fooling_taught] if self.pending else [],
            "3": [images.fooling_taught for images in past],
            "4": [self.pending.fooling_heldout] if self.pending else [],
            "5": [images.fooling_heldout for images in past],
        }
        figures: dict[str, float] = {}
        for criterion, parts in sets.items():
            images, targets = pooled(parts, self.data.spec.shape)
            if criterion == "3":
                images, targets = self._sampled(images, targets)
            total, per_class = detection_counts(network, images, targets, threat, names)
            figures.update(_flat(criterion, "detection", total, per_class))
        for criterion, real in (("9", self.data.a_train), ("10", self.data.test)):
            measures, per_class = real_counts(network, real, names, self.nominal)
            figures.update(_flat(criterion, "accuracy", measures["accuracy"], per_class))
        self._write("epoch", figures)
        self.epochs += 1
        self._flush()

    def finished(self) -> None:
        """The round is trained; its lines are final once it is stored."""
        self._write("finished", {"steps": self.step, "epochs": self.epochs})
        self._flush()
        self._board.flush()
        self.round += 1
        self.pending = None

    def close(self) -> None:
        self._flush()
        self._board.close()

    def _sampled(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self.replay_sample is None or len(targets) <= self.replay_sample:
            return images, targets
        draw = generator(self.seed, "replay sample", self.round, self.epochs)
        index = torch.randperm(len(targets), generator=draw)[: self.replay_sample]
        return images[index], targets[index]

    def _show(self, index: int, made: Verified) -> None:
        picture = sheet(made.images[:SHEET_IMAGES])
        self.store.save_file(f"sheets/round-{index:03d}.png", picture)
        self._board.add_images(f"round/{index:03d}", made.images[:SHEET_IMAGES], self.step)

    def _write(self, kind: str, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            if not math.isfinite(value):
                raise NonFiniteError(f"{kind} figure {name} of round {self.round} is not finite")
        # All of a step's scalars in one event: one each costs more than the optimiser's step.
        shown = [Summary.Value(tag=f"{kind}/{name}", simple_value=value) for name, value in figures.items()]
        self._board.file_writer.add_summary(Summary(value=shown), self.step)
        line = {"kind": kind, "round": self.round, "step": self.step, "epoch": self.epochs, **figures}
        self._lines.append(json.dumps(line, allow_nan=False))

    def _flush(self) -> None:
        """Append what was logged since the last epoch; a torn last line is dropped on the next start."""
        if self._lines:
            with self._path.open("a") as file:
                file.write("\n".join(self._lines) + "\n")
            self._lines = []

    def _forget_unfinished(self) -> None:
        """Drop lines of rounds that were not finished, so that a resumed run logs what an unbroken one does."""
        if not self._path.exists():
            return
        kept = []
        for text in self._path.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                break
            if line["round"] >= self.round:
                break
            kept.append(text)
            if line["kind"] == "finished":
                self.step, self.epochs = line["steps"], line["epochs"]
        write_atomic(self._path, "".join(text + "\n" for text in kept).encode())


def outcome_figures(found: Verified, names: Sequence[str]) -> dict[str, float]:
    """Criteria 0 and 1 of a set of images, in aggregate and per class: outcomes, probability, pixels."""
    figures: dict[str, float] = {f"outcome/{name}": count for name, count in found.counts().items()}
    reached = found.is_(Outcome.FOOLING, Outcome.BORDERLINE, Outcome.IN_DISTRIBUTION)
    ood = found.is_(Outcome.FOOLING)
    everyone = torch.ones(len(found.targets), dtype=torch.bool)
    for name, where in [("all", everyone), *((n, found.targets == i) for i, n in enumerate(names))]:
        if not where.any():
            continue
        figures[f"{name}/sparse"] = float(reached[where].double().mean())
        figures[f"{name}/ood"] = float(ood[where].double().mean())
        figures[f"{name}/probability"] = float(found.probability[where].double().mean())
        figures[f"{name}/pixels"] = float(found.pixels[where].double().mean())
    return figures


def pooled(parts: Sequence[Verified], shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Images and targets of several sets, joined -> [N, C, H, W], [N]."""
    if not parts:
        return torch.zeros(0, *shape), torch.zeros(0, dtype=torch.long)
    return torch.cat([part.images for part in parts]), torch.cat([part.targets for part in parts])


def _flat(criterion: str, rate: str, total: Counts, per_class: dict[str, Counts]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for prefix, counts in [(criterion, total), *((f"{criterion}/class {n}", c) for n, c in per_class.items())]:
        if counts.n:
            figures[f"{prefix}/{rate}"] = counts.successes / counts.n
            figures |= {f"{prefix}/{name}": value for name, value in counts.means.items()}
    return figures
