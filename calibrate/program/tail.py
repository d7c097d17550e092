"""The tail of a weighted sample, exactly: any probabilities, fractional scenario at its edge included."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibrate.certificate.verifier import MOST
from calibrate.errors import ProblemError

__all__ = ["TIED", "check_level", "cvar", "largest", "tail_weights", "value_at_risk"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
THIN, MANY = 32, 1_000  # a threshold for the tail is read off every 32nd value, if those are more than a thousand
TIED = 1e-12  # relative: sums of the same losses in another unit or order differ by rounding, and are tied all the same


def tail_weights(values: Floats, probabilities: Floats, level: float) -> Floats:
    """Weights `q` of the tail: the maximiser of `q @ values` over `0 <= q <= p / (1 - level)`, `sum q = 1`.

    The largest values get all they may have until the weights sum to 1; the values tied at the edge share what is
    left in proportion to their probabilities, so that the order of the scenarios does not matter.
    """
    check_level(level)
    cap = 1.0 - level
    positive = np.flatnonzero(probabilities > 0)
    edge = value_at_risk(values, probabilities, level)
    hair = TIED * abs(edge)
    above = positive[values[positive] > edge + hair]
    tied = positive[np.abs(values[positive] - edge) <= hair]
    weights = np.zeros_like(probabilities)
    weights[above] = probabilities[above] / cap
    left = max(1.0 - float(weights[above].sum()), 0.0)
    weights[tied] = probabilities[tied] * (left / float(probabilities[tied].sum()))
    return weights


def value_at_risk(values: Floats, probabilities: Floats, level: float) -> float:
    """Smallest `v` with `P(value > v) <= 1 - level`: the lower quantile.

    >>> value_at_risk(np.arange(5.0), np.full(5, 0.2), 0.75)
    3.0
    """
    check_level(level)
    return _edge(*_top(values, probabilities, 1.0 - level), 1.0 - level)


def _edge(values: Floats, probabilities: Floats, cap: float) -> float:
    order = np.argsort(values)[::-1]
    mass = np.cumsum(probabilities[order])
    # The scenario in which the mass from above passes 1 - level; a hair of rounding in a cumulated mass that should
    # equal it must not move the edge by a whole scenario, and cannot change the CVaR by more than that hair.
    edge = min(int(np.searchsorted(mass, cap * (1 + 1e-12), side="right")), len(order) - 1)
    return float(values[order[edge]])


def largest(values: Floats, probabilities: Floats, mass: float, floor: float) -> Ints:
    """Scenarios with the largest values, more than `mass` of probability, or all above `floor`; nothing is sorted.

    A threshold is read off every 32nd value; it need not be right, only pass enough.
    """
    thin = values[::THIN]
    count = int(2 * mass * len(thin)) + 50
    if len(thin) > MANY and count < len(thin):
        threshold = float(np.partition(thin, len(thin) - count)[len(thin) - count])
        above = np.flatnonzero(values > max(floor, threshold))
        above = above[probabilities[above] > 0]
        if probabilities[above].sum() > mass * (1 + 1e-9):
            return above
    return np.flatnonzero((values > floor) & (probabilities > 0))


def _top(values: Floats, probabilities: Floats, mass: float) -> tuple[Floats, Floats]:
    """The largest values with their probabilities, and all that is left as one at the lowest: losses of 0 are many."""
    lowest = float(values.min() if probabilities.min() > 0 else values[probabilities > 0].min())
    above = largest(values, probabilities, mass, lowest)
    p = probabilities[above]
    return np.append(values[above], lowest), np.append(p, max(1.0 - float(p.sum()), 0.0))


def cvar(values: Floats, probabilities: Floats, level: float) -> float:
    """`CVaR = min_t t + E[(Y - t)+] / (1 - level)` (Rockafellar and Uryasev 2000), attained at the value at risk.

    >>> round(cvar(np.arange(5.0), np.full(5, 0.2), 0.75), 12)
    3.8
    """
    check_level(level)
    values, probabilities = _top(values, probabilities, 1.0 - level)
    edge = _edge(values, probabilities, 1.0 - level)
    return float(edge + probabilities @ np.maximum(values - edge, 0.0) / (1.0 - level))


def check_level(level: float) -> None:
    """Refuse a level outside [0, 1), and one beyond which what is unlikeliest would be the size of all losses."""
    if not (isinstance(level, int | float | np.number) and 0.0 <= float(level) < 1.0):
        raise ProblemError(f"level is {level!r}, expected a probability with 0 <= level < 1, such as 0.99")
    if float(level) >= MOST:
        raise ProblemError(f"level is {level!r}, expected at most 0.999999: no pool knows one period in a million")
