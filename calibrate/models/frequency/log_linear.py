"""Frequencies that covariates explain: a regression with log link and exposure as its offset."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.optimize import fsolve
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import DataError, ModelError
from calibrate.intake.periods import entries_of, panel_periods
from calibrate.models.arrays import Floats, broadcast
from calibrate.models.frequency.base import Frequency
from calibrate.models.frequency.model import Open, Order, counted
from calibrate.models.frequency.negative_binomial import NegativeBinomial
from calibrate.models.frequency.reexposed import Reexposed

__all__ = ["LogLinear"]

SCORINGS = 8  # steps of Fisher scoring, before the last digits
FARTHEST = 12.0  # what one standard deviation of a covariate may add to the logarithm of the mean


class LogLinear(Reexposed, Open):
    """`log E N[t, j] = log rate[j] + log E[t, j] + sum_q c[q] x[t, q]`, Poisson or negative binomial (`base`).

    The coefficients solve `sum w x (N - m G) = 0`, `G` the shocks (`Frequency.residuals`), together with the rates and
    the size of `base`; rates borrow strength as there. With one column it is the generalized linear model of
    statsmodels. Forecasts are at the covariates of the period ahead. Source: McCullagh and Nelder 1989; Cameron and
    Trivedi 2013, 3.3.

    Parameters
    ----------
    covariates : table (periods, covariates), or array (periods, columns, covariates) where they differ by member. A
        frame or Series labelled by periods, years or dates is put in the order of a history's periods, or of the
        labels of the counts, as prices are (`LossHistory.at_prices`), and may hold others. Rows without labels are one
        for each period, and one for the period ahead; if that is missing, the last stands for it. Histories whose
        periods were drawn again do not fit them.
    base : frequency estimator; `NegativeBinomial()` if not given.

    Fitted: `coefficients_`, `standard_errors_` (Series; expected information, at the fitted size), `gain_` (of
    `evidence_` over `base` alone), `base_`, and what it knows. ModelError names a covariate that decides alone
    whether there are losses.

    >>> volatility = np.tile([0.0, 1.0], 20)
    >>> counts = np.where(volatility > 0, 6.0, 2.0) + np.tile([0.0, 0.0, 1.0, 1.0, -1.0, -1.0, 0.0, 0.0], 5)
    >>> model = LogLinear(covariates=pd.DataFrame({"volatility": volatility})).fit(counts)
    >>> model.coefficients_.round(3).to_dict()
    {'volatility': 1.099}
    """

    coefficients_: pd.Series[float]
    standard_errors_: pd.Series[float]
    gain_: float

    def __init__(self, covariates: Any = None, base: Frequency | None = None) -> None:
        self.covariates = covariates
        self.base = base

    def fit(self, X: Any, y: object = None, sample_weight: Any = None, *, exposure: Any = None) -> Self:
        """Fit to counts `X` (periods, columns) or (periods,); `y` is ignored. Errors as of `base`."""
        counts, exposures, weights = counted(self, X, sample_weight, exposure)
        names, values, ahead = self._covariates(X, counts)
        family = NegativeBinomial() if self.base is None else self.base
        centre = values.mean(axis=(0, 1))
        spread = np.where(values.std(axis=(0, 1)) > 0, values.std(axis=(0, 1)), 1.0)
        x = (values - centre) / spread

        def fitted(coefficients: Floats) -> Frequency:
            model: Frequency = clone(family)
            return model.fit(counts, None, weights, exposure=exposures * np.exp(x @ coefficients))

        def score(coefficients: Floats) -> Floats:
            model = fitted(np.clip(coefficients, -FARTHEST, FARTHEST))
            return np.asarray(np.einsum("t,tj,tjq->q", weights, model.residuals(counts), x), dtype=np.float64)

        start = np.zeros(len(names))
        for _ in range(SCORINGS):
            step = _covariance(fitted(start), x, weights) @ score(start)
            start = start + step / max(1.0, float(np.abs(step).max(initial=0.0)))
        found = _solved(score, start, names, float(weights @ counts.sum(axis=1)))
        plain, self.base_ = fitted(np.zeros(len(names))), fitted(found)
        self.gain_ = max(0.0, self.base_.evidence_ - plain.evidence_)
        self.coefficients_ = pd.Series(found / spread, index=names, name="coefficient")
        errors = np.sqrt(np.diag(_covariance(self.base_, x, weights))) / spread
        self.standard_errors_ = pd.Series(errors, index=names, name="standard error")
        self._factor = np.exp((ahead - centre) / spread @ found)
        return self

    def _covariates(self, X: Any, counts: Floats) -> tuple[pd.Index[Any], Floats, Floats]:
        """Names; values of the periods (periods, columns, covariates); of the period ahead (columns, covariates)."""
        periods, columns = counts.shape
        table = np.zeros((periods, 0)) if self.covariates is None else _by_period(self.covariates, X)
        given = np.asarray(table, dtype=np.float64)
        if given.ndim == 2:
            given = np.repeat(given[:, None, :], columns, axis=1)
        if given.ndim != 3 or given.shape[1] != columns or not periods <= len(given) <= periods + 1:
            raise DataError(
                f"covariates have shape {np.shape(self.covariates)}, expected a row for each of {periods} periods, and "
                f"perhaps one for the period ahead: ({periods} or {periods + 1}, covariates), or "
                f"({periods} or {periods + 1}, {columns}, covariates); or label them, and the counts, by period"
            )
        numbered = pd.DataFrame(index=range(len(given)), columns=pd.RangeIndex(given.shape[2], name="covariate"))
        frame = table if isinstance(table, pd.DataFrame) else numbered
        if not np.isfinite(given).all():
            row, column, place = np.argwhere(~np.isfinite(given))[0]
            raise DataError(
                f"covariates: row {frame.index[row]}, column {column}, covariate {place} is no finite number"
            )
        return frame.columns, given[:periods], given[min(periods, len(given) - 1)]

    @property
    def order(self) -> Order:
        """When each period was: covariates belong to places."""
        return Order.PLACES

    def _ahead(self, exposure: Any) -> Floats:
        check_is_fitted(self)
        return np.asarray(broadcast(exposure, self.n_features_in_) * self._factor)


def _by_period(covariates: Any, X: Any) -> Any:
    """Covariates of the periods of the counts, and of the one ahead if it is there; as given where labels lack."""
    table = covariates.to_frame() if isinstance(covariates, pd.Series) else covariates
    if not (_labelled(table) and _labelled(X)):
        return table
    own, wanted = _periods(table, "covariates"), _periods(X, "counts")
    try:
        numbers = pd.DataFrame(np.asarray(table, dtype=np.float64), columns=table.columns)
    except (TypeError, ValueError) as error:
        raise DataError(f"covariates must be numbers: {error}") from None
    ahead = wanted.max() + 1
    every = pd.PeriodIndex([*wanted, ahead]) if own.max().end_time > ahead.start_time else wanted
    entries, held = entries_of(numbers, own, every, "covariates")
    return entries.loc[held].set_axis(every)


def _labelled(table: Any) -> bool:
    """Whether rows have labels, and not only their numbers from 0 on."""
    return isinstance(table, pd.DataFrame | pd.Series) and not table.index.equals(pd.RangeIndex(len(table)))


def _periods(table: pd.DataFrame | pd.Series[Any], what: str) -> pd.PeriodIndex:
    problems: list[str] = []
    found = panel_periods(table.index, problems)
    if found is None or not len(found):
        raise DataError([f"{what}: {problem}" for problem in problems] or f"{what} have no rows")
    return found


def _solved(score: Callable[[Floats], Floats], start: Floats, names: pd.Index[Any], total: float) -> Floats:
    """Root of the score; ModelError for a covariate without one."""
    if not len(names):
        return np.zeros(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what was found is examined below
        found = np.asarray(fsolve(score, start, xtol=1e-13, maxfev=400 * (len(names) + 1)), dtype=np.float64)
    if (np.abs(found) >= FARTHEST).any() or float(np.abs(score(found)).max()) > 1e-7 * total:
        worst = names[int(np.argmax(np.abs(found)))]
        raise ModelError(
            f"covariate {worst!r}: no finite coefficient fits; it, or a sum of covariates, decides alone whether there "
            "are losses, or says the same as others; leave it out, or lengthen the history"
        )
    return found


def _covariance(model: Frequency, x: Floats, weights: Floats) -> Floats:
    """Of the coefficients, from the expected information, the columns' rates estimated as well."""
    k, m, w = model.size_, model.means_, weights[:, None]
    own = w * m / (1 if model.shared or math.isinf(k) else 1 + m / k)
    rates, mixed = np.diag(own.sum(axis=0)), np.einsum("tj,tjq->jq", own, x)
    coefficients = np.einsum("tj,tjq,tjp->qp", own, x, x)
    if model.shared and math.isfinite(k):  # the shock is not known: what it may explain does not tell
        less, sums = w / (k + m.sum(axis=1, keepdims=True)), np.einsum("tj,tjq->tq", m, x)
        rates -= (less * m).T @ m
        mixed -= (less * m).T @ sums
        coefficients -= (less * sums).T @ sums
    information = coefficients - mixed.T @ np.linalg.pinv(rates, hermitian=True) @ mixed
    return np.asarray(np.linalg.pinv(information, hermitian=True), dtype=np.float64)
