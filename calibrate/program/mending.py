"""Multipliers that prove nothing because of their last digits, mended exactly.

Where nothing bounds a variable on one side, the slope that the multipliers leave it must not lean to that side at all,
and a solver leaves it leaning by a trace. What leans is a sum of what each row pulls. Taking from the rows that pull to
the wrong side, until the sum is zero, keeps every multiplier valid: those of `at_most` rows stay >= 0, a cone holds all
multiples of its own, an equality takes any. It costs the bound no more than a trace times the amounts of these rows.
So it does where a variable has an end that is ever so far: there a trace would cost the bound more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from calibrate.certificate import verifier
from calibrate.program.dual import slope_without_rules
from calibrate.program.multipliers import in_cones

__all__ = ["mended"]

MOST_SWEEPS = 20  # over the variables: what is taken from a row may make another variable lean
HAIR = 1e-15  # taken more: doubles round
DIGITS = 50  # of the largest multiplier in binary: what others are multiples of, so that sums of them are zero exactly


def mended(body: dict[str, Any], pool: verifier.Pool, spare: float = math.inf) -> list[list[float]] | None:
    """Multipliers of the blocks of a certificate (numbers as fractions) with which no slope leans to an endless side.

    Nor by more than `spare` (money, of a bound) to an end, where that can be had. None where some lean to an endless
    side still: nothing proves a bound from them.
    """
    ends, lean = verifier.box(body, body["objective"]), _Lean(body, pool)
    most = None if math.isinf(spare) else Fraction(spare) * 10 ** body["decimals"] * verifier.FINER
    for _ in range(MOST_SWEEPS):
        wrong = [j for j, g in enumerate(lean.slope) if g and _leans(g, ends[j], most)]
        if not wrong:
            break
        for j in wrong:
            lean.straighten(j, ends[j] == [None, None])
    endless = any(g and ends[j][g < 0] is None for j, g in enumerate(lean.slope))
    return None if endless else [[float(one) for one in m] for m in lean.blocks]


def _leans(slope: Fraction, ends: list[Any], most: Fraction | None) -> bool:
    """Whether the lower end (of a slope > 0) or the upper one is missing, or costs more than it may."""
    end = ends[slope < 0]
    return end is None or (most is not None and -slope * end > most)


class _Lean:
    """Slopes of all variables under the multipliers of the blocks, which only become less."""

    def __init__(self, body: dict[str, Any], pool: verifier.Pool) -> None:
        self.body = body
        self.blocks = [list(map(Fraction, m)) for m in body["multipliers"]["blocks"]]
        self.slope = slope_without_rules(body, pool)
        self.touching: dict[int, list[int]] = {}
        for k, ((_, _, rows), m) in enumerate(zip(body["blocks"], self.blocks, strict=True)):
            for j in {j for row, _ in rows for j, _ in row} if any(m) else ():
                self.slope[j] += self._pull(k, j)
                self.touching.setdefault(j, []).append(k)
        for blocks in self.touching.values():  # who speaks of little else makes little else lean
            blocks.sort(key=lambda k: sum(len(row) for row, _ in body["blocks"][k][2]))

    def _pull(self, k: int, j: int) -> Fraction:
        """What a block adds to the slope of a variable."""
        _, _, rows = self.body["blocks"][k]
        pulls = (m * a for (row, _), m in zip(rows, self.blocks[k], strict=True) for i, a in row if i == j)
        return sum(pulls, Fraction(0))

    def straighten(self, j: int, free: bool) -> None:
        """Take from the blocks that pull a variable to where its slope is, until it is zero.

        Or beyond by a hair, unless the variable is `free` on both sides: its slope must be zero exactly.
        """
        if free:
            self._align(self.touching.get(j, ()))
        side = self.slope[j] > 0
        for k in self.touching.get(j, ()):
            pull = self._pull(k, j)
            if pull and (pull > 0) == side:
                factor = max(1 - self.slope[j] / pull, Fraction(0))
                self._take(k, [m * (factor if free else factor * (1 - Fraction(HAIR))) for m in self.blocks[k]])
            if not self.slope[j] or (self.slope[j] > 0) != side:
                return

    def _align(self, blocks: Sequence[int]) -> None:
        """Multipliers of single rows as multiples of a part of the largest: sums of such are zero exactly."""
        single = [k for k in blocks if len(self.blocks[k]) == 1]
        largest = max((abs(float(self.blocks[k][0])) for k in single), default=0.0)
        grid = Fraction(2) ** (math.frexp(largest)[1] - DIGITS)
        for k in single:
            self._take(k, [math.trunc(self.blocks[k][0] / grid) * grid])

    def _take(self, k: int, less: list[Fraction]) -> None:
        """Give a block multipliers that are less, as doubles of its cone."""
        _, kind, rows = self.body["blocks"][k]
        old, new = self.blocks[k], in_cones({"blocks": [("", kind, rows)]}, [list(map(float, less))])[0]
        self.blocks[k] = list(map(Fraction, new))
        for (row, _), before, now in zip(rows, old, self.blocks[k], strict=True):
            for j, a in row:
                self.slope[j] += (now - before) * a
