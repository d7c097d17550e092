"""Is the year after inside the interval as often as it says, of pools of events? Known truths.

Run: python tests/benchmarks/event_years.py

Five members of unlike exposures and rates, `rate` events a year each in the mean, at a gamma shock of size `k` that all
share (none: Poisson); lognormal losses of deviation 1. Share of 4,000 true years after inside the 90 % interval of
`JointLossModel`, beyond its upper end, and beyond its 99 % quantile; means of 60 pools.

Measured:

    years  rate  k     inside  above  far
    6      3     none  .853    .065   .013
    6      3     4     .799    .089   .027
    6      10    2     .769    .111   .047
    12     3     none  .863    .072   .015
    12     3     4     .844    .082   .021
    12     10    2     .834    .082   .026

Rates, shocks and sizes are taken as known, and with few years that shows: `flags_` says so.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate import JointLossModel, LossHistory

Floats = npt.NDArray[np.float64]
MEMBERS, POOLS, TRUE = 5, 60, 4000


def pool(rng: np.random.Generator, years: int, rate: float, k: float) -> tuple[LossHistory, Floats]:
    """A history, and the pool's losses in years after it."""
    exposures = np.exp(rng.normal(0, 0.5, MEMBERS))
    exposures /= exposures.mean()
    means = rate * exposures * np.exp(rng.normal(0, 0.3, MEMBERS))

    def counted(n: int) -> npt.NDArray[np.int64]:
        shocks = np.ones(n) if math.isinf(k) else rng.gamma(k, 1 / k, n)
        return rng.poisson(shocks[:, None] * means)

    counts = counted(years)
    year, member = np.nonzero(counts)
    repeated = counts[year, member]
    frame = pd.DataFrame({"date": pd.to_datetime([f"{2000 + t}-06-15" for t in np.repeat(year, repeated)])})
    frame["member"] = [f"member {i}" for i in np.repeat(member, repeated)]
    frame["loss"], frame["id"] = np.exp(rng.normal(size=len(frame))), range(len(frame))
    history = LossHistory.from_events(
        frame,
        date="date",
        member="member",
        loss="loss",
        period="Y",
        start="2000",
        end=str(1999 + years),
        exposures={f"member {i}": exposures[i] for i in range(MEMBERS)},
        confirm_unit_jumps=list(frame["member"].unique()),
    )
    after = counted(TRUE).sum(axis=1)
    losses = np.exp(rng.normal(size=after.sum()))
    return history, np.bincount(np.repeat(np.arange(TRUE), after), losses, TRUE)


def main() -> None:
    for years in (6, 12):
        for rate, k in ((3.0, math.inf), (3.0, 4.0), (10.0, 2.0)):
            rows = []
            for seed in range(POOLS):
                history, true = pool(np.random.default_rng([1, seed]), years, rate, k)
                drawn = JointLossModel(n_jobs=1).fit(history).sample(4000, seed).losses.sum(axis=1)
                low, high, far = np.quantile(drawn, [0.05, 0.95, 0.99])
                rows.append([((low <= true) & (true <= high)).mean(), (true > high).mean(), (true > far).mean()])
            print(years, rate, k, np.mean(rows, axis=0).round(3), flush=True)


if __name__ == "__main__":
    main()
