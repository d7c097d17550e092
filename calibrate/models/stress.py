"""What if: probabilities of scenarios bent as little as possible, and scenarios that nobody drew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate.errors import DataError, ModelError
from calibrate.labels import of_columns
from calibrate.models.arrays import Floats
from calibrate.scenarios import Scenarios

__all__ = ["Expectation", "effective_scenarios", "entropy_pooled", "with_stress"]

EXACT = 1e-10  # of a view, in standard deviations of its values
STEPS = 200


@dataclass(frozen=True)
class Expectation:
    """A view: the mean of `values` (one a scenario, in their order) is `amount`. Of an event (0 or 1), its probability.

    >>> Expectation(np.array([1.0, 3.0]), 2.5, "loss of A")
    Expectation(values=array([1., 3.]), amount=2.5, name='loss of A')
    """

    values: npt.ArrayLike
    amount: float
    name: str = "a view"


def entropy_pooled(scenarios: Scenarios, views: Sequence[Expectation]) -> Scenarios:
    """The same scenarios with the probabilities nearest to their own under which all views hold.

    `p = argmin sum p log(p / q)` subject to `sum p a_k = b_k`, which is `p ~ q exp(sum l_k a_k)`; the `l` minimise
    `log sum q exp(l (a - b))`, convex, by Newton's method. ModelError names a view that no probabilities fulfil.
    Source: Meucci 2008, Fully flexible views.

    >>> pool = Scenarios([[0.0], [1.0], [2.0]])
    >>> entropy_pooled(pool, [Expectation(pool.losses[:, 0] > 1, 0.5)]).probabilities
    array([0.25, 0.25, 0.5 ])
    """
    q = scenarios.probabilities
    table, spread = _standardised(views, q)
    weights = np.zeros(len(views))
    value, p = _dual(weights, table, q)
    for _ in range(STEPS):
        slope = table @ p
        if np.all(np.abs(slope) <= EXACT):
            return Scenarios(
                scenarios.losses,
                scenarios.members,
                scenarios.segments,
                p,
                scenarios.collateral,
                currency=scenarios.currency,
            )
        bend = (table * p) @ table.T - np.outer(slope, slope)
        step = -np.linalg.lstsq(bend, slope, rcond=1e-12)[0]
        length = 1.0
        while length > 1e-12:
            trial, chance = _dual(weights + length * step, table, q)
            if trial <= value + 1e-4 * length * float(slope @ step) + 1e-15:
                break
            length /= 2
        weights, value, p = weights + length * step, trial, chance
    worst = int(np.argmax(np.abs(table @ p)))
    raise ModelError(
        f"the views contradict each other or lie outside what the scenarios can show: {views[worst].name} is "
        f"{views[worst].amount + float(table[worst] @ p) * spread[worst]:g} at best, expected {views[worst].amount:g}"
    )


def with_stress(
    scenarios: Scenarios, losses: pd.DataFrame | pd.Series[float] | npt.ArrayLike, probability: float
) -> Scenarios:
    """The scenarios and further ones that share `probability` equally; the others give way in proportion.

    `losses` in the columns of the scenarios; a frame, or a Series (one scenario), by its labels. Members' collateral is
    worth 1 in the new ones.

    >>> with_stress(Scenarios([[0.0], [1.0]]), [[9.0]], 0.1).probabilities
    array([0.45, 0.45, 0.1 ])
    """
    if not 0 <= probability < 1:
        raise ModelError(f"the stress scenarios have probability {probability}, expected a number in [0, 1)")
    table = losses.to_frame().T if isinstance(losses, pd.Series) else losses
    ordered = of_columns(table, scenarios.columns, "stress losses")
    extra = np.atleast_2d(np.asarray(ordered, dtype=np.float64))
    if extra.ndim != 2 or not len(extra) or extra.shape[1] != scenarios.losses.shape[1]:
        raise DataError(
            f"stress losses have shape {extra.shape}, expected (scenarios, {scenarios.losses.shape[1]}): one "
            "column for each member and segment"
        )
    weights = np.concatenate(
        [(1 - probability) * scenarios.probabilities, np.full(len(extra), probability / len(extra))]
    )
    collateral = scenarios.collateral
    if collateral is not None:
        collateral = np.vstack([collateral, np.ones((len(extra), collateral.shape[1]))])
    every = np.vstack([scenarios.losses, extra])
    return Scenarios(every, scenarios.members, scenarios.segments, weights, collateral, currency=scenarios.currency)


def effective_scenarios(scenarios: Scenarios) -> float:
    """How many scenarios are left after weighting: `exp(-sum p log p)`, all of them if they are equally likely.

    >>> round(effective_scenarios(Scenarios([[0.0], [1.0]], probabilities=[0.9, 0.1])), 2)
    1.38
    """
    p = scenarios.probabilities[scenarios.probabilities > 0]
    return math.exp(-float(p @ np.log(p)))


def _standardised(views: Sequence[Expectation], q: Floats) -> tuple[Floats, Floats]:
    """Values less amounts in standard deviations, (views, scenarios), and the deviations."""
    rows = []
    for view in views:
        if isinstance(view.values, pd.Series) and not view.values.index.equals(pd.RangeIndex(len(view.values))):
            raise DataError(
                f"{view.name}: values are labelled, {view.values.index[0]!r} first, and scenarios have no labels; give "
                "an array of the values, in the order of the scenarios"
            )
        values = np.asarray(view.values, dtype=np.float64)
        if values.shape != q.shape or not np.isfinite(values).all() or not math.isfinite(view.amount):
            raise DataError(
                f"{view.name}: values of shape {values.shape} and amount {view.amount}, expected a finite number for "
                f"each of {q.size} scenarios, and a finite amount"
            )
        low, high = values[q > 0].min(), values[q > 0].max()
        if not (low < view.amount < high or low == high == view.amount):
            raise ModelError(
                f"{view.name}: the mean cannot be {view.amount:g}, the values lie between {low:g} and {high:g}; "
                "draw more scenarios, or add some by with_stress"
            )
        rows.append(values)
    table = np.array(rows).reshape(len(views), q.size)
    unit = np.maximum(np.abs(table).max(axis=1, initial=0.0), 1e-300)
    centred = table / unit[:, None] - (table / unit[:, None] @ q)[:, None]
    spread = np.sqrt(centred**2 @ q) * unit
    spread = np.where(spread > 0, spread, unit)
    amounts = np.array([view.amount for view in views])
    return (table - amounts[:, None]) / spread[:, None], spread


def _dual(weights: Floats, table: Floats, q: Floats) -> tuple[float, Floats]:
    """Value of the dual and the probabilities it stands for."""
    exponent = weights @ table
    top = float(exponent.max())
    bent = q * np.exp(exponent - top)
    return math.log(float(bent.sum())) + top, bent / bent.sum()
