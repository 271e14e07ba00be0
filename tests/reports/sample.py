"""Valid certificates to build pages from: every verdict, both scopes, empty samples, sheets that match."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
from pathlib import Path

from PIL import Image
from scipy.stats import beta

from bench.consistency import NAMES
from bench.record import RULES, Certificate

THRESHOLDS = (0.95, 0.95, 0.95, 0.9, 0.9, 0.9, 0.9, 0.9, 0.01, 0.93, 0.93)
ATTACKS = ("l1_sparse", "masked", "differential_evolution")
WITH_ATTACKS = (0, 1, 6, 7, 8)
OUTCOMES = ("fooling", "borderline", "in_distribution", "dense", "unconfident", "neither")
REASONS = {
    "pass": "{seen} observed, bound {bound}, allowed {allowed}: nothing to do.",
    "fail": "{seen} observed, and even the opposite bound {bound} misses {allowed}: train more rounds, or stronger.",
    "inconclusive": "{seen} observed, and the bound {bound} leaves {allowed} open: use a larger budget.",
    "not_applicable": "A checkpoint has no training history: certify the defense to measure this.",
}


def ratio(successes: int, n: int) -> dict:
    """A rate with its one-sided 95% Clopper-Pearson bounds."""
    lower = 0.0 if successes == 0 else float(beta.ppf(0.05, successes, n - successes + 1))
    upper = 1.0 if successes == n else float(beta.ppf(0.95, successes + 1, n - successes))
    observed = successes / n if n else None
    return {"successes": successes, "n": n, "observed": observed, "lower": lower, "upper": upper}


def split(total: int, weights: tuple[float, ...], chance: random.Random) -> dict[str, int]:
    """`total` images over the six outcomes."""
    drawn = chance.choices(OUTCOMES, weights, k=total)
    return {name: drawn.count(name) for name in OUTCOMES}


def rate_of(identity: int, verdict: str, chance: random.Random) -> float:
    """A rate that such a verdict could come from."""
    least = THRESHOLDS[identity]
    if identity == 8:
        return {"pass": 0.0, "fail": 0.17, "inconclusive": 0.004}[verdict]
    good = least + (1 - least) * (0.6 + 0.35 * chance.random())
    return {"pass": good, "fail": least - 0.2, "inconclusive": least + 0.005}[verdict]


def criterion(identity: int, verdict: str, classes: tuple[str, ...], chance: random.Random, n: int = 300) -> dict:
    at_most = identity == 8
    base = {
        "id": identity,
        "name": NAMES[identity],
        "verdict": verdict,
        "direction": "at_most" if at_most else "at_least",
        "threshold": THRESHOLDS[identity],
    }
    if verdict == "not_applicable":
        return base | {"observed": None, "bound": None, "n": 0, "reason": REASONS[verdict]}
    n = 2990 if at_most and verdict == "pass" else n
    rate = rate_of(identity, verdict, chance)
    whole = ratio(round(rate * n), n)
    bound = whole["upper"] if at_most == (verdict != "fail") else whole["lower"]
    allowed = f"{'at most' if at_most else 'at least'} {THRESHOLDS[identity]:.0%}"
    seen = f"{whole['successes']} of {n} ({whole['observed']:.1%})"
    return base | {
        "observed": whole["observed"],
        "bound": bound,
        "n": n,
        "reason": REASONS[verdict].format(seen=seen, bound=f"{bound:.1%}", allowed=allowed),
        "per_class": [class_row(label, identity, rate, n // len(classes), chance) for label in classes]
        if identity < 9
        else real_rows(classes, whole["successes"], n // len(classes)),
        "per_attack": [attack_row(name, identity, verdict, rate, chance) for name in ATTACKS]
        if identity in WITH_ATTACKS
        else [],
        "figures": {"accuracy": whole["observed"], "confident_accuracy": rate * 0.97} if identity > 8 else {},
    }


def class_row(label: str, identity: int, rate: float, n: int, chance: random.Random) -> dict:
    n = 0 if identity == 4 and label.startswith("1") else n
    successes = sum(chance.random() < rate for _ in range(n))
    means = {"fake_probability": rate, "loss": 0.05 + chance.random() / 5} if n and 2 <= identity <= 7 else {}
    if identity == 0:
        means = {"target_probability": 0.93 + chance.random() / 20, "pixels": 9 + 12 * chance.random()}
    return {
        "label": label,
        "ratio": ratio(successes, n),
        "means": means,
        "fails": identity != 8 and rate < 0.75 and successes < 0.6 * n,
    }


def real_rows(classes: tuple[str, ...], right: int, n: int) -> list[dict]:
    """`right` of all images, as evenly among the classes as it goes."""
    shares = [right // len(classes) + (place < right % len(classes)) for place in range(len(classes))]
    return [
        {"label": label, "ratio": ratio(share, n), "means": {}, "fails": False}
        for label, share in zip(classes, shares, strict=True)
    ]


def attack_row(name: str, identity: int, verdict: str, rate: float, chance: random.Random) -> dict:
    weights = {
        0: (0.94, 0.02, 0.02, 0.01, 0.01, 0.0),
        8: (rate * 0.8, 0.03, 0.3 if verdict == "pass" else 0.12, 0.05, 0.55, 0.02),
    }.get(identity, (0.9, 0.04, 0.03, 0.01, 0.01, 0.01))
    outcomes = split(300, weights, chance)
    hits = outcomes["fooling"] if identity in (0, 8) else round(rate * 300)
    return {
        "attack": name,
        "verdict": verdict,
        "reason": f"{hits} of 300 images; see the outcomes for what became of the others.",
        "ratio": ratio(hits, 300),
        "outcomes": outcomes if identity in (0, 1, 8) else {},
        "healthy": (verdict == "pass" or name != "differential_evolution") if identity == 8 else None,
        "means": {
            "probability": 0.9 + chance.random() / 12,
            "pixels": 8 + 13 * chance.random(),
            "passes": 812.4,
        },
    }


def sheet_png(seed: int, cells: int = 40, side: int = 8, columns: int = 10) -> bytes:
    """Sparse strokes on black, one image a cell: about what an attack draws."""
    chance = random.Random(seed)
    rows = math.ceil(cells / columns)
    image = Image.new("L", (columns * (side + 1) + 1, rows * (side + 1) + 1), 48)
    for cell in range(cells):
        left, top = 1 + cell % columns * (side + 1), 1 + cell // columns * (side + 1)
        image.paste(0, (left, top, left + side, top + side))
        x, y = chance.randrange(side), chance.randrange(side)
        for _ in range(side * side // 4):
            image.putpixel((left + x, top + y), chance.choice((90, 140, 200, 255)))
            x = min(side - 1, max(0, x + chance.choice((-1, 0, 1))))
            y = min(side - 1, max(0, y + chance.choice((-1, 0, 1))))
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def sheet(folder: Path, file: str, title: str, data: bytes, captions: int = 0) -> dict:
    """Write a sheet and return its record."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    texts = [f"target {number % 10}, p 0.9{number % 10}, {12 + number % 9} pixels" for number in range(captions)]
    return {"title": title, "file": file, "sha256": hashlib.sha256(data).hexdigest(), "captions": texts}


def rounds(folder: Path, total: int, classes: tuple[str, ...], chance: random.Random) -> list[dict]:
    made = []
    for index in range(total):
        rate = max(0.0, 0.96 * 0.55**index - 0.02) if index else 0.0
        rest = 1 - rate
        outcomes = split(300, (rate, rest * 0.1, rest * 0.5, rest * 0.05, rest * 0.33, rest * 0.02), chance)
        made.append(
            {
                "index": index,
                "attack": "l1_sparse" if index else None,
                "passes": 400 + 100 * index,
                "attempted": 300 if index else 0,
                "outcomes": outcomes if index else {},
                "trained_as_fake": outcomes["fooling"] if index else 0,
                "heldout": outcomes["fooling"] if index else 0,
                "validation_accuracy": 0.975 - 0.002 * index,
                "score": 1 - 0.5 * 0.8**index if index else None,
                "selected": index == total - 1,
                "per_class": [class_row(label, 9, rate, 30, chance) for label in classes] if index else [],
                "sheet": sheet(
                    folder, f"sheets/round-{index:03}.png", f"Round {index}: l1_sparse", sheet_png(index), 40
                )
                if index
                else None,
            }
        )
    return made


def evolution(folder: Path, total: int) -> list[dict]:
    """At most twelve rounds, the first and the last among them, each with the same twenty targets."""
    shown = sorted({round(place * (total - 1) / 11) for place in range(12)}) if total > 1 else []
    steps = []
    for index in shown:
        file, title = f"sheets/evolution-{index:03}.png", f"Round {index}: the same targets"
        fooling = max(0, 18 - 3 * index) if index < total - 1 else 0
        steps.append(
            {
                "index": index,
                "sheet": sheet(folder, file, title, sheet_png(200 + index, 20), 20) | {"attack": "l1_sparse"},
                "outcomes": dict.fromkeys(OUTCOMES, 0) | {"fooling": fooling, "in_distribution": 20 - fooling},
            }
        )
    return steps


def transfer(total: int, past_attacks: tuple[str, ...] = ATTACKS[1:]) -> dict | None:
    """Images fool the network they were made on, are learned by the next, and are slowly forgotten."""
    if total < 2:
        return None

    def share(images: int, network: int) -> float:
        if network < images:
            return 0.0 if network == images - 1 else 0.3
        return max(0.5, 1 - 0.04 * (network - images))

    def row(index: int) -> dict:
        n = 300 - 40 * index if index < 6 else 40
        shares = [share(index, network) for network in range(total)]
        return {
            "index": index,
            "n": n,
            "taught": n // 2,
            "detected": [round(n * rate) for rate in shares],
            "fake_probability": [0.02 + 0.95 * rate for rate in shares],
        }

    made = [0 if index == 2 else 30 for index in range(total - 1)]
    caught = [n - index % 3 if n else 0 for index, n in enumerate(made)]
    total_caught = ratio(sum(caught), sum(made))
    attacks = [{"attack": name, "n": [*made], "detected": [*caught], "total": total_caught} for name in past_attacks]
    past = list(range(total - 1))
    return {
        "networks": list(range(total)),
        "rows": [row(index) for index in range(1, total)],
        "past": past,
        "attacks": attacks,
    }


def controls() -> list[dict]:
    def row(name, required, rates, holds, reason):
        working, strict = rates
        return {
            "name": name,
            "required": required,
            "n": 500,
            "rejected_working": working,
            "rejected_strict": strict,
            "auroc": 0.9994 if holds else None,
            "holds": holds,
            "reason": reason,
        }

    return [
        row("blank", True, (1.0, 1.0), True, "All rejected; at least 99% required."),
        row("noise of every density", True, (1.0, 0.998), True, "499 of 500 rejected; at least 99% required."),
        row("pixel-shuffled digits", True, (1.0, 1.0), True, "All rejected; at least 99% required."),
        row("real test images", True, (0.012, 0.0), True, "Rejected as calibrated: 1% allowed, 1.2% observed."),
        row(
            "halves of two digits",
            False,
            (0.41, 0.22),
            None,
            "Reported only: a person would not agree either.",
        ),
    ]


def proof(proved_to: int, sparsest_real: int) -> dict:
    """Bounds that pass 0.85 right after `proved_to`."""

    def bound(k: int, middle: float) -> float:
        return 1 / (1 + math.exp(middle - k))

    ks = sorted({0, 1, 2, 5, 10, 20, max(0, sparsest_real - 1), proved_to, proved_to + 1})
    return {
        "proved_to": proved_to,
        "sparsest_real": sparsest_real,
        "rows": [{"k": k, "interval": bound(k, proved_to - 1.8), "linear": bound(k, proved_to - 1)} for k in ks],
        "reason": f"No image with at most {proved_to} lit pixels reaches p for any class; the sparsest real training "
        f"image has {sparsest_real}.",
    }


def perturbed(certified: bool, n: int = 300) -> dict:
    """The control gives in early, a certified model hardly at all."""

    def row(series: str, place: int) -> dict:
        turned, there = (1 if certified else 34) * place, (48 if series == "control" else 12) * place
        return {
            "strength": place / 10 + 0.1,
            "series": series,
            "turned": ratio(turned, n),
            "kept": ratio(n - 2 * turned - 9, n),
            "control": ratio(there, n),
            "control_kept": ratio(n - there - 3, n),
        }

    series = ("control",) if certified else ("control", "final")
    rows = [row(name, place) for name in series for place in range(5)]
    return {
        "attack": "l1_sparse",
        "rows": rows,
        "reason": "With images that fooled the undefended control added to real test images at strength 0.5, this "
        f"model gives {rows[4]['turned']['successes']} of {n} the added image's class with p 0.9 or more.",
    }


def document(
    folder: Path,
    *,
    defense: str = "fakeclass",
    dataset: str = "digits",
    verdicts: str = "ppppppppppp",
    scope: str = "process",
    total_rounds: int = 7,
    budget: str = "standard",
    seed: int = 0,
) -> dict:
    """A certificate as plain data, its sheets written to `folder`; `verdicts` has one letter a criterion."""
    chance = random.Random(f"{defense}{dataset}{verdicts}{seed}")
    classes = tuple(map(str, range(10)))
    total_rounds = total_rounds if scope == "process" else 0
    words = {"p": "pass", "f": "fail", "i": "inconclusive", "n": "not_applicable"}
    criteria = [criterion(identity, words[letter], classes, chance) for identity, letter in enumerate(verdicts)]
    certified = budget != "quick" and set(verdicts) <= ({"p", "n"} if scope == "model" else {"p"})
    side = 8 if dataset == "digits" else 28
    return {
        "schema_version": 1,
        "rules": RULES,
        "dataset": dataset,
        "image_shape": [1, side, side],
        "class_names": list(classes),
        "defense": defense if scope == "process" else None,
        "checkpoint": "weights.safetensors" if scope == "model" else None,
        "network": "cnn",
        "training_attacks": ["l1_sparse"] if scope == "process" else [],
        "attacks": list(ATTACKS),
        "scope": scope,
        "certified": certified,
        "summary": f"{verdicts.count('p')} of 11 criteria pass.",
        "threat": {
            "p": 0.9,
            "k": 24 if side == 8 else 300,
            "pixels": side * side,
            "operating_point": [0.9 - 0.01 * (number % 3) for number in range(10)],
        },
        "budget": {"name": budget, "images": 300, "passes": 2000, "restarts": 2, "rounds": 12},
        "environment": {
            "command": f"pytest suites/ --dataset={dataset} --defense={defense} --seed={seed}",
            "seed": seed,
            "device": "cpu",
            "threads": 2,
            "revision": "eb00780" + "0" * 33,
            "packages": {"numpy": "2.4.6", "torch": "2.14.1"},
            "made_at": "2026-11-24T06:12:31Z",
        },
        "criteria": criteria,
        "judge_controls": controls(),
        "rounds": rounds(folder, total_rounds, classes, chance),
        "evolution": evolution(folder, total_rounds),
        "transfer": transfer(total_rounds),
        "sheets": [
            sheet(
                folder,
                f"sheets/final-{name}.png",
                f"{name} against the final network",
                sheet_png(90 + place),
                40,
            )
            for place, name in enumerate(ATTACKS)
        ],
        "score": 0.981 if certified else 0.312 if "f" in verdicts else 0.874,
        "fooled_from": None if certified else 11,
        "frontier": {
            "attacks": ["sigma_zero"],
            "per_class": {name: None if certified else 11 + place for place, name in enumerate(classes)},
            "rows": [
                {
                    "k": k,
                    "best_probability": 0.2 + 0.01 * k if certified or k < 11 else 0.97,
                    "reached": ratio(k // 5, 50),
                    "fooling": ratio(0, 50),
                    "control": ratio(100 if k > 5 else 40, 100),
                    "carries": k > 5,
                }
                for k in (5, 10, 20)
            ],
        },
        "proof": proof(proved_to=6, sparsest_real=8),
        "proved_to": 6,
        "perturbed": perturbed(verdicts[8] == "p"),
        "cost": {"seconds": 148.2, "forward_passes": 4_120_000, "backward_passes": 3_870_000},
        "hashes": {f"rounds/00{number}/network.safetensors": f"{number:064x}" for number in range(3)},
    }


def human(certificate: str) -> dict:
    """What one person who looked at two images of a certificate, named by its identity, said of them."""
    share = {"successes": 1, "n": 1, "observed": 1.0, "lower": 0.03, "upper": 1.0}
    names = (
        "agreement_working", "agreement_strict", "missed", "overruled", "false_alarms", "control_taken",
        "final_taken", "named",
    )  # fmt: skip
    figures = {"images": 1, "auroc": None, **dict.fromkeys(names, share)}
    rater = {"name": "", "file": "0" * 64, "seconds": 1.0, "figures": figures}
    facts = {"certificate": certificate, "page": "0" * 64, "images": 2, "real": 1, "marks": 1, "ties": 0}
    return {**facts, "pooled": figures, "raters": [rater], "kappa": None}


def write(folder: Path, **choices) -> Path:
    """Write a valid certificate with its sheets; return the path of its `certificate.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_document(folder, document(folder, **choices))


def write_document(folder: Path, data: dict) -> Path:
    """Write plain data as `certificate.json`, valid or not."""
    path = folder / "certificate.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def several(folder: Path) -> list[Path]:
    """A leaderboard's worth: certified and not, both scopes, two data sets, every verdict."""
    return [
        write(folder / "certified"),
        write(folder / "model", defense="sparse_gate", scope="model", verdicts="ppnnnnppppp"),
        write(folder / "broken", defense="undefended", verdicts="ppnnnnffffp", total_rounds=1),
        write(folder / "open", defense="fakeclass_single", verdicts="pppipippipp", seed=3),
        write(folder / "quick", budget="quick", seed=1),
        write(folder / "mnist", dataset="mnist", verdicts="ppppppppfpp", total_rounds=24),
    ]


def parsed(data: dict) -> Certificate:
    """Plain data as a certificate."""
    return Certificate.model_validate_json(json.dumps(data))
