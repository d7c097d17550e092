"""Losses of a segment that grow or shrink with time, and how large they are in the period ahead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri
from scipy.stats import mannwhitneyu, norm, t

from calibrate.errors import ModelError
from calibrate.history import LossHistory
from calibrate.intake.tables import AT_LEAST
from calibrate.models.arrays import Floats
from calibrate.models.mixed_line import mixed_products
from calibrate.models.pool_level import KnownLevel, PoolLevel

__all__ = ["SizeTrend", "at_sizes_ahead", "told_trends"]

Places = npt.NDArray[np.intp]

FEWEST = 8  # periods with losses
SURE = 0.01  # p-value from which a trend is clear: in one history of a hundred without one
LIKELY = 0.5  # chance of a trend from which it is told
WHOLE = 1.0  # deviation, before the data, of what a trend adds to the log from the first period to the last
LENGTHS = {"D": "day", "W": "week", "M": "month", "Q": "quarter", "Y": "year"}
BLURRED = 0.05  # p-value from which lower bounds among the losses go with time
BLUR = (
    "segment {!r}: losses that are known only to be so large or more come in some periods more often than in others "
    "(p-value {:.2g}), as open claims and rising limits do: their sizes seem to move with time, and no trend is taken "
    "from that. LossHistory.at_prices brings them to the money of today"
)


@dataclass(frozen=True)
class SizeTrend:
    """The log of a loss grows by `b` a period; `b` is 0 with one chance, else normal.

    `log X = a + b t + c m[member] + u[member] + v[period] + e`, all of them normal; the line by generalized least
    squares, its error with two degrees of freedom less than there are periods. `m` is the middle of the periods in
    which a member is there: who came later may have larger losses, and that is no growth. Before the data: no trend
    with chance 1/2, else `b` is normal, and moves losses by one in the log from the first period to the last.

    A rise is carried to the period ahead where it is likelier than none, a fall only where it is clear: money loses its
    worth, and a calm that is taken for a law is what crises begin with.
    Source: Henderson 1975, Biometrics 31 (mixed models); Mundlak 1978, Econometrica 46 (what groups differ by); George
    and McCulloch 1993, JASA 88 (spike and slab).

    `chance` that there is one; `slope` and `deviation` of `b` if there is; `middle`: time of the level that does not
    depend on `b`; `ahead`: the time of the period ahead; `p_value` of none.
    """

    chance: float
    slope: float
    deviation: float
    middle: float
    ahead: float
    p_value: float

    @classmethod
    def of(
        cls, logs: Floats, owner: Places, when: Places, ahead: float, there: Floats | None = None
    ) -> SizeTrend | None:
        """From log-losses, the places of their members and periods; None where too few periods have losses.

        `there`: the middle of the periods in which each member is there, if not all of them are.
        """
        seen = np.unique(when)
        if seen.size < FEWEST or not np.ptp(logs) > 0:
            return None
        found = _line(logs, owner, when, np.zeros(owner.max() + 1) if there is None else there)
        if found is None:
            return None
        slope, error, middle = found
        p_value = 2 * float(t.sf(abs(slope) / error, seen.size - 2))
        z = float(norm.isf(max(p_value, 1e-300) / 2))
        variance = (slope / z) ** 2 if z > 0 else error**2  # as that of a normal law of the same p-value
        before = (WHOLE / float(seen[-1] - seen[0])) ** 2
        kept = before / (before + variance)
        odds = math.sqrt(1 - kept) * math.exp(min(kept * z**2 / 2, 700.0))
        return cls(odds / (1 + odds), kept * slope, math.sqrt(kept * variance), middle, ahead, p_value)

    @property
    def clear(self) -> bool:
        """Whether chance hardly brings one like it."""
        return self.p_value <= SURE

    @property
    def carried(self) -> bool:
        """Whether sizes are brought to the period ahead."""
        return self.clear or (self.slope > 0 and self.chance >= LIKELY)

    @property
    def mean(self) -> float:
        """Expected growth of the log by period."""
        return self.chance * self.slope

    @property
    def growth(self) -> float:
        """Level in the period ahead over that of the whole history, at the expected growth."""
        return math.exp(self.mean * (self.ahead - self.middle))

    def growths(self, chances: Floats) -> Floats:
        """Growth of the log by period, at `chances` of a smaller one."""
        none, below = 1 - self.chance, self.chance * float(norm.cdf(-self.slope / self.deviation))
        flat = (chances >= below) & (chances <= below + none)
        level = np.where(chances < below, chances, chances - none) / self.chance
        return np.where(flat, 0.0, self.slope + self.deviation * ndtri(np.clip(level, 1e-12, 1 - 1e-12)))

    def factors(self, growths: Floats) -> Floats:
        """Of all sizes in the period ahead if the log grows so, over their mean."""
        way = self.ahead - self.middle
        mean = 1 - self.chance + self.chance * math.exp(self.slope * way + (self.deviation * way) ** 2 / 2)
        return np.asarray(np.exp(growths * way) / mean)

    def flag(self, name: str, periods: pd.PeriodIndex) -> str:
        """What is to be said of it where it is carried to the period ahead."""
        return (
            f"{self._said(name, periods)}. Sizes are those of the period ahead, {self.growth:.2g} times those of the "
            f"whole history (chance of no trend {1 - self.chance:.2g}); an index of prices knows more "
            "(LossHistory.at_prices), and pool_level=KnownLevel() takes no trend"
        )

    def left_out(self, name: str, periods: pd.PeriodIndex) -> str:
        """What is to be said of it where it is not."""
        why = "leave KnownLevel out, or bring" if self.carried else "a fall is carried where it is clear; else bring"
        return (
            f"{self._said(name, periods)}. Sizes are drawn as in the whole history: {why} them to the money of today "
            "first (LossHistory.at_prices)"
        )

    def _said(self, name: str, periods: pd.PeriodIndex) -> str:
        grow, each = "grow" if self.slope > 0 else "shrink", LENGTHS[periods.freqstr[0]]
        by = abs(math.expm1(self.slope))
        return f"segment {name!r}: losses {grow} with time, by {by:.1%} a {each} (p-value {self.p_value:.2g})"


def told_trends(history: LossHistory, level: PoolLevel | None) -> tuple[dict[str, SizeTrend], tuple[str, ...]]:
    """Trends of sizes that are carried to the period ahead, by segment, and what is to be said of them.

    A known `level` has none. ModelError for another one where there are events.
    """
    found, periods = _trends(history), history.periods
    blurred = {name: p_value for name in found if (p_value := _blur(history, name)) <= BLURRED}
    unclear = tuple(BLUR.format(name, p_value) for name, p_value in blurred.items())
    found = {name: trend for name, trend in found.items() if name not in blurred}
    if history.events is None or level is None:
        carried = {name: trend for name, trend in found.items() if trend.carried}
        said = (t.flag(name, periods) if t.carried else t.left_out(name, periods) for name, t in found.items())
        return carried, (*said, *unclear)
    if not isinstance(level, KnownLevel):
        raise ModelError(
            f"pool_level is {level!r}, and this history has events: KnownLevel() takes no trend of their sizes; or "
            "leave it out"
        )
    return {}, tuple(trend.left_out(name, periods) for name, trend in found.items() if trend.clear)


def _blur(history: LossHistory, name: str) -> float:
    """P-value of lower bounds among a segment's losses coming as often in late periods as in early ones; 1 without any.

    By ranks of their dates. Source: Mann and Whitney 1947, Annals of Mathematical Statistics 18.
    """
    events = history.events
    if events is None or AT_LEAST not in events:
        return 1.0
    own = events[(events["segment"] == name) & (events["loss"] > 0)]
    bounds, dates = own[AT_LEAST].to_numpy(dtype=bool), own["date"].astype("int64").to_numpy()
    if bounds.all() or not bounds.any():
        return 1.0
    return float(mannwhitneyu(dates[bounds], dates[~bounds]).pvalue)


def _trends(history: LossHistory) -> dict[str, SizeTrend]:
    """Of the segments of an event history that likely have one."""
    events, found = history.events, dict[str, SizeTrend]()
    if events is None:
        return found
    events = events[events["loss"] > 0]
    when = history.periods.get_indexer(
        pd.PeriodIndex(events["date"].dt.tz_localize(None), freq=history.periods.freqstr)
    )
    owner = pd.Index(history.members).get_indexer(pd.Index(events["member"]))
    logs = np.log(events["loss"].to_numpy(dtype=np.float64))
    there = _middles(history)
    for g, name in enumerate(history.segments):
        own = (events["segment"] == name).to_numpy()
        trend = SizeTrend.of(logs[own], owner[own], when[own], float(len(history.periods)), there[:, g])
        if trend is not None and trend.chance >= LIKELY:
            found[name] = trend
    return found


def _middles(history: LossHistory) -> Floats:
    """Middle of the periods in which each member has exposure, (members, segments)."""
    shape = (len(history.periods), len(history.members), len(history.segments))
    there = np.ones(shape) if history.exposures is None else (history.exposures.to_numpy() > 0).reshape(shape)
    return np.asarray(np.arange(shape[0]) @ there.reshape(shape[0], -1) / there.sum(axis=0).ravel()).reshape(shape[1:])


def at_sizes_ahead(history: LossHistory, trends: Mapping[str, SizeTrend]) -> LossHistory:
    """The history with the losses of these segments as they would be in the period ahead."""
    if not trends:
        return history
    left = len(history.periods) - np.arange(len(history.periods), dtype=np.float64)
    growth = [trends[name].mean if name in trends else 0.0 for name in history.segments]
    return history.times(np.tile(np.exp(np.multiply.outer(left, growth)), len(history.members)))


def _line(logs: Floats, owner: Places, when: Places, there: Floats) -> tuple[float, float, float] | None:
    """Slope, its error, and the time at which the level does not depend on it; None where nothing scatters about it."""
    centre = float(when.mean())
    cohorts = [there[owner] - there[owner].mean()] if np.ptp(there[owner]) > 0 else []
    found = mixed_products(np.column_stack([np.ones(logs.size), *cohorts, when - centre]), logs, owner, when)
    if found is None:
        return None  # or who was there tells the time
    Q, variance = found
    error = math.sqrt(variance * float(np.linalg.inv(Q[:-1, :-1])[-1, -1]))
    slope = float(np.linalg.solve(Q[:-1, :-1], Q[:-1, -1])[-1])
    return slope, error, centre + float(np.linalg.solve(Q[:-2, :-2], Q[:-2, -2])[0])
