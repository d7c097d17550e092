"""How losses came to be seen: above a deductible, up to a limit, or still open; and the one door for raw losses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_array

from calibrate.errors import DataError

__all__ = ["Observation", "Sample", "product_limit", "share_above"]

Floats = npt.NDArray[np.float64]
MOST_SHOWN = 20


@dataclass(frozen=True)
class Observation:
    """The scheme under which losses were recorded, in the unit of the losses; scalars, or one value a loss.

    Parameters
    ----------
    deductible : a loss is on record only if it exceeds this (left truncation). Losses are from the ground up.
    limit : a loss recorded at this amount (or more) is known only to be at least as large (right censoring).
    open_claim : True where the claim is still open: the final loss is at least the recorded one (right censoring).

    >>> Observation(deductible=1.0, limit=10.0).limit
    10.0
    """

    deductible: npt.ArrayLike = 0.0
    limit: npt.ArrayLike = np.inf
    open_claim: npt.ArrayLike = False


@dataclass(frozen=True)
class Sample:
    """Checked losses: what every fit reads. Arrays of one length.

    `losses > 0`, `weights > 0`, `entry >= 0` (deductible in force), `censored` (True: the loss is at least this).
    """

    losses: Floats
    weights: Floats
    entry: Floats
    censored: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, X: npt.ArrayLike, sample_weight: npt.ArrayLike | None, observation: Observation | None) -> Sample:
        """Check raw input at the door; rows of weight zero are left out. DataError names the rows."""
        losses = _column(X)
        scheme = observation or Observation()
        n = losses.size
        weights = np.ones(n) if sample_weight is None else _spread(sample_weight, n, "sample_weight")
        entry, limit = _spread(scheme.deductible, n, "deductible"), _spread(scheme.limit, n, "limit")
        still_open = _open(scheme.open_claim, n)
        problems = _faults(
            ~(np.isfinite(losses) & (losses > 0)),
            losses,
            "loss",
            "a finite number > 0 (leave out zeros: they belong to the frequency)",
        )
        problems += _faults(~(np.isfinite(weights) & (weights >= 0)), weights, "sample_weight", "a finite number >= 0")
        problems += _faults(~(np.isfinite(entry) & (entry >= 0)), entry, "deductible", "a finite number >= 0")
        problems += _faults(~(limit > 0), limit, "limit", "a number > 0")
        if not problems:
            problems = _faults(
                losses <= entry, losses, "loss", "more than its deductible: such a loss is not on record"
            )
        if not problems and not weights.any():
            problems = ["every sample_weight is zero, expected at least one positive"]
        if problems:
            raise DataError(problems)
        keep = weights > 0
        censored = (losses >= limit) | still_open
        return cls(np.minimum(losses, limit)[keep], weights[keep], entry[keep], censored[keep])

    @property
    def complete(self) -> bool:
        """True if nothing is truncated and nothing censored."""
        return not (self.censored.any() or self.entry.any())

    @property
    def weight(self) -> float:
        """Sum of the weights."""
        return float(self.weights.sum())

    @property
    def unit(self) -> float:
        """A size typical of the losses (their geometric mean): what an optimiser sees is divided by it."""
        top = float(np.frexp(self.losses.max())[1])
        return float(np.exp2(top) * np.exp(np.average(np.log(self.losses * np.exp2(-top)), weights=self.weights)))

    @cached_property
    def survived(self) -> tuple[Floats, Floats]:
        """Amounts that losses exceed for certain, each once, and the weight of `log S` there in the likelihood.

        That of the losses censored there, less that of the losses with that deductible.
        """
        late = self.entry > 0
        amounts = np.concatenate([self.losses[self.censored], self.entry[late]])
        distinct, place = np.unique(amounts, return_inverse=True)
        weights = np.concatenate([self.weights[self.censored], -self.weights[late]])
        return distinct, np.bincount(place, weights, distinct.size).astype(np.float64)

    def scaled(self, unit: float) -> Sample:
        """The same sample in multiples of `unit`."""
        return Sample(self.losses / unit, self.weights, self.entry / unit, self.censored)

    @property
    def effective(self) -> Sample:
        """The same sample, its weights summing to the number of losses that they are worth, `(sum w)^2 / sum w^2`.

        What the weights do not create is evidence: intervals and standard errors rest on this sample (Kish 1965; Rao
        and Scott 1984). Right where weights do not depend on the size of the loss; equal weights count as ones.
        """
        return Sample(
            self.losses, self.weights * (self.weight / float(self.weights @ self.weights)), self.entry, self.censored
        )

    def where(self, keep: npt.NDArray[np.bool_]) -> Sample:
        """The rows where `keep` is True."""
        return Sample(self.losses[keep], self.weights[keep], self.entry[keep], self.censored[keep])


def product_limit(sample: Sample) -> tuple[Floats, Floats]:
    """Points of loss and the share of losses above each: Kaplan-Meier with late entry.

    `S(x) = prod over seen losses x_j <= x of (1 - d_j / R_j)`, `d_j` weight seen at `x_j`, `R_j` weight at risk
    (entered below `x_j`, recorded at `x_j` or above). Shares are among losses above the smallest deductible.
    """
    points, dying, at_risk = _risk_sets(sample)
    above = np.asarray(np.cumprod(np.clip(1.0 - dying / at_risk, 0.0, 1.0)), dtype=np.float64)
    ended = np.flatnonzero(above[:-1] <= 1e-12)
    if ended.size:
        low, high = points[ended[0]], points[ended[0] + 1]
        raise DataError(
            f"between {low:g} and {high:g} no loss is at risk: all with a lower deductible are smaller, so nothing "
            "says how many there are beyond; leave out those with the lower deductibles"
        )
    return points, above


def share_above(sample: Sample, amount: float) -> tuple[float, float]:
    """Share of losses above an amount, and the number of losses, each seen or not, that would tell it as well.

    The share `S` by the product limit, its variance by Greenwood's formula, `S^2 sum d_j / (R_j (R_j - d_j))` over seen
    losses up to the amount; the number is `S (1 - S)` over it. All losses where none is cut off (Greenwood 1926).
    """
    if sample.complete:
        return float(sample.weights[sample.losses > amount].sum() / sample.weight), sample.effective.weight
    points, above = product_limit(sample)
    place = int(np.searchsorted(points, amount, side="right"))
    share = float(above[place - 1]) if place else 1.0
    _, dying, at_risk = (part[:place] for part in _risk_sets(sample.effective))
    if not place or share <= 0:
        return share, sample.effective.weight
    scatter = float((dying / (at_risk * np.maximum(at_risk - dying, 1e-300))).sum())
    return share, (1 - share) / (share * scatter)


def _risk_sets(sample: Sample) -> tuple[Floats, Floats, Floats]:
    """Points of loss, the weight seen at each, and the weight at risk there."""
    points, inverse = np.unique(sample.losses[~sample.censored], return_inverse=True)
    dying = np.asarray(np.bincount(inverse, sample.weights[~sample.censored], points.size), dtype=np.float64)
    total = sample.weight
    below = _weight_below(sample.losses, sample.weights, points)
    late = total - _weight_below(sample.entry, sample.weights, points)
    return np.asarray(points, dtype=np.float64), dying, np.asarray(total - below - late, dtype=np.float64)


def _weight_below(values: Floats, weights: Floats, points: Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    cumulated = np.concatenate([[0.0], np.cumsum(weights[order])])
    return np.asarray(cumulated[np.searchsorted(values[order], points, side="left")])


def _open(marks: npt.ArrayLike, n: int) -> npt.NDArray[np.bool_]:
    """Marks of open claims, one for all or one for each loss: nothing but True and False."""
    values = np.asarray(marks, dtype=object)
    wrong = [value for value in values.ravel() if not isinstance(value, bool | np.bool_)]
    if wrong or values.ndim > 1 or values.size not in (1, n):
        what = repr(wrong[0]) if wrong else f"of shape {values.shape}"
        raise DataError(f"open_claim is {what}, expected True or False, one for each of {n} losses")
    return np.broadcast_to(values.astype(bool), (n,)).copy()


def _column(X: npt.ArrayLike) -> Floats:
    if isinstance(X, np.ndarray) and X.dtype == np.float64 and X.ndim == 1 and X.size:
        return X.copy()
    try:
        values = check_array(np.asarray(X), dtype=np.float64, ensure_2d=False, ensure_all_finite=False, copy=True)
    except ValueError as error:
        raise DataError(f"losses must be real numbers, at least one: {error}") from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"losses must have shape (n,) or (n, 1), got {values.shape}")
    return np.asarray(values)


def _spread(values: npt.ArrayLike, n: int, what: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.shape not in ((), (1,), (n,)):
        raise DataError(f"{what} must be one number or one for each of the {n} losses, got shape {array.shape}")
    return np.array(np.broadcast_to(array, (n,)))


def _faults(wrong: npt.NDArray[np.bool_], values: Floats, what: str, expected: str) -> list[str]:
    rows = np.flatnonzero(wrong)
    problems = [f"row {row}: {what} is {values[row]}, expected {expected}" for row in rows[:MOST_SHOWN]]
    return problems + ([f"... and {rows.size - MOST_SHOWN} more rows"] if rows.size > MOST_SHOWN else [])
