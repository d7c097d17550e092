"""JointLossModel: from a loss history to joint losses of all members and segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import DataError, ModelError
from calibrate.history import LossHistory
from calibrate.models.arrays import Floats, RandomState
from calibrate.models.collective import CollectiveMargins, fit_segment
from calibrate.models.coverage import Coverage
from calibrate.models.dependence import Dependence, StudentT
from calibrate.models.frequency import Frequency, NegativeBinomial
from calibrate.models.margins import Margins, RatioMargins
from calibrate.models.ratio import LogNormalRatio, Ratio
from calibrate.models.severity import Severity
from calibrate.scenarios import Scenarios

__all__ = ["JointLossModel"]

BLOCK = 2**15  # scenarios that are drawn together; fixed, so that the bytes do not depend on memory or workers
DRAWS = 2e7  # single losses that one block may cost
SCORES, LOSSES = 1, 2  # stages of the random keys


class JointLossModel(BaseEstimator):  # type: ignore[misc]
    """Joint losses of members and segments, one period ahead. Money in the history's currency.

    Event history (collective model): for member i, segment g, `L = sum_{k <= N[i,g]} pay(min(s[i,g] X[g], cap e[i]))`
    with `N` by `frequency` (rate by credibility, times exposure), `X` by `severity` (one law a segment), `s` the
    member's scale (by credibility). Panel: `L = e[i] R[i]` with `R` by `ratio`. The `dependence` of the periods' losses
    over exposure says which members lose together, and whose losses are large together; margins are drawn exactly and
    in the order of the dependent scores (Iman and Conover 1982): only what loses something is ever drawn.

    Parameters
    ----------
    severity : estimator, or mapping segment -> estimator. Default: `Spliced()` from 200 losses, `LogNormal()` below.
    frequency : default `NegativeBinomial()`.
    ratio : for panels; default `LogNormalRatio()`.
    dependence : default `StudentT()`.
    coverage : terms of each event; default all of it. History losses are before coverage.
    exposure_cap : the most one event can cost, as a multiple of the member's exposure.

    Fitted: `summary_` (DataFrame by column, `expected_loss` in closed form), `flags_` (sentences), `dependence_`,
    `margins_`, `members_`, `segments_`, `exposures_` (of the last period, by column), `correlation_` (DataFrame).
    Raises ModelError naming the segment, e.g. for a tail without a mean. Source: Klugman, Panjer, Willmot, chapter 9.

    >>> panel = pd.DataFrame({"A": [70.0, 60.0, 90.0], "B": [7.0, 9.0, 8.0]}, index=[2022, 2023, 2024])
    >>> model = JointLossModel().fit(LossHistory.from_panel(panel, exposures={"A": 100.0, "B": 10.0}))
    >>> model.sample(1000, random_state=1)
    <Scenarios: 1,000 x 2 members x 1 segments, USD>
    """

    def __init__(
        self,
        *,
        severity: Severity | Mapping[str, Severity] | None = None,
        frequency: Frequency | None = None,
        ratio: Ratio | None = None,
        dependence: Dependence | None = None,
        coverage: Coverage | None = None,
        exposure_cap: float | None = None,
    ) -> None:
        self.severity = severity
        self.frequency = frequency
        self.ratio = ratio
        self.dependence = dependence
        self.coverage = coverage
        self.exposure_cap = exposure_cap

    def fit(self, history: LossHistory, y: object = None) -> Self:
        """Fit to a history; `y` is ignored."""
        if not isinstance(history, LossHistory):
            raise DataError(
                f"fit needs a LossHistory, got {type(history).__name__}; build one by from_events or from_panel"
            )
        cap = self.exposure_cap
        if cap is not None and (history.exposures is None or not 0 < cap < np.inf):
            raise ModelError(f"exposure_cap is {cap}: it needs a finite number > 0 and a history with exposures")
        self.members_, self.segments_, self.currency_ = history.members, history.segments, history.currency
        losses = history.losses.to_numpy()
        given, events = history.exposures, history.events
        exposures = np.ones_like(losses) if given is None else given.to_numpy()
        self.columns_ = history.losses.columns
        self.exposures_ = pd.Series(exposures[-1], index=self.columns_, name="exposure")
        self.margins_: Margins = (
            self._panel(losses, exposures) if events is None else self._collective(history, events, exposures)
        )
        self.flags_ = self.margins_.check_tails() if isinstance(self.margins_, CollectiveMargins) else ()
        self.summary_ = self.margins_.summary(exposures[-1], self.columns_)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(exposures > 0, losses / exposures, 0.0)
        groups = np.tile(np.arange(len(self.segments_)), len(self.members_))
        dependence = StudentT() if self.dependence is None else clone(self.dependence)
        self.dependence_ = dependence.fit(ratios, groups=groups)
        self.correlation_ = pd.DataFrame(dependence.correlation_, index=self.columns_, columns=self.columns_)
        return self

    def _panel(self, losses: Floats, exposures: Floats) -> Margins:
        for name in ("coverage", "exposure_cap"):
            if getattr(self, name) is not None:
                words = "coverage terms apply" if name == "coverage" else "exposure_cap applies"
                raise ModelError(f"{words} to each event, and a panel has none; use from_events, or leave {name} out")
        ratio = LogNormalRatio() if self.ratio is None else clone(self.ratio)
        return RatioMargins(ratio.fit(losses, exposure=exposures), losses.sum(axis=0) / exposures.sum(axis=0))

    def _collective(self, history: LossHistory, events: pd.DataFrame, exposures: Floats) -> Margins:
        positive = events[events["loss"] > 0]
        width = len(self.segments_)
        if isinstance(self.severity, Mapping) and (
            strangers := [name for name in self.severity if name not in self.segments_]
        ):
            raise ModelError(
                f"severity names {strangers[0]!r}, which is no segment; the segments are {', '.join(self.segments_)}"
            )
        row = history.periods.get_indexer(positive["date"].dt.tz_localize(None).dt.to_period(history.periods.freqstr))
        owner = pd.Index(self.members_).get_indexer(pd.Index(positive["member"]))
        fitted = []
        for g, name in enumerate(self.segments_):
            mine = (positive["segment"] == name).to_numpy()
            counts = np.zeros((len(history.periods), len(self.members_)))
            np.add.at(counts, (row[mine], owner[mine]), 1.0)
            law = self.severity.get(name) if isinstance(self.severity, Mapping) else self.severity
            frequency = NegativeBinomial() if self.frequency is None else self.frequency
            losses = positive["loss"].to_numpy()[mine]
            fitted.append(fit_segment(name, counts, exposures[:, g::width], losses, owner[mine], frequency, law))
        coverage = Coverage() if self.coverage is None else self.coverage
        return CollectiveMargins(fitted, coverage.terms(self.members_), self.exposure_cap)

    def sample(
        self,
        n: int,
        random_state: RandomState = None,
        periods: int = 1,
        exposures: pd.Series[float] | Mapping[str, float] | None = None,
    ) -> Scenarios:
        """`n` independent scenarios of `periods` history periods each, at the exposures of the last period.

        `exposures` by member replaces them. The same seed gives the same bytes.
        """
        check_is_fitted(self)
        if n < 1 or periods < 1:
            raise ModelError(f"n is {n} and periods is {periods}; expected whole numbers >= 1")
        entropy, prefix = _seed(random_state)
        level = self._exposures(exposures)
        size = int(min(BLOCK, max(1024, DRAWS // max(self.margins_.events_per_period(level), 1))))
        losses = np.zeros((n, len(self.columns_)))
        for block, first in enumerate(range(0, n, size)):
            rows = losses[first : first + size]
            for period in range(periods):
                keys = [
                    np.random.SeedSequence(entropy, spawn_key=(*prefix, stage, block, period))
                    for stage in (SCORES, LOSSES)
                ]
                self._add_period(rows, level, keys)
        return Scenarios(losses, self.members_, self.segments_, currency=self.currency_)

    def _add_period(self, rows: Floats, exposures: Floats, keys: list[np.random.SeedSequence]) -> None:
        """Add one period's losses to `rows`: who loses and in which order by the scores, how much by the margins."""
        scores = np.ascontiguousarray(self.dependence_.scores(len(rows), keys[0]).T)
        none = self.margins_.zero_probability(exposures)
        inside = self.dependence_.score_ppf(np.clip(none, 1e-300, 1 - 1e-16))
        thresholds = np.where(none <= 0, -np.inf, np.where(none >= 1, np.inf, inside))
        losing = [np.flatnonzero(column > threshold) for column, threshold in zip(scores, thresholds, strict=True)]
        counts = np.array([rows_of.size for rows_of in losing])
        drawn = self.margins_.draw(counts, exposures, np.random.default_rng(keys[1]))
        for j, piece in enumerate(np.split(drawn, np.cumsum(counts)[:-1])):
            order = losing[j][np.argsort(scores[j, losing[j]], kind="stable")]
            rows[order, j] += np.sort(piece)

    def _exposures(self, exposures: Any) -> Floats:
        if exposures is None:
            return self.exposures_.to_numpy()
        given = pd.Series(exposures, dtype=np.float64)
        absent = [member for member in self.members_ if member not in given.index]
        wrong = [f"{member!r} ({value})" for member, value in given.items() if not 0 <= value < np.inf]
        if absent or wrong:
            raise DataError(
                f"exposures: missing for {absent}, no number >= 0 for {wrong}; expected one for each member"
            )
        return np.repeat(given[list(self.members_)].to_numpy(), len(self.segments_))


def _seed(random_state: RandomState) -> tuple[Any, tuple[int, ...]]:
    """Entropy and key prefix of a seed; a generator gives 128 bits of its own."""
    if isinstance(random_state, np.random.Generator):
        return [int(bits) for bits in random_state.integers(0, 2**32, 4)], ()
    if isinstance(random_state, np.random.SeedSequence):
        return random_state.entropy, tuple(random_state.spawn_key)
    return np.random.SeedSequence(random_state).entropy, ()
