"""Another history that the same pool might have had: periods drawn again, in blocks or around the level of the pool."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate.errors import ModelError
from calibrate.history import LossHistory
from calibrate.models.arrays import Floats
from calibrate.models.frequency.model import CountModel, Order
from calibrate.models.joint import JointLossModel
from calibrate.models.pool_level import LocalLevel
from calibrate.models.size_trend import SizeTrend, at_sizes_ahead

__all__ = ["AroundLevel", "Blocks", "Resampling", "resampling_of"]

Places = npt.NDArray[np.intp]


class Resampling(ABC):
    """Draws another history of the same members and periods; what is fitted to it says how sure the fit is."""

    @abstractmethod
    def __call__(self, history: LossHistory, generator: np.random.Generator) -> LossHistory:
        """Another history."""


@dataclass(frozen=True)
class Blocks(Resampling):
    """Periods drawn with replacement in blocks of `length` neighbours, events and exposures with them.

    The last `kept` periods stay what they are: forecasts start from there. A model that reads nothing of the order
    may have blocks of one period; one that does needs blocks longer than its memory, and sees it broken at the joints.
    Source: Efron 1979; Kuensch 1989 (blocks); Politis and Romano 1992 (in a circle); Pascual, Romo and Ruiz 2004
    (the end held).

    Losses whose sizes have `trends` are those of the period ahead before they are drawn: the order told the trend.

    >>> panel = pd.DataFrame({"A": [1.0, 2.0, 3.0, 4.0]}, index=range(2021, 2025))
    >>> Blocks(2)(LossHistory.from_panel(panel), np.random.default_rng(0)).losses["A"].to_list()
    [4.0, 1.0, 3.0, 4.0]
    """

    length: int = 1
    kept: int = 1
    trends: Mapping[str, SizeTrend] = field(default_factory=dict)

    def __call__(self, history: LossHistory, generator: np.random.Generator) -> LossHistory:
        """ModelError if a block has no period, or more than the history."""
        history, n = at_sizes_ahead(history, self.trends), len(history.periods)
        source = _blocks(n, self.length, generator)
        source[n - self.kept :] = np.arange(n - self.kept, n)
        losses, exposures = history.losses, history.exposures
        moved = None if exposures is None else _labelled(exposures.iloc[source], exposures)
        events = None if history.events is None else _moved_events(history.events, history.periods, source)
        return LossHistory(_labelled(losses.iloc[source], losses), moved, events, history.currency)


@dataclass(frozen=True)
class AroundLevel(Resampling):
    """A panel drawn again around a level that wanders: paths of it that end where the fitted one does.

    `x*[t] = m*[t] + e[k(t)]`: `m*` the local level of a credibility drawn by its chance, walking back in time from the
    fitted level at the end; `e[k]` how far period k lay from what all others say of it, each over its own deviation;
    the members' ratios to the pool's are those of period k, all together, at the exposures of period t. Periods drawn
    again by themselves would lose the order that the level is read from: their intervals lie around the level of the
    whole history. `k` is drawn in blocks of `length`.
    Source: Stoffer and Wall 1991 (bootstrap of state-space models); de Jong 1989 (residuals from all other periods).

    >>> panel = pd.DataFrame({"A": [1.0, 2.0, 3.0, 4.0]}, index=range(2021, 2025))
    >>> drawn = AroundLevel(LocalLevel().fit(panel["A"]))(LossHistory.from_panel(panel), np.random.default_rng(0))
    >>> drawn.losses.shape
    (4, 1)
    """

    level: LocalLevel
    length: int = 1
    segments: tuple[LocalLevel, ...] = ()

    def __call__(self, history: LossHistory, generator: np.random.Generator) -> LossHistory:
        """ModelError if a block has no period, or more than the history."""
        losses, given = history.losses, history.exposures
        amounts = losses.to_numpy()
        exposures = np.ones_like(amounts) if given is None else given.to_numpy()
        source = _blocks(len(amounts), self.length, generator)
        factors = np.exp(_moved_logs(self.level, source, generator))[:, None]
        if self.segments:
            apart = [_moved_logs(level, source, generator) for level in self.segments]
            factors = np.tile(factors * np.exp(np.column_stack(apart)), losses.shape[1] // len(self.segments))
        stand_in = np.where(exposures[source] > 0, source[:, None], _present(exposures, generator))
        columns = np.arange(exposures.shape[1])
        base = exposures[stand_in, columns]
        ratios = np.where(base > 0, amounts[stand_in, columns] / np.where(base > 0, base, 1.0), 0.0)
        drawn = pd.DataFrame(factors * exposures * ratios, losses.index, losses.columns)
        kept = None if given is None else _labelled(given, given)
        return LossHistory(_labelled(drawn, losses), kept, None, history.currency)


def resampling_of(model: Any, history: LossHistory, block: int | None = None) -> Resampling:
    """How the history of a fitted model is drawn again so that it keeps what the model reads of the order.

    Panels whose level wanders: around it. Counts that remember their neighbours: blocks of at least `n^(1/3)` periods
    (Hall, Horowitz and Jing 1995), the last one kept. Else blocks as asked for; `block` None: as short as will do.
    Raises ModelError for blocks that are too short, and where no block would do.
    """
    if not isinstance(model, JointLossModel):
        return Blocks(block or 1)
    trends = getattr(model, "size_trends_", {})
    level = getattr(model, "pool_level_", None)
    if isinstance(level, LocalLevel):
        return AroundLevel(level, block or 1, model.segment_levels_)
    frequencies: dict[str, CountModel] = getattr(model, "frequencies_", {})
    read = {frequency.order: type(frequency).__name__ for frequency in frequencies.values()}
    if Order.PLACES in read:
        raise ModelError(
            f"{read[Order.PLACES]} reads when each period was, and periods drawn again stand in other places: what the "
            "history leaves open cannot be told by resampling it; its standard errors, or another frequency, can"
        )
    if Order.NEIGHBOURS not in read:
        return Blocks(block or 1, trends=trends)
    least = math.ceil(len(history.periods) ** (1 / 3))
    block = least if block is None else block
    if block < least:
        raise ModelError(
            f"{read[Order.NEIGHBOURS]} reads which periods follow each other, and a block of {block} loses that; give "
            f"block >= {least}, and more where bad times last longer"
        )
    return Blocks(block, kept=block, trends=trends)


def _moved_logs(level: LocalLevel, source: Places, generator: np.random.Generator) -> Floats:
    """`x*[t] - x[k(t)]`; 0 for a period in which nothing was lost."""
    cell = generator.choice(level.chances_.size, p=level.chances_)
    drift = level.drifts_[cell]
    steps = math.sqrt(drift * level.variances_[cell]) * generator.standard_normal(source.size)
    path = math.log(level.level_) + np.append(np.cumsum(steps[1:])[::-1], 0.0)
    known = ~np.isnan(level.logs_)
    residuals = np.full(source.size, np.nan)
    residuals[known] = _residuals(level.logs_[known], np.flatnonzero(known), drift)
    return np.asarray(np.nan_to_num(path + residuals[source] - level.logs_[source]))


def _residuals(logs: Floats, places: Places, drift: float) -> Floats:
    """Each log-ratio less what the others say of it, over its deviation in units of the noise's (`drift` over it)."""
    if logs.size < 2:
        return np.zeros(logs.size)
    inverse = np.linalg.inv(np.eye(logs.size) + drift * np.minimum.outer(places, places))
    total = inverse.sum(axis=0)
    precision = inverse - np.outer(total, total) / total.sum()  # nothing is known of the level itself
    return np.asarray(precision @ (logs - logs.mean()) / np.sqrt(np.diag(precision)))


def _blocks(n: int, length: int, generator: np.random.Generator) -> Places:
    """Places of `n` periods in blocks of neighbours, in a circle."""
    if not 1 <= length <= n:
        raise ModelError(f"a block must have between 1 and {n} periods, got {length}")
    starts = generator.integers(0, n, -(-n // length))
    return np.concatenate([(start + np.arange(length)) % n for start in starts])[:n]


def _present(exposures: Floats, generator: np.random.Generator) -> Places:
    """For each entry a period, drawn, in which its column had exposure."""
    order = np.argsort(exposures <= 0, axis=0, kind="stable")  # periods with exposure first
    places = generator.integers(0, np.maximum((exposures > 0).sum(axis=0), 1), exposures.shape)
    return np.take_along_axis(order, places, axis=0)


def _labelled(table: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """The same rows under the labels of another table, columns (member, segment)."""
    moved: pd.DataFrame = table.set_axis(like.index, axis=0)
    if moved.columns.nlevels == 1:
        moved.columns = pd.MultiIndex.from_product([moved.columns, ["all"]], names=["member", "segment"])
    return moved


def _moved_events(events: pd.DataFrame, periods: pd.PeriodIndex, source: Places) -> pd.DataFrame:
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
