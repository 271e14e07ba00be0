"""Contact sheets: what the attacks drew, for the eye."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from bench.verify import OUTCOMES, Verified

CELL = 56  # pixels of the sheet per image, so that 8x8 digits can be seen
COLUMNS = 10
GAP = 2


def sheet(images: Tensor) -> bytes:
    """Images [N, C, H, W] in [0, 1] as a PNG, ten a row, enlarged without smoothing."""
    count, channels, height, width = images.shape
    scale = max(1, CELL // max(height, width))
    big = images.float().repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    big = (big * 255).round().to(torch.uint8)
    high, wide = height * scale + GAP, width * scale + GAP
    rows = -(-count // COLUMNS)
    page = torch.full((channels, rows * high - GAP, min(count, COLUMNS) * wide - GAP), 96, dtype=torch.uint8)
    for index in range(count):
        top, left = index // COLUMNS * high, index % COLUMNS * wide
        page[:, top : top + height * scale, left : left + width * scale] = big[index]
    array = page.permute(1, 2, 0).numpy()
    picture = Image.fromarray(array[:, :, 0] if channels == 1 else array[:, :, :3])
    out = io.BytesIO()
    picture.save(out, format="PNG", optimize=True)
    return out.getvalue()


def captions(verified: Verified, class_names: tuple[str, ...], oddest: list[str]) -> list[str]:
    """One a cell: target, probability, lit pixels, the judge's score and whose of its detectors it is, outcome."""
    return [
        f"{class_names[int(t)]} · p {p:.2f} · {int(n)} px · judge {s:.2f}, {odd} · {OUTCOMES[int(o)].replace('_', ' ')}"
        for t, p, n, s, odd, o in zip(
            verified.targets.tolist(),
            verified.probability.tolist(),
            verified.pixels.tolist(),
            verified.score.tolist(),
            [name.replace("_", " ") for name in oddest],
            verified.outcome.tolist(),
            strict=True,
        )
    ]
