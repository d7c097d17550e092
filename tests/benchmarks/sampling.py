"""Joint losses of 100 members of which nine in ten lose nothing: against the naive chain of scipy over all entries.

Run: python tests/benchmarks/sampling.py [scenarios] [threads]. Prints seconds; nothing is asserted. Two models: known
laws (a lognormal body with a Pareto tail, one loss a period) under a t copula, and a `JointLossModel` fitted to events
(compound losses, drawn and put in the order of the scores). The naive chain draws the same t scores and takes
`t.cdf`, then `ppf` of the spliced law, of every entry, on one thread, for a tenth of the scenarios, times ten.
Times are medians of five runs after one that brings the memory in; seconds of processor time are those of all threads.

Measured, 1,000,000 x 100 on two cores on which other work kept five to ten processes waiting, in three runs: naive 55
to 110 s (35 to 42 s of processor time); known laws 3.8 to 4.4 s (2.5 to 2.9), 12.6, 18.5 and 28 times faster, 12 to 17
times less processor time; JointLossModel 4.3 to 8.4 s (3.9 to 4.4), 9 to 16 times faster, 8 to 11 times less.
That was with the parameters of the JointLossModel taken as known. As they are open, and on cores with nothing else to
do, two runs: naive 34 s; known laws 1.25 s, 27 times faster; JointLossModel 2.03 and 2.14 s (3.6 and 3.7 of processor),
16 times. Before the scenarios of all models were drawn together: 4.23 and 4.14 s (6.7), 8 times.
Largest relative error of a loss: 3.0e-11.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
import pandas as pd
from scipy import stats

from calibrate.history import LossHistory
from calibrate.models import JointLossModel, dependence, severity
from calibrate.models.margins import SeverityMargins
from calibrate.models.process import ComposedMargins
from calibrate.models.sampling import draw_losses
from calibrate.scenarios import Scenarios

MEMBERS, MONTHS, ZERO, V = 100, 240, 0.9, 4.3


def history() -> LossHistory:
    rng = np.random.default_rng(0)
    counts = rng.poisson(-np.log(ZERO), (MONTHS, MEMBERS))
    t, i = np.nonzero(counts)
    row = np.repeat(np.arange(t.size), counts[t, i])
    when = pd.period_range("2000-01", periods=MONTHS, freq="M")[t[row]].to_timestamp()
    frame = pd.DataFrame({"date": when, "member": [f"M{k}" for k in i[row]], "id": range(row.size)})
    frame["loss"] = 1e4 * np.exp(rng.normal(0, 1.5, row.size))
    return LossHistory.from_events(frame, date="date", member="member", loss="loss")


def known_laws() -> tuple[ComposedMargins, np.ndarray]:
    rng = np.random.default_rng(1)
    law = severity.Spliced().fit(np.exp(rng.normal(0, 1.5, 5000)))
    scores = rng.standard_t(V, (300, MEMBERS)) + rng.standard_normal((300, 1))
    copula = dependence.StudentT(V).fit(scores)
    return ComposedMargins(SeverityMargins([law] * MEMBERS, np.full(MEMBERS, ZERO)), copula), 1e4 * rng.lognormal(
        0, 1, MEMBERS
    )


def quantiles(law: severity.Spliced, chance: np.ndarray) -> np.ndarray:
    """Losses exceeded with probability `chance`, by scipy."""
    tail, body, p, u = law.tail_, law.body_, law.exceedance_probability_, law.threshold_
    below = (1 - chance) / (1 - p) * stats.lognorm.cdf(u, body.shape_, scale=body.scale_)
    low = stats.lognorm.ppf(np.clip(below, 0, 1), body.shape_, scale=body.scale_)
    high = u + stats.genpareto.isf(np.clip(chance / p, 0, 1), tail.shape_, scale=tail.scale_)
    return np.where(chance < p, high, low)


def naive(process: ComposedMargins, exposures: np.ndarray, n: int) -> np.ndarray:
    """t scores, t.cdf, and the quantile of the law, for every entry."""
    rng, copula, v = np.random.default_rng(1), process.dependence, process.dependence.degrees_of_freedom_
    normal = rng.standard_normal((n, MEMBERS)) @ np.linalg.cholesky(copula.correlation_).T
    uniform = stats.t.cdf(normal * np.sqrt(v / rng.chisquare(v, (n, 1))), v)
    chance = np.clip((1 - uniform) / (1 - ZERO), 0, 1)
    return np.where(uniform <= ZERO, 0.0, exposures * quantiles(process.margins.laws[0], chance))


def error(process: ComposedMargins, exposures: np.ndarray, n: int = 100_000) -> tuple[float, float]:
    """Largest relative error of a drawn loss against scipy's t.sf and quantile at the same score; largest loss."""
    copula, law = process.dependence, process.margins.laws[0]
    found = copula.exceedances(n, np.full(MEMBERS, stats.t.ppf(ZERO, V)), 7)
    worst, largest = 0.0, 0.0
    for j, part in found.columns:
        exact = exposures[j] * quantiles(law, stats.t.sf(found.scores[part], V) / (1 - ZERO))
        ours = process.table(j, exposures)(found.scores[part])
        worst = max(worst, float(np.abs(ours / exact - 1).max()))
        largest = max(largest, float(ours.max()))
    return worst, largest


def seconds(run, times: int) -> tuple[float, float]:
    """Median wall time and processor time."""
    wall, busy = [], []
    for _ in range(times):
        begun, used = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - begun)
        busy.append(time.process_time() - used)
    return statistics.median(wall), statistics.median(busy)


def main(n: int, threads: int) -> None:
    process, exposures = known_laws()
    model = JointLossModel(severity=severity.Spliced(), dependence=dependence.StudentT(4.0), n_jobs=threads)
    model.fit(history())
    runs = {
        "known laws": lambda: Scenarios(draw_losses(process, n, exposures, 1, n_jobs=threads)),
        "JointLossModel": lambda: model.sample(n, 1),
    }
    part = max(n // 10, 1000)
    theirs, their_work = (value * n / part for value in seconds(lambda: naive(process, exposures, part), 3))
    print(f"naive chain, {n:,} x {MEMBERS}: {theirs:.1f} s ({their_work:.1f} s of processor time)")
    for name, run in runs.items():
        run()
        ours, work = seconds(run, 5)
        print(
            f"{name}, {threads} threads: {ours:.2f} s ({work:.2f} s of processor time): "
            f"{theirs / ours:.1f} times faster ({their_work / work:.1f} times less processor time)"
        )
    worst, largest = error(process, exposures)
    print(f"largest relative error of {0.1 * 100_000 * MEMBERS:,.0f} losses up to {largest:.3g}: {worst:.1e}")


if __name__ == "__main__":
    main(*(int(text) for text in [*sys.argv[1:], *("1000000", "2")[len(sys.argv) - 1 :]]))
