"""How sure a number is: Monte Carlo error, what the optimiser flatters, what the length of the history leaves open."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t as student_t

from calibrate.errors import DataError, ModelError
from calibrate.history import LossHistory
from calibrate.models.resampling import Blocks, Resampling
from calibrate.precision import TailMean, tail_mean

__all__ = ["TailMean", "chain_uncertainty", "optimality_gap", "optimism_ratio", "tail_mean"]


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
    resampling: Resampling | None = None,
    confidence: float = 0.95,
    random_state: int = 0,
) -> pd.DataFrame:
    """What the length of the history, and apart from it the simulation, leave open in fit -> simulate -> optimise.

    `chain(history, seed)` gives named numbers (contributions, reserves, CVaR). It runs on the history with several
    seeds (`monte_carlo_error`, the standard deviation), and with one seed on histories of resampled periods
    (`history_error`, `lower`, `upper`: percentiles), drawn by `resampling`: `Blocks()`, single periods, if not given.
    Resampled histories that cannot be fitted are left out and counted in `failed`. Of single members with few events
    these intervals hold the truth less often than they say: what a member borrows from the pool moves little when the
    history is drawn again. Source: Efron 1979.
    """
    another = Blocks() if resampling is None else resampling
    roots = np.random.SeedSequence(random_state).spawn(replications)
    estimate = chain(history, random_state)
    again = pd.DataFrame([estimate, *(chain(history, random_state + k) for k in range(1, seeds))])
    rows = []
    for root in roots:
        try:
            rows.append(chain(another(history, np.random.default_rng(root)), random_state))
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
