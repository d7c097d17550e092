"""Is the year after inside the interval as often as it says, of pools of events? Known truths.

Run: python tests/benchmarks/event_years.py [few] [long] [other] [alike] [growing]

Members of unlike exposures and rates, `rate` events a period each in the mean, at a gamma shock of size `k` that all
share (none: Poisson). Share of 4,000 true periods after inside the 90 % interval of `JointLossModel`, beyond its upper
end, and beyond its 99 % quantile; means of 60 pools, less those that are refused for a tail without a mean.

Measured; in brackets, from an earlier state, with rates, shocks, the choice of their family and sizes taken as known:

    few: five members, lognormal losses of deviation 1
    years  rate  k     inside       above        far          standard error of inside
    6      3     none  .915 (.853)  .042 (.065)  .006 (.013)  .006
    6      3     4     .890 (.799)  .056 (.089)  .013 (.027)  .014
    6      10    2     .897 (.769)  .061 (.111)  .010 (.047)  .012
    12     3     none  .895 (.863)  .059 (.072)  .011 (.015)  .006
    12     3     4     .899 (.844)  .056 (.082)  .011 (.021)  .010
    12     10    2     .901 (.834)  .053 (.082)  .010 (.026)  .009

    long: the same pools
    60     3     none  .901 (.897)  .048 (.049)  .009 (.009)  .002
    60     3     4     .907 (.895)  .048 (.052)  .009 (.011)  .003
    60     10    2     .907 (.896)  .049 (.053)  .009 (.011)  .003
    120    3     none  .900 (.898)  .050 (.049)  .010 (.010)  .002
    120    3     4     .898 (.894)  .051 (.052)  .009 (.011)  .002
    120    10    2     .901 (.896)  .049 (.051)  .010 (.011)  .002

    other: lognormal losses of deviation 1.8 (first two), Pareto losses of tail index 2.5 (next two), 1 (months)
    periods    rate  k     members  inside       above        far          standard error of inside
    8 years    2     3     12       .909 (.851)  .064 (.083)  .012 (.021)  .009
    8 years    4     none  3        .914 (.879)  .051 (.058)  .009 (.012)  .004
    10 years   4     none  8        .897 (.864)  .064 (.046)  .010 (.010)  .007
    10 years   4     1.5   8        .899 (.832)  .058 (.074)  .012 (.026)  .011
    12 months  0.5   none  5        .944 (.905)  .049 (.066)  .008 (.015)  .006
    24 months  0.5   1     20       .935 (.914)  .054 (.064)  .010 (.019)  .007

    alike: a period multiplies its losses by a lognormal factor of this deviation, whose score goes with that of the
    shock by `bond`; lognormal losses of deviation 1, Pareto losses of tail index 2.5 (24 months), eight members. In
    brackets with sizes of a period drawn by themselves
    periods    rate  k     factor  bond  inside       above        far          standard error of inside
    6 years    3     4     .7      .7    .880 (.774)  .088 (.125)  .026 (.051)  .011
    10 years   3     none  .7      0     .884 (.694)  .071 (.135)  .018 (.056)  .009
    10 years   3     4     .7      .7    .877 (.742)  .078 (.126)  .022 (.062)  .009
    20 years   3     4     1       .8    .880 (.622)  .068 (.120)  .020 (.072)  .007
    24 months  1     2     .4      .7    .899 (.856)  .065 (.091)  .014 (.036)  .007
    48 months  3     2     .7      .7    .894 (.767)  .057 (.095)  .014 (.050)  .005

    growing: the log of sizes gains so much a period; eight members, lognormal losses of deviation 1, Pareto losses of
    tail index 2.5 (months); 20 pools a cell. In brackets without a trend (`KnownLevel`)
    periods    rate  k     growth  inside       above        far
    8 years    3     4     0       .894 (.894)  .061 (.061)  .012 (.012)
    8 years    3     4     .05     .857 (.845)  .110 (.124)  .031 (.033)
    8 years    3     4     .1      .883 (.780)  .088 (.203)  .017 (.057)
    12 years   3     4     0       .907 (.906)  .062 (.063)  .013 (.013)
    12 years   3     4     .05     .900 (.831)  .073 (.155)  .014 (.043)
    12 years   3     4     .1      .912 (.768)  .061 (.227)  .011 (.056)
    25 years   3     4     0       .918 (.918)  .042 (.043)  .007 (.007)
    25 years   3     4     .05     .918 (.802)  .047 (.191)  .006 (.036)
    25 years   3     4     .1      .907 (.656)  .064 (.343)  .009 (.054)
    60 months  0.5   2     0       .936 (.936)  .055 (.055)  .012 (.012)
    60 months  0.5   2     .01     .936 (.883)  .055 (.109)  .011 (.022)
    60 months  0.5   2     -.01    .936 (.978)  .055 (.015)  .011 (.001)

`long` is from before sizes could be alike; its first three cells again: .901, .908 and .907 inside, .008 and .009 far.

The prior of the shock (`CountPosterior`) was chosen with the few in sight, not with the others. Months without a loss
lie at the lower end of their interval and count as inside.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from calibrate import JointLossModel, LossHistory
from calibrate.errors import ModelError

Floats = npt.NDArray[np.float64]
Sizes = Callable[[np.random.Generator, int], Floats]
POOLS, TRUE = 60, 4000


def lognormal(deviation: float) -> Sizes:
    return lambda rng, n: np.exp(deviation * rng.normal(size=n))


def pareto(rng: np.random.Generator, n: int) -> Floats:
    """Of tail index 2.5."""
    return rng.random(n) ** (-1 / 2.5)


PLAIN = lognormal(1.0)


def pool(
    rng: np.random.Generator,
    periods: int,
    rate: float,
    k: float,
    members: int = 5,
    sizes: Sizes = PLAIN,
    period: str = "Y",
    factor: float = 0.0,
    bond: float = 0.0,
    growth: float = 0.0,
) -> tuple[LossHistory, Floats]:
    """A history, and the pool's losses in periods after it. `factor`: deviation of the log of what a period multiplies
    all its losses by, whose score goes with that of the shock by `bond`; `growth`: what the log gains by period."""
    exposures = np.exp(rng.normal(0, 0.5, members))
    exposures /= exposures.mean()
    means = rate * exposures * np.exp(rng.normal(0, 0.3, members))

    def counted(n: int) -> tuple[npt.NDArray[np.int64], Floats]:
        """Numbers of events, and what all losses of a period are multiplied by."""
        if factor == 0.0:
            shocks = np.ones(n) if math.isinf(k) else rng.gamma(k, 1 / k, n)
            return rng.poisson(shocks[:, None] * means), np.ones(n)
        first, second = rng.normal(size=(2, n))
        shocks = np.ones(n) if math.isinf(k) else stats.gamma.ppf(stats.norm.cdf(first), k) / k
        times = np.exp(factor * (bond * first + math.sqrt(1 - bond**2) * second))
        return rng.poisson(shocks[:, None] * means), times

    counts, times = counted(periods)
    times = times * np.exp(growth * np.arange(periods))
    place, member = np.nonzero(counts)
    repeated = counts[place, member]
    when = pd.period_range("2000-01", periods=periods, freq=period)
    frame = pd.DataFrame({"date": when[np.repeat(place, repeated)].to_timestamp() + pd.Timedelta(days=14)})
    frame["member"] = [f"member {i}" for i in np.repeat(member, repeated)]
    frame["loss"] = sizes(rng, len(frame)) * times[np.repeat(place, repeated)]
    frame["id"] = range(len(frame))
    history = LossHistory.from_events(
        frame,
        date="date",
        member="member",
        loss="loss",
        period=period,
        start="2000-01",
        end=str(when[-1]),
        exposures={f"member {i}": exposures[i] for i in range(members)},
        confirm_unit_jumps=list(frame["member"].unique()),
    )
    counts, times = counted(TRUE)
    after = counts.sum(axis=1)
    losses = sizes(rng, int(after.sum())) * np.repeat(times, after) * math.exp(growth * periods)
    return history, np.bincount(np.repeat(np.arange(TRUE), after), losses, TRUE)


FEW = [(years, rate, k) for years in (6, 12) for rate, k in ((3.0, math.inf), (3.0, 4.0), (10.0, 2.0))]
LONG = [(years, rate, k) for years in (60, 120) for rate, k in ((3.0, math.inf), (3.0, 4.0), (10.0, 2.0))]
OTHER = [
    (8, 2.0, 3.0, 12, lognormal(1.8), "Y"),
    (8, 4.0, math.inf, 3, lognormal(1.8), "Y"),
    (10, 4.0, math.inf, 8, pareto, "Y"),
    (10, 4.0, 1.5, 8, pareto, "Y"),
    (12, 0.5, math.inf, 5, lognormal(1.0), "M"),
    (24, 0.5, 1.0, 20, lognormal(1.0), "M"),
]
ALIKE = [
    (6, 3.0, 4.0, 8, lognormal(1.0), "Y", 0.7, 0.7),
    (10, 3.0, math.inf, 8, lognormal(1.0), "Y", 0.7, 0.0),
    (10, 3.0, 4.0, 8, lognormal(1.0), "Y", 0.7, 0.7),
    (20, 3.0, 4.0, 8, lognormal(1.0), "Y", 1.0, 0.8),
    (24, 1.0, 2.0, 8, pareto, "M", 0.4, 0.7),
    (48, 3.0, 2.0, 8, lognormal(1.0), "M", 0.7, 0.7),
]
GROWING = [
    *(
        (years, 3.0, 4.0, 8, lognormal(1.0), "Y", 0.0, 0.0, growth)
        for years in (8, 12, 25)
        for growth in (0.0, 0.05, 0.1)
    ),
    *((60, 0.5, 2.0, 8, pareto, "M", 0.0, 0.0, growth) for growth in (0.0, 0.01, -0.01)),
    (15, 3.0, 4.0, 8, lognormal(1.0), "Y", 0.4, 0.5, 0.05),
]


def main(kinds: list[str]) -> None:
    for kind in kinds:
        for cell in {"few": FEW, "long": LONG, "other": OTHER, "alike": ALIKE, "growing": GROWING}[kind]:
            rows = []
            for seed in range(POOLS):
                history, true = pool(np.random.default_rng([1, seed]), *cell)
                try:
                    model = JointLossModel(n_jobs=1).fit(history)
                except ModelError:  # a fitted tail without a mean
                    continue
                drawn = model.sample(4000, seed).losses.sum(axis=1)
                low, high, far = np.quantile(drawn, [0.05, 0.95, 0.99])
                rows.append([((low <= true) & (true <= high)).mean(), (true > high).mean(), (true > far).mean()])
            means, errors = np.mean(rows, axis=0), np.std(rows, axis=0) / len(rows) ** 0.5
            print(kind, cell[:4], cell[6:], means.round(3), errors.round(3), f"{POOLS - len(rows)} refused", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["few", "long", "other", "alike", "growing"])
