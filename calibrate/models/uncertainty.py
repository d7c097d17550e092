"""How sure a number is: Monte Carlo error, what the optimiser flatters, what the length of the history leaves open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri
from scipy.stats import t as student_t

from calibrate.errors import DataError, ModelError
from calibrate.history import LossHistory
from calibrate.models.severity.observation import Sample
from calibrate.models.severity.pareto_tail import profile_fit

__all__ = ["TailMean", "chain_uncertainty", "optimality_gap", "optimism_ratio", "resampled", "tail_mean"]

Floats = npt.NDArray[np.float64]
FEWEST_TAIL, HEAVIEST = 100, 0.4  # tail observations and tail index up to which the interval holds what it promises


@dataclass(frozen=True)
class TailMean:
    """CVaR of a sample with its Monte Carlo interval, or the reason why there is none (`label`; limits NaN).

    `tail_observations` is the effective number beyond the VaR, `shape` the tail index of those beyond (NaN if too few).
    """

    estimate: float
    standard_error: float
    lower: float
    upper: float
    confidence: float
    var: float
    tail_observations: float
    shape: float
    label: str

    @property
    def reliable(self) -> bool:
        """True if the interval holds what it promises."""
        return not self.label


def tail_mean(
    losses: npt.ArrayLike, level: float, probabilities: npt.ArrayLike | None = None, confidence: float = 0.95
) -> TailMean:
    """CVaR of simulated losses, any probabilities, and how far it may be from that of the law they were drawn from.

    `CVaR = VaR + e`, `e = sum p (L - VaR)+ / (1 - level)`, `se^2 = sum p^2 ((L - VaR)+ / (1 - level) - e)^2`; the
    interval is `VaR + e exp(+-z se / e)`, longer upwards. In 1,000 trials a law it covered 93 to 96 %, from 1,000 tail
    observations on and a tail index up to 0.4 (tail exponent 2.5). Refused below 100, labelled where tails are heavier.
    Source: Rockafellar and Uryasev 2002; Trindade et al. 2007.

    >>> estimate = tail_mean(np.random.default_rng(0).exponential(1.0, 100_000), 0.99)
    >>> bool(estimate.lower < 1 + np.log(100) < estimate.upper), estimate.label
    (True, '')
    """
    x, p = _weighted(losses, probabilities)
    if not (0 < level < 1 and 0 < confidence < 1):
        raise ModelError(f"level and confidence must lie strictly between 0 and 1, got {level} and {confidence}")
    order = np.argsort(x, kind="stable")
    place = int(np.searchsorted(np.cumsum(p[order]), level * (1 - 1e-12)))
    var = float(x[order[min(place, x.size - 1)]])
    excess = np.clip(x - var, 0.0, None) / (1.0 - level)
    e = float(p @ excess)
    error = math.sqrt(float(p**2 @ (excess - e) ** 2))
    beyond = p * (x > var)
    effective = float(beyond.sum() ** 2 / (beyond @ beyond)) if beyond.any() else 0.0
    shape = _tail_index(x[x > var] - var, p[x > var])
    label = _label(effective, shape)
    if effective < FEWEST_TAIL or e == 0:
        lower = upper = math.nan
    else:
        factor = math.exp(float(ndtri(0.5 + confidence / 2)) * error / e)
        lower, upper = var + e / factor, var + e * factor
    return TailMean(var + e, error, lower, upper, confidence, var, effective, shape, label)


def optimism_ratio(in_sample: float, out_of_sample: TailMean) -> pd.Series[float]:
    """By what factor the CVaR on the scenarios that chose the plan is too low: fresh over in-sample, with limits.

    >>> fresh = tail_mean(np.random.default_rng(0).exponential(1.0, 100_000), 0.99)
    >>> bool(optimism_ratio(5.0, fresh)["ratio"] > 1.1)
    True
    """
    if not (math.isfinite(in_sample) and in_sample > 0):
        raise ModelError(f"the in-sample CVaR must be a finite amount > 0, got {in_sample}")
    found = (out_of_sample.estimate, out_of_sample.lower, out_of_sample.upper)
    return pd.Series([value / in_sample for value in found], index=["ratio", "lower", "upper"], name="optimism")


def optimality_gap(
    plan_values: npt.ArrayLike, best_values: npt.ArrayLike, confidence: float = 0.95
) -> tuple[float, float]:
    """How far a plan is from the best plan under the true law: estimate and one-sided upper limit.

    For each of several independent batches of scenarios: the plan's objective on it, and the optimum on it. The mean of
    the differences is an upper estimate of the gap; the limit is `mean + t s / sqrt(batches)`.
    Source: Mak, Morton and Wood 1999, Operations Research Letters 24.

    >>> optimality_gap([10.1, 10.3, 10.2], [10.0, 10.1, 10.1])[0].__round__(3)
    0.133
    """
    plan, best = np.asarray(plan_values, dtype=np.float64), np.asarray(best_values, dtype=np.float64)
    if plan.shape != best.shape or plan.ndim != 1 or plan.size < 2:
        raise ModelError(
            f"the gap needs the same two or more batches for both, got shapes {plan.shape} and {best.shape}"
        )
    gaps = plan - best
    if (gaps < -1e-6 * np.abs(best)).any():
        worst = int(np.argmin(gaps))
        raise ModelError(
            f"batch {worst}: the plan ({plan[worst]:g}) beats the optimum ({best[worst]:g}) on the same scenarios"
        )
    reach = float(student_t.ppf(confidence, gaps.size - 1)) * float(gaps.std(ddof=1)) / math.sqrt(gaps.size)
    return float(gaps.mean()), float(gaps.mean()) + reach


def chain_uncertainty(
    history: LossHistory,
    chain: Callable[[LossHistory, int], pd.Series[float]],
    *,
    replications: int = 100,
    seeds: int = 10,
    block: int = 1,
    confidence: float = 0.95,
    random_state: int = 0,
) -> pd.DataFrame:
    """What the length of the history, and apart from it the simulation, leave open in fit -> simulate -> optimise.

    `chain(history, seed)` gives named numbers (contributions, reserves, CVaR). It runs on the history with several
    seeds (`monte_carlo_error`, the standard deviation), and with one seed on histories of resampled periods
    (`history_error`, `lower`, `upper`: percentiles). `block` consecutive periods are drawn together, for clusters and
    dependence in time. Resampled histories that cannot be fitted are left out and counted in `failed`.
    Source: Efron 1979; Kuensch 1989 (blocks).
    """
    roots = np.random.SeedSequence(random_state).spawn(replications)
    estimate = chain(history, random_state)
    again = pd.DataFrame([estimate, *(chain(history, random_state + k) for k in range(1, seeds))])
    rows = []
    for root in roots:
        try:
            rows.append(chain(resampled(history, np.random.default_rng(root), block), random_state))
        except (ModelError, DataError):
            continue
    if len(rows) < 0.5 * replications:
        raise ModelError(
            f"only {len(rows)} of {replications} resampled histories could be fitted: {len(history.periods)} periods "
            "with these losses do not determine the model; choose a simpler one, or borrow from a larger segment"
        )
    replicates = pd.DataFrame(rows)
    tail = 0.5 * (1 - confidence)
    columns = {
        "estimate": estimate,
        "history_error": replicates.std(),
        "lower": replicates.quantile(tail),
        "upper": replicates.quantile(1 - tail),
        "monte_carlo_error": again.std() if seeds > 1 else np.nan,
        "failed": replications - len(rows),
    }
    return pd.DataFrame(columns, index=estimate.index)


def resampled(history: LossHistory, generator: np.random.Generator, block: int = 1) -> LossHistory:
    """A history of as many periods, drawn with replacement in blocks of neighbours, events and exposures with them.

    The last period stays what it is: forecasts start from its exposures.
    """
    n = len(history.periods)
    if not 1 <= block <= n:
        raise ModelError(f"a block must have between 1 and {n} periods, got {block}")
    starts = generator.integers(0, n, -(-n // block))
    source = np.concatenate([(start + np.arange(block)) % n for start in starts])[:n]
    source[-1] = n - 1
    exposures = None if history.exposures is None else _moved(history.exposures, source)
    events = None if history.events is None else _moved_events(history.events, history.periods, source)
    return LossHistory(_moved(history.losses, source), exposures, events, history.currency)


def _moved(table: pd.DataFrame, source: npt.NDArray[np.intp]) -> pd.DataFrame:
    """Rows of the source periods under the labels of the original ones, columns (member, segment)."""
    moved: pd.DataFrame = table.iloc[source].set_axis(table.index, axis=0)
    if moved.columns.nlevels == 1:
        moved.columns = pd.MultiIndex.from_product([moved.columns, ["all"]], names=["member", "segment"])
    return moved


def _moved_events(events: pd.DataFrame, periods: pd.PeriodIndex, source: npt.NDArray[np.intp]) -> pd.DataFrame:
    """Events of each source period, as far into the new period as they were into the old one (or on its last day)."""
    place = periods.get_indexer(pd.PeriodIndex(events["date"].dt.tz_localize(None), freq=periods.freqstr))
    pieces = []
    for new, old in enumerate(source):
        piece = events[place == old].copy()
        begin, end = periods[new].start_time.tz_localize("UTC"), periods[new].end_time.tz_localize("UTC")
        dates = begin + (piece["date"] - periods[old].start_time.tz_localize("UTC"))
        piece["date"] = dates.where(dates <= end, end.normalize())
        pieces.append(piece)
    moved: pd.DataFrame = pd.concat(pieces)
    return moved.sort_values("date", kind="stable").reset_index(drop=True)


def _weighted(losses: npt.ArrayLike, probabilities: npt.ArrayLike | None) -> tuple[Floats, Floats]:
    x = np.asarray(losses, dtype=np.float64)
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise DataError(f"losses must be a row of finite numbers, at least one, got shape {x.shape}")
    p = np.full(x.size, 1 / x.size) if probabilities is None else np.asarray(probabilities, dtype=np.float64)
    if p.shape != x.shape or not (np.isfinite(p) & (p >= 0)).all() or not p.any():
        raise DataError("probabilities must be finite, >= 0, one for each loss, and not all zero")
    return x, p / p.sum()


def _tail_index(excesses: Floats, weights: Floats) -> float:
    if excesses.size < FEWEST_TAIL or excesses.max() <= excesses.min():
        return math.nan
    kept = weights > 0
    sample = Sample(excesses[kept], weights[kept], np.zeros(int(kept.sum())), np.zeros(int(kept.sum()), dtype=bool))
    return profile_fit(sample)[0]


def _label(effective: float, shape: float) -> str:
    if effective < FEWEST_TAIL:
        return f"no interval: {effective:.0f} effective tail observations, fewer than {FEWEST_TAIL}; simulate more"
    if shape >= 1:
        return f"the mean of the tail may not exist (tail index {shape:.2f}): cap the losses, or do not use this number"
    if shape > HEAVIEST:
        return f"heavy tail (tail index {shape:.2f} > {HEAVIEST}): the interval covers less often than it says"
    return ""
