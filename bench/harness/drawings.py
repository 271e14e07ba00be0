"""Simple drawings, as a person would make them with a pencil: a table, in arithmetic that is exact everywhere.

No attack and no real image leads to them. A network may take them for something all the same, while the slopes that an
attack follows lead elsewhere: to more pixels than it may light, say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.harness.altered_real import sure_and_odd
from bench.seeds import generator

if TYPE_CHECKING:
    from bench.harness.session import Session

VALUES = (1.0, 1.0, 0.5, 0.25)  # of the range, each as likely: half of all drawings have full light
EACH = 4  # times as many of a kind as the budget has images: 8×8 pixels have some 1,300 rectangles
OFFERED = 4  # times as many again are drawn, of which those with at most k lit pixels are kept

FONT = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "F": "11111 10000 10000 11110 10000 10000 10000",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "K": "10001 10010 10100 11000 10100 10010 10001",
    "M": "10001 11011 10101 10101 10001 10001 10001",
    "N": "10001 11001 10101 10011 10001 10001 10001",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "U": "10001 10001 10001 10001 10001 10001 01110",
    "W": "10001 10001 10001 10101 10101 11011 10001",
    "X": "10001 10001 01010 00100 01010 10001 10001",
    "Y": "10001 10001 01010 00100 00100 00100 00100",
    "+": "00000 00100 00100 11111 00100 00100 00000",
    "=": "00000 00000 11111 00000 11111 00000 00000",
}
"""Letters and signs that look like no digit: rows of 5, from the top."""


@dataclass(frozen=True)
class Paper:
    """What is drawn on.

    Args:
        n: drawings.
        height, width: pixels.
        generator: a CPU generator; all chance comes from it.
    """

    n: int
    height: int
    width: int
    generator: torch.Generator

    def some(self, low: int, high: int) -> Tensor:
        """A whole number for each drawing, both ends included -> [n, 1, 1]."""
        return torch.randint(low, max(low, high) + 1, (self.n, 1, 1), generator=self.generator)

    def span(self, side: int) -> tuple[Tensor, Tensor]:
        """Two places of a side for each drawing, in order -> each [n, 1, 1]."""
        ends = torch.cat([self.some(0, side - 1), self.some(0, side - 1)], dim=1).sort(dim=1).values
        return ends[:, :1], ends[:, 1:]

    @property
    def rows(self) -> Tensor:
        return torch.arange(self.height).view(1, -1, 1)

    @property
    def columns(self) -> Tensor:
        return torch.arange(self.width).view(1, 1, -1)

    @property
    def thick(self) -> int:
        """The thickest line: a pixel on a small image, three on one of 28."""
        return max(1, min(self.height, self.width) // 8)

    def box(self) -> tuple[Tensor, Tensor]:
        """A rectangle anywhere -> the whole of it, and its inside without a frame; [n, H, W] bool."""
        (top, bottom), (left, right), t = self.span(self.height), self.span(self.width), self.some(1, self.thick)
        whole = (self.rows >= top) & (self.rows <= bottom) & (self.columns >= left) & (self.columns <= right)
        inside = (self.rows >= top + t) & (self.rows <= bottom - t)
        return whole, inside & (self.columns >= left + t) & (self.columns <= right - t)

    def squares_away(self) -> Tensor:
        """From a middle anywhere, the square of the distance -> [n, H, W]."""
        return (self.rows - self.some(0, self.height - 1)) ** 2 + (self.columns - self.some(0, self.width - 1)) ** 2


def rectangles(on: Paper) -> Tensor:
    return on.box()[0]


def frames(on: Paper) -> Tensor:
    whole, inside = on.box()
    return whole & ~inside


def lines(on: Paper) -> Tensor:
    """One to three lines from edge to edge, all of them rows or all of them columns."""
    lit, upright = torch.zeros(on.n, on.height, on.width, dtype=torch.bool), on.some(0, 1) == 1
    count, thick = on.some(1, 3), on.some(1, on.thick)
    for number in range(3):
        row, column = on.some(0, on.height - 1), on.some(0, on.width - 1)
        flat = (on.rows >= row) & (on.rows < row + thick) & ~upright
        lit |= (flat | ((on.columns >= column) & (on.columns < column + thick) & upright)) & (number < count)
    return lit


def crosses(on: Paper) -> Tensor:
    """A row and a column, or two diagonals, within a rectangle."""
    whole, thick = on.box()[0], on.some(1, on.thick)
    down, across = on.rows - on.some(0, on.height - 1), on.columns - on.some(0, on.width - 1)
    straight = (down >= 0) & (down < thick) | (across >= 0) & (across < thick)
    skew = ((down - across).abs() < thick) | ((down + across).abs() < thick)
    return whole & torch.where(on.some(0, 1) == 1, straight, skew)


def diagonals(on: Paper) -> Tensor:
    """One slanted line from edge to edge, of slope 1 or 2, either way."""
    down, across = on.rows - on.some(0, on.height - 1), on.columns - on.some(0, on.width - 1)
    one, two = on.some(1, 2), on.some(1, 2)
    return (one * down + two * across * (2 * on.some(0, 1) - 1)).abs() < 2 * on.some(1, on.thick)


def checkers(on: Paper) -> Tensor:
    size = on.some(1, on.thick)
    return on.box()[0] & ((on.rows // size + on.columns // size + on.some(0, 1)) % 2 == 0)


def gratings(on: Paper) -> Tensor:
    size, upright = on.some(1, on.thick), on.some(0, 1)
    along = torch.where(upright == 1, on.columns.expand(1, on.height, -1), on.rows.expand(1, -1, on.width))
    return on.box()[0] & ((along // size + on.some(0, 1)) % 2 == 0)


def discs(on: Paper) -> Tensor:
    return on.squares_away() <= on.some(1, (min(on.height, on.width) // 2) ** 2)


def rings(on: Paper) -> Tensor:
    away, radius = on.squares_away(), on.some(1, min(on.height, on.width) // 2)
    return (away <= radius**2) & (away > (radius - on.some(1, on.thick)) ** 2)


def corners(on: Paper) -> Tensor:
    """Two neighbouring sides of a frame: an L, turned any way."""
    whole, inside = on.box()
    lit = whole & ~inside
    below, right = on.rows - on.some(0, on.height - 1), on.columns - on.some(0, on.width - 1)
    kept = torch.where(on.some(0, 1) == 1, below + right, below - right) * (2 * on.some(0, 1) - 1) >= 0
    return lit & kept


def letters(on: Paper) -> Tensor:
    """As large as chance has it, anywhere."""
    glyphs = torch.tensor([[[int(dot) for dot in row] for row in rows.split()] for rows in FONT.values()])
    which, size = on.some(0, len(glyphs) - 1), on.some(1, min(on.height // 7, on.width // 5))
    down, across = ((side - many * size).clamp_min(0) for side, many in ((on.height, 7), (on.width, 5)))
    top, left = ((room + 1) * on.some(0, 2**20) // (2**20 + 1) for room in (down, across))
    row, column = (on.rows - top).div(size, rounding_mode="floor"), (on.columns - left).div(size, rounding_mode="floor")
    on_it = (row >= 0) & (row < 7) & (column >= 0) & (column < 5)
    return on_it & (glyphs[which, row.clamp(0, 6), column.clamp(0, 4)] == 1)


def scribbles(on: Paper) -> Tensor:
    """A line that goes on, and turns a little at every pixel."""
    ways = torch.tensor([(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)])
    at = torch.cat([on.some(0, on.height - 1), on.some(0, on.width - 1)], dim=1).squeeze(2)  # [n, 2]
    way, length, ends = on.some(0, 7).view(-1), on.some(3, on.height + on.width).view(-1), (on.height, on.width)
    lit = torch.zeros(on.n, on.height, on.width, dtype=torch.bool)
    for step in range(on.height + on.width):
        lit[torch.arange(on.n), at[:, 0], at[:, 1]] |= step < length
        at = torch.minimum((at + ways[way]).clamp_min(0), torch.tensor(ends) - 1)
        way = (way + on.some(-1, 1).view(-1)) % 8
    wide = F.max_pool2d(lit[:, None].float(), 2, stride=1, padding=1)[:, 0, : on.height, : on.width] > 0
    return torch.where((on.some(1, on.thick) > 1), wide, lit)


DRAWINGS: dict[str, Callable[[Paper], Tensor]] = {
    "rectangles": rectangles,
    "frames": frames,
    "lines": lines,
    "crosses": crosses,
    "diagonals": diagonals,
    "checkers": checkers,
    "gratings": gratings,
    "discs": discs,
    "rings": rings,
    "corners": corners,
    "letters": letters,
    "scribbles": scribbles,
}
"""Name -> what is lit, [n, H, W] bool."""


def drawn(session: Session) -> Iterator[Tensor]:
    """Of drawings of each kind, those that the final network is sure of and the judge rejects -> [n, C, H, W] each.

    Raises:
        NonFiniteError: the final network's logits are not finite.
    """
    chance, n = generator(session.settings.seed, "drawings"), EACH * session.settings.plan.images
    for name in DRAWINGS:
        made = session.spec.round(draw(name, session.spec.shape, session.k, n, chance))
        yield made[sure_and_odd(session, made)]


def draw(name: str, shape: tuple[int, int, int], k: int, n: int, chance: torch.Generator) -> Tensor:
    """Drawings of one kind with at least one and at most k lit pixels, of one value each -> up to n, [m, C, H, W].

    Args:
        name: a key of `DRAWINGS`.
        shape: (C, H, W).
        chance: a CPU generator.
    """
    channels, height, width = shape
    lit = DRAWINGS[name](Paper(OFFERED * n, height, width, chance))
    count = lit.flatten(1).sum(dim=1)
    lit = lit[(count > 0) & (count <= k)][:n]
    values = torch.tensor(VALUES)[torch.randint(len(VALUES), (len(lit), 1, 1), generator=chance)]
    return (lit * values)[:, None].expand(-1, channels, -1, -1).clone()
