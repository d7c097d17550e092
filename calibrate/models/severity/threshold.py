"""Rules that choose the threshold above which the tail begins, and what one looks at before believing them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator

from calibrate.errors import ModelError
from calibrate.models.severity.goodness import anderson_darling, anderson_darling_p_value
from calibrate.models.severity.observation import Sample
from calibrate.models.severity.pareto_tail import exceedances, information, profile_fit

__all__ = ["DownwardThreshold", "QuantileThreshold", "SequentialThreshold", "ThresholdRule", "threshold_table"]

Floats = npt.NDArray[np.float64]
FEWEST = 30  # excesses at a candidate; the p-values hold from about 25
CANDIDATES = 20


class ThresholdRule(BaseEstimator):  # type: ignore[misc]
    """Chooses a threshold from a sample, in the unit of the losses."""

    @abstractmethod
    def choose(self, sample: Sample) -> float:
        """The threshold: losses strictly above it make the tail."""


class QuantileThreshold(ThresholdRule):
    """The loss at a quantile: the `level` order statistic, so that a share `1 - level` of the weight lies above.

    >>> from calibrate.models.severity.generalized_pareto import GeneralizedPareto
    >>> x = np.arange(1.0, 101.0)
    >>> GeneralizedPareto(QuantileThreshold(0.8)).fit(x).threshold_
    80.0
    """

    def __init__(self, level: float = 0.9) -> None:
        self.level = level

    def choose(self, sample: Sample) -> float:
        """The smallest loss with at least `level` of the weight at or below it."""
        if not 0 < self.level < 1:
            raise ModelError(f"QuantileThreshold: level must lie strictly between 0 and 1, got {self.level}")
        order = np.argsort(sample.losses, kind="stable")
        cumulated = np.cumsum(sample.weights[order]) / sample.weight
        place = int(np.searchsorted(cumulated, self.level * (1 - 1e-12)))
        return float(sample.losses[order][min(place, order.size - 1)])


class SequentialThreshold(ThresholdRule):
    """The lowest threshold at which the tail is no longer rejected, corrected for asking many times.

    At candidates `u_1 < ... < u_l` the excesses are tested for being generalized Pareto (Anderson-Darling, p-values
    `p_i`). ForwardStop rejects the first `k = max {k : -(1/k) sum_{i <= k} log(1 - p_i) <= significance}`, which
    keeps the false discovery rate below `significance`; the answer is `u_(k+1)`.
    Source: Bader, Yan and Zhang 2018, Annals of Applied Statistics 12(1); G'Sell et al. 2016.

    Parameters
    ----------
    significance : false discovery rate.
    thresholds : candidates in money; if not given, 20 quantiles from the median up, each with 30 excesses or more.

    Complete, unweighted losses only: the p-values hold for nothing else. Many good low candidates can outweigh a
    rejected one above them: look at `threshold_table` before you believe it.

    >>> x = (1 - (np.arange(400) + 0.5) / 400) ** -0.5
    >>> round(SequentialThreshold().choose(Sample.of(x, None, None)), 3)
    1.412
    """

    def __init__(self, significance: float = 0.05, thresholds: Sequence[float] | None = None) -> None:
        self.significance = significance
        self.thresholds = thresholds

    def choose(self, sample: Sample) -> float:
        """The threshold; ModelError if every candidate is rejected or there are too few losses to test."""
        candidates, p_values = _p_values(sample, self.thresholds, self.significance)
        return _first_kept(candidates, p_values, forward_stop(p_values, self.significance))


class DownwardThreshold(ThresholdRule):
    """The lowest threshold from which on, going up, the tail is never rejected: more careful, with fewer exceedances.

    Coming down from the highest candidate, the last one before a p-value (Anderson-Darling) below `significance`.
    Each test stands alone, so that with 20 candidates one is rejected by chance more often than `significance` says;
    the error is on the side of a higher threshold. Source: Bader, Yan and Zhang 2018 ("raw down").

    Parameters and requirements as for `SequentialThreshold`.

    >>> x = (1 - (np.arange(400) + 0.5) / 400) ** -0.5
    >>> round(DownwardThreshold().choose(Sample.of(x, None, None)), 3)
    1.412
    """

    def __init__(self, significance: float = 0.05, thresholds: Sequence[float] | None = None) -> None:
        self.significance = significance
        self.thresholds = thresholds

    def choose(self, sample: Sample) -> float:
        """The threshold; ModelError if the highest candidate is rejected or there are too few losses to test."""
        candidates, p_values = _p_values(sample, self.thresholds, self.significance)
        low = np.flatnonzero(p_values < self.significance)
        return _first_kept(candidates, p_values, int(low[-1]) + 1 if low.size else 0)


def _p_values(sample: Sample, thresholds: Sequence[float] | None, significance: float) -> tuple[Floats, Floats]:
    """Candidates and the p-value of the tail above each."""
    if not 0 < significance < 1:
        raise ModelError(f"the significance of a threshold rule must lie in (0, 1), got {significance}")
    if not sample.complete or np.ptp(sample.weights) > 0:
        raise ModelError(
            "a threshold can be tested on complete, equally weighted losses only (no deductible, limit, open claims or "
            "weights); name a threshold, or use QuantileThreshold"
        )
    candidates = _candidates(sample, thresholds)
    return candidates, np.array([_tested(exceedances(sample, float(u)))[3] for u in candidates])


def _first_kept(candidates: Floats, p_values: Floats, rejected: int) -> float:
    if rejected == candidates.size:
        raise ModelError(
            f"a generalized Pareto tail is rejected up to the highest of {candidates.size} candidates, "
            f"{candidates[-1]:g} (p-value {p_values[-1]:.3g}); look at threshold_table, at ties and limits, "
            "or use Empirical"
        )
    return float(candidates[rejected])


def forward_stop(p_values: Floats, significance: float) -> int:
    """How many hypotheses, from the first on, ForwardStop rejects."""
    with np.errstate(divide="ignore"):
        means = np.cumsum(-np.log1p(-np.asarray(p_values))) / np.arange(1, len(p_values) + 1)
    passed = np.flatnonzero(means <= significance)
    return int(passed[-1]) + 1 if passed.size else 0


def threshold_table(
    X: npt.ArrayLike, thresholds: Sequence[float] | None = None, sample_weight: npt.ArrayLike | None = None
) -> pd.DataFrame:
    """What a mean-excess plot and a stability plot show, one candidate threshold a row, in the unit of the losses.

    Columns: `exceedances`; `mean_excess` (linear in the threshold for a generalized Pareto tail) and its
    `mean_excess_error`; `shape`, `shape_error`, `scale`; `modified_scale = scale - shape * threshold` (shape and
    modified scale are constant above a good threshold); `p_value` (Anderson-Darling; NaN with unequal weights).
    Source: Davison and Smith 1990; Coles 2001, section 4.3.

    >>> threshold_table((1 - (np.arange(400) + 0.5) / 400) ** -0.5, [1.5, 2.0])["exceedances"].tolist()
    [178, 100]
    """
    sample = Sample.of(X, sample_weight, None)
    rows = []
    for u in _candidates(sample, thresholds):
        tail = exceedances(sample, float(u))
        mean = float(np.average(tail.losses, weights=tail.weights))
        spread = float(np.average((tail.losses - mean) ** 2, weights=tail.weights))
        shape, scale, error, p_value = _tested(tail)
        weighted = np.ptp(tail.weights) > 0
        rows.append(
            {
                "threshold": float(u),
                "exceedances": tail.losses.size,
                "mean_excess": mean,
                "mean_excess_error": float(np.sqrt(spread / tail.weight)),
                "shape": shape,
                "shape_error": error,
                "scale": scale,
                "modified_scale": scale - shape * u,
                "p_value": np.nan if weighted else p_value,
            }
        )
    return pd.DataFrame(rows).set_index("threshold")


def _tested(tail: Sample) -> tuple[float, float, float, float]:
    """Shape, scale, standard error of the shape (NaN below -1/2) and p-value."""
    shape, scale, _ = profile_fit(tail)
    p_value = anderson_darling_p_value(anderson_darling(tail.losses, shape, scale), shape)
    if shape <= -0.5:
        return shape, scale, np.nan, p_value
    return shape, scale, float(np.sqrt(np.linalg.inv(information(tail, shape, scale))[0, 0])), p_value


def _candidates(sample: Sample, thresholds: Sequence[float] | None) -> Floats:
    ordered = np.sort(sample.losses)
    if thresholds is None:
        places = np.linspace(ordered.size // 2, ordered.size - FEWEST, CANDIDATES).astype(int)
        found = (
            np.unique(ordered[places[places >= ordered.size // 2] - 1]) if ordered.size >= 2 * FEWEST else ordered[:0]
        )
    else:
        found = np.unique(np.asarray(thresholds, dtype=np.float64))
    above = ordered.size - np.searchsorted(ordered, found, side="right")
    few = FEWEST if thresholds is None else 10
    found = found[above >= few]
    if not found.size or ordered[-1] == ordered[0]:
        raise ModelError(
            f"no threshold can be tested: {ordered.size} losses between {ordered[0]:g} and {ordered[-1]:g}, and at "
            f"least {few} must exceed a candidate; name a threshold, or use QuantileThreshold"
        )
    return found
