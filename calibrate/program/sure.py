"""Integers that keep the rules: where floating point is sure of it, exact arithmetic need not be asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from calibrate.certificate import verifier
from calibrate.program.compiled import Compiled
from calibrate.program.form import Floats, Program
from calibrate.program.statement import Layout

__all__ = ["decimals_of", "doubtful", "keeps_however_rounded", "published_decimals", "too_much"]

MOST_DECIMALS = 400  # of the published unit
UNITS = 1000 * verifier.FINER  # that an amount has at least, as the verifier asks of their sum
OF_LOSSES = float(verifier.LITTLE) ** 2  # that a risk may be more than it may be
ROUNDINGS = 4 * np.finfo(np.float64).eps  # relative: more than a product and its sum are off
SMALLEST = 1e-290  # amounts below which products lose digits


def published_decimals(program: Program, decisions: Floats) -> int:
    """So many that a unit is no more than 1e-12 of any contribution or reserve that there is."""
    least = min((one for one in decisions.tolist() if one > 0), default=program.unit)
    return min(decimals_of(least), MOST_DECIMALS)


def decimals_of(total: float | Fraction) -> int:
    """Decimals of the published unit: at least 2, and so many that a unit is no more than 1e-12 of a total."""
    decimals = 2
    while 0 < Fraction(total) * 10**decimals < UNITS:
        decimals += 1
    return decimals


def keeps_however_rounded(program: Program, form: Compiled, decisions: Floats) -> bool:
    """Whether integers within a unit of each decision keep the rules for sure, as the verifier judges them.

    It grants a row a unit for each entry, and none of them moves by more; and 2^-40 of what the entry is, which is
    mostly more than the plan misses the row by.
    """
    layout, cone = Layout.of(program, form), form.body.cone
    if layout.auxiliary or cone.sizes or len(form.equalities[0]):
        return False
    rows, unit = layout.columns(form.body.G), float(Fraction(1, 10 ** published_decimals(program, decisions)))
    with np.errstate(over="ignore", invalid="ignore"):  # out of range: not sure
        products, amounts = rows * decisions, form.body.h * program.unit
        sizes = np.abs(products).sum(axis=1) + np.abs(amounts)
        missed = products.sum(axis=1) - amounts + ROUNDINGS * rows.shape[1] * np.maximum(sizes, SMALLEST)
        granted = float(verifier.ROUNDED) * np.abs(rows) @ (decisions - unit)
        return bool(np.all(missed < granted))


def too_much(program: Program, form: Compiled, decisions: Floats, missed: Sequence[float]) -> str:
    """The limit that a plan misses by more than the verifier grants its integers; empty where there is none.

    The unit that it grants for each decision is for their rounding.
    """
    for limit, row, rates, by in zip(program.limits, form.rows, np.abs(form.limit_rates), missed, strict=True):
        rounded = float(verifier.ROUNDED) * (abs(limit.amount) + float(rates @ decisions))
        if by > OF_LOSSES * program.unit * float(row.eta.sum()) + rounded:
            return str(limit)
    return ""


def doubtful(blocks: Iterable[list[Any]], published: list[int], decimals: int) -> list[list[Any]]:
    """Blocks that may not hold on the published integers. Rows that floating point is sure of are left out.

    A row of `n` products is off by less than `n` roundings of their sizes; the verifier grants it a unit an entry.
    """
    money, unit = np.array([float(Fraction(n, 10**decimals)) for n in published]), float(Fraction(1, 10**decimals))
    kept = []
    for block in blocks:
        (row, amount), *others = block[2]
        columns = [j for j, _ in row]
        if block[1] == "at_most" and not others and max(columns, default=0) < len(money):
            values = np.array([a for _, a in row])
            with np.errstate(over="ignore", invalid="ignore"):  # out of range: not sure
                products, granted = values * money[columns], unit * float(np.abs(values).sum())
                sizes = float(np.abs(products).sum()) + abs(amount)
            if amount - float(products.sum()) + granted > ROUNDINGS * (len(row) + 2) * max(sizes, SMALLEST):
                continue
        kept.append(block)
    return kept
