"""Frequencies that wander: is the count of the period ahead as likely as it should be? Known truths, and US banks.

Run: python tests/benchmarks/quiet_spells.py

Mean log score (larger is better) of the count of the period ahead, of 100 histories each: `SharedShock` (every period
anew), and `Drifting` (an intensity that remembers). The intensity is constant; drawn anew (gamma, size 1.5); in `waves`
(lognormal, autocorrelation .9); in spells, quiet (4 % of the mean) or busy (196 %), which last with probability .85
(`quiet`); or a random walk of .3 a period. Banks: failures of 1991 to 2022 in the United States, the RTC's left out;
from 1999 on each period is forecast from those before.

Measured, in brackets with an intensity that remembers and has no way back (gamma-beta filter, as it was):

    truth     periods  rate  SharedShock  Drifting          standard error of what Drifting gains over SharedShock
    constant  12       8     -2.579       -2.570 (-2.571)   .026
    constant  30       8     -2.444       -2.465 (-2.450)   .010
    constant  120      1.5   -1.554       -1.562 (-1.568)   .005
    anew      12       8     -3.145       -3.191 (-3.614)   .024
    anew      30       8     -3.273       -3.278 (-3.692)   .019
    anew      120      1.5   -1.586       -1.592 (-1.665)   .008
    waves     12       8     -3.286       -2.889 (-2.872)   .072
    waves     30       8     -3.215       -2.942 (-3.047)   .079
    waves     120      1.5   -1.643       -1.470 (-1.480)   .050
    quiet     12       8     -3.556       -2.973 (-3.377)   .290
    quiet     30       8     -2.910       -2.655 (-3.015)   .093
    quiet     120      1.5   -1.706       -1.568 (-1.826)   .049
    walk      12       8     -3.073       -2.852 (-2.846)   .079
    walk      30       8     -4.060       -3.379 (-3.401)   .102
    walk      120      1.5   -2.542       -1.939 (-1.961)   .102
    banks     24 years       -3.921       -3.476 (-4.035)
    banks     96 quarters    -2.608       -1.885 (-1.978)

To the five years without a failure `SharedShock` gives a chance of .11 to .16, `Drifting` of .16 to .38. Without a way
back it was .97 after one such year; and .0017 for any failure in 2007, when there were three.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from calibrate.models.frequency import Drifting, SharedShock

Floats = npt.NDArray[np.float64]
FAILURES = Path(__file__).parents[3] / "shared/data/fdic/failures_1991_2022.csv"
HISTORIES = 100


def intensity(kind: str, rng: np.random.Generator, n: int) -> Floats:
    """Of `n` periods, of mean 1 but for the walk."""
    if kind == "constant":
        return np.ones(n)
    if kind == "anew":
        return rng.gamma(1.5, 1 / 1.5, n)
    if kind == "walk":
        return np.asarray(np.exp(0.3 * np.cumsum(rng.normal(size=n))))
    if kind == "waves":
        z = [rng.normal()]
        for _ in range(n - 1):
            z.append(0.9 * z[-1] + np.sqrt(1 - 0.9**2) * rng.normal())
        return np.asarray(np.exp(0.9 * np.array(z) - 0.9**2 / 2))
    busy = [rng.random() < 0.5]
    for _ in range(n - 1):
        busy.append(busy[-1] if rng.random() < 0.85 else not busy[-1])
    return np.where(busy, 1.96, 0.04)


def scores(counts: Floats) -> list[float]:
    """Log probability of the last count, as each model has it from those before."""
    found = []
    for family in (SharedShock(), Drifting()):
        model = family.fit(counts[:-1])
        mean, k = float(model.mean()[0]), model.size_
        law = stats.nbinom(k, k / (k + mean)) if np.isfinite(k) else stats.poisson(mean)
        found.append(float(law.logpmf(counts[-1])))
    return found


def banks(period: str) -> Floats:
    """Failures that cost the fund something, by period."""
    frame = pd.read_csv(FAILURES)
    frame = frame[(frame["SAVR"] != "RTC") & (frame["COST"] > 0)]
    found = pd.to_datetime(frame["FAILDATE"]).dt.to_period(period).value_counts()
    index = pd.period_range("1991", "2022-12-31", freq=period)
    return found.reindex(index, fill_value=0).to_numpy(dtype=np.float64)


def main() -> None:
    for kind in ("constant", "anew", "waves", "quiet", "walk"):
        for periods, rate in ((12, 8.0), (30, 8.0), (120, 1.5)):
            rows = []
            for seed in range(HISTORIES):
                rng = np.random.default_rng([seed, periods])
                counts = rng.poisson(rate * intensity(kind, rng, periods + 1)).astype(np.float64)
                if counts[:-1].any():
                    rows.append(scores(counts))
            table = np.array(rows)
            error = np.diff(table, axis=1).std() / np.sqrt(len(table))
            print(f"{kind:9} {periods:4} {rate}", table.mean(axis=0).round(3), f"{error:.3f}", flush=True)
    if FAILURES.is_file():
        for period, first in (("Y", 8), ("Q", 32)):
            counts = banks(period)
            table = np.array([scores(counts[: t + 1]) for t in range(first, len(counts))])
            print("banks", len(table), period, table.mean(axis=0).round(3))


if __name__ == "__main__":
    main()
