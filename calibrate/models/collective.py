"""The collective model of an event history: how often, how large, what the pool pays of each event."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from numba import njit
from sklearn.base import clone

from calibrate.errors import DataError, ModelError
from calibrate.history import LossHistory
from calibrate.intake.tables import AT_LEAST
from calibrate.models.alike import UNLIKE, Alike, AlikePosterior, Shocks
from calibrate.models.arrays import Floats
from calibrate.models.coverage import Terms, pay
from calibrate.models.doubts import alike_flags, cap_flags, edge_flags, pile_flags, silence_flags
from calibrate.models.frequency import CountModel, Hawkes, Open
from calibrate.models.frequency.self_exciting import Calendar, SelfExciting
from calibrate.models.margins import DrawnMargins
from calibrate.models.severity import Severity
from calibrate.models.sizes import Places, Seen, Sizes

__all__ = ["Collective", "Events", "Segment", "seen_flags"]

Counts = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Events:
    """Losses above zero, the places of their segment, member, period; counts, exposures (periods, members, segments).

    `calendar` holds their days, and those of the periods; `at_least`: losses known only to be so large or more.
    """

    losses: Floats
    segment: Places
    owner: Places
    when: Places
    counts: Floats
    exposures: Floats
    segments: tuple[str, ...]
    calendar: Calendar
    at_least: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, history: LossHistory, events: pd.DataFrame, exposures: Floats) -> Events:
        """The events of a history; those of loss zero are none. `exposures` in the shape of its losses."""
        positive = events[events["loss"] > 0]
        periods = positive["date"].dt.tz_localize(None).dt.to_period(history.periods.freqstr)
        row = history.periods.get_indexer(pd.PeriodIndex(periods))
        owner = pd.Index(history.members).get_indexer(pd.Index(positive["member"]))
        segment = pd.Index(history.segments).get_indexer(pd.Index(positive["segment"]))
        shape = (len(history.periods), len(history.members), len(history.segments))
        counts = np.zeros(shape)
        np.add.at(counts, (row, owner, segment), 1.0)
        losses = positive["loss"].to_numpy(dtype=np.float64)
        calendar = Calendar.of(history.periods, positive["date"])
        bounds = positive[AT_LEAST].to_numpy(dtype=bool) if AT_LEAST in positive else np.zeros(losses.size, dtype=bool)
        return cls(losses, segment, owner, row, counts, exposures.reshape(shape), history.segments, calendar, bounds)

    def sizes(self, laws: Sequence[Severity | None]) -> Seen:
        """What the severity of every segment is fitted to."""
        where = self.segment, self.owner, self.when
        return Seen.of(self.segments, self.losses, *where, self.references, laws, self.at_least)

    @property
    def references(self) -> Floats:
        """Mean exposures in the periods in which members are there, (members, segments)."""
        there = np.maximum((self.exposures > 0).sum(axis=0), 1)
        sizes = self.exposures.sum(axis=0) / there
        return np.where(sizes > 0, sizes, 1.0)  # never there: no losses either

    def frequencies(self, family: CountModel) -> list[CountModel]:
        """Frequency of every segment."""
        return [self.frequency(family, g) for g in range(len(self.segments))]

    def frequency(self, family: CountModel, g: int) -> CountModel:
        """Frequency of one segment; the counts say of which periods they are."""
        model: CountModel = clone(family)
        counts = pd.DataFrame(self.counts[:, :, g], self.calendar.periods, copy=False)
        return model.fit(counts, exposure=self.exposures[:, :, g])

    def alike_flags(self, which: Sequence[int]) -> tuple[str, ...]:
        """Losses of one period that are alike in size, in segments where they are drawn independently."""
        return alike_flags({g: self.segments[g] for g in which}, self.losses, self.segment, self.owner, self.when)

    def alike(self, seen: Seen, g: int, model: CountModel) -> AlikePosterior:
        """How far losses of one period of a segment are alike in size, if one shock brings them."""
        own = self.segment == g
        logs = seen.logs[g] - np.log(seen.scales[g].median[self.owner[own]])
        logs = seen.forms[g].standard(logs, self.owner[own])
        return AlikePosterior.of(logs, self.when[own], model.means_.sum(axis=1), model.size_)

    def excited(self, family: Hawkes) -> list[SelfExciting]:
        """Self-exciting frequency of every segment, from the days of its events. ModelError names the segment."""
        found = []
        for g, name in enumerate(self.segments):
            model = SelfExciting(clone(family), self.calendar.where(self.segment == g))
            try:
                found.append(model.fit(self.counts[:, :, g], exposure=self.exposures[:, :, g]))
            except (ModelError, DataError) as error:
                raise ModelError(f"segment {name!r}: {error}") from error
        return found


def seen_flags(history: LossHistory, exposures: Floats, exposure_cap: float | None) -> tuple[str, ...]:
    """What no model sees in the events of a history: long silence, losses above the cap."""
    frame = history.events
    if frame is None:
        return ()
    events, periods = Events.of(history, frame, exposures), history.periods
    exposed = np.flatnonzero(events.exposures.any(axis=(1, 2)))
    when = np.searchsorted(exposed, events.when)
    found = silence_flags(when, periods[exposed]) + edge_flags(when, periods[exposed])
    if not events.at_least.any():
        found += pile_flags(events.segments, events.losses, events.segment, events.owner)
    if exposure_cap is not None:
        found += cap_flags(events.losses, exposure_cap * events.exposures[events.when, events.owner, events.segment])
    return found


@dataclass(frozen=True)
class Segment:
    """What was fitted to one segment, the number of events of each member, how far those of one shock are alike."""

    frequency: CountModel
    sizes: Sizes
    events: Floats
    alike: Alike = UNLIKE


class Collective(DrawnMargins):
    """`S = sum_{k <= N} pay(min(s X_k, cap))`, N by member and segment, X by segment; sizes independent, or `Alike`.

    Scales `s` are those of the sizes' own reference exposures until they are `moved`.
    """

    def __init__(self, segments: list[Segment], terms: Terms, exposure_cap: float | None) -> None:
        self.segments = segments
        self.terms = terms
        self.exposure_cap = exposure_cap

    def caps(self, exposures: Floats) -> Floats:
        """The most that one event can cost before coverage, (members, segments)."""
        table = self.by_segment(exposures)
        return np.full(table.shape, math.inf) if self.exposure_cap is None else self.exposure_cap * table

    def means(self, exposures: Floats) -> Floats:
        """Expected number of events, (members, segments)."""
        table = self.by_segment(exposures)
        return np.column_stack([part.frequency.mean(table[:, g]) for g, part in enumerate(self.segments)])

    @property
    def sizes(self) -> list[Sizes]:
        """Of every segment."""
        return [part.sizes for part in self.segments]

    def thinned(self, kept: Floats) -> Collective:
        """The same with expected numbers of events times `kept` (members, segments), by frequencies that are `Open`."""
        rows = [(part, part.frequency, kept[:, g]) for g, part in enumerate(self.segments)]
        parts = [replace(part, frequency=model.moved(w)) for part, model, w in rows if isinstance(model, Open)]
        return Collective(parts, self.terms, self.exposure_cap)

    def moved(self, exposures: Floats) -> Collective:
        """The same with sizes as they are at these exposures; moved to them once more it stays."""
        if not any(part.sizes.elasticity for part in self.segments):
            return self
        rows = zip(self.segments, self.by_segment(exposures).T, strict=True)
        parts = [replace(part, sizes=part.sizes.at_exposures(own)) for part, own in rows]
        return Collective(parts, self.terms, self.exposure_cap)

    def grown(self, times: Floats) -> Collective:
        """The same with all sizes of each segment so many times as large."""
        rows = zip(self.segments, times.tolist(), strict=True)
        parts = [replace(part, sizes=replace(part.sizes, level=part.sizes.level * by)) for part, by in rows]
        return Collective(parts, self.terms, self.exposure_cap)

    def zero_probability(self, exposures: Floats) -> Floats:
        """Probability that no event happens, by column."""
        table = self.by_segment(exposures)
        parts = [part.frequency.zero_probability(table[:, g]) for g, part in enumerate(self.segments)]
        return np.column_stack(parts).ravel()

    def events_per_period(self, exposures: Floats) -> float:
        """Expected number of events, and at least one for each column that has any."""
        means = self.means(exposures)
        return float((means + 1 - np.exp(-means)).sum())

    def draw(self, exceeded: Floats, column: Places, exposures: Floats, rng: np.random.Generator) -> Floats:
        """What the cover pays of the largest event and of smaller ones, of which there are as many as chance has it."""
        means, caps, found = self.means(exposures), self.caps(exposures), np.empty_like(exceeded)
        for g, part in enumerate(self.segments):
            own = column % len(self.segments) == g if len(self.segments) > 1 else slice(None)
            owner = column[own] // len(self.segments)
            if owner.size:
                mean = means[owner, g]
                chance = part.frequency.largest(exceeded[own], mean)
                further = np.cumsum(part.frequency.others(chance, mean, rng))
                count = rng.poisson(further[-1])
                at = np.searchsorted(further, rng.random(count) * further[-1], side="right").clip(0, chance.size - 1)
                smaller = chance[at] + rng.random(count) * (1 - chance[at])
                place = np.concatenate([np.arange(chance.size), at])
                losses = part.sizes.at(-np.log(np.concatenate([chance, smaller])), owner[place])
                found[own] = np.bincount(place, self._paid(losses, owner[place], caps[:, g]), chance.size)
        return found

    def add_events(
        self,
        rows: Floats,
        places: Places,
        g: int,
        counts: Counts,
        levels: Floats,
        shares: Floats,
        caps: Floats,
        rng: np.random.Generator,
    ) -> None:
        """Add what the cover pays of `counts[s]` events of segment `g` to `rows[places[s]]`, of (scenarios, columns).

        They have sizes exceeded with probability `exp(-levels)`; each hits a member by `shares`, which sum to one.
        """
        place = np.repeat(places, counts)
        owner = np.searchsorted(np.cumsum(shares), rng.random(place.size), side="right")
        owner = np.minimum(owner, np.flatnonzero(shares)[-1])
        _add(rows, place, owner * len(self.segments) + g, self.payments(g, levels, owner, caps))

    def add_shared_events(
        self,
        rows: Floats,
        places: Places,
        g: int,
        shocks: Shocks,
        means: Floats,
        caps: Floats,
        rng: np.random.Generator,
    ) -> None:
        """Add events of segment `g` to `rows[places]`: Poisson, of mean `means` times a scenario's shock."""
        total, part = float(means.sum()), self.segments[g]
        counts = rng.poisson(total * shocks.values)
        levels = part.alike.levels(counts, shocks.values / shocks.mean, shocks.size, rng)
        self.add_events(rows, places, g, counts, levels, means / total, caps, rng)

    def payments(self, g: int, levels: Floats, owner: Places, caps: Floats) -> Floats:
        """What the pool pays of events of each `owner` in segment `g` whose sizes are exceeded with `exp(-levels)`."""
        return self._paid(self.segments[g].sizes.at(levels, owner), owner, caps)

    def _paid(self, losses: Floats, owner: Places, caps: Floats) -> Floats:
        terms = self.terms
        if np.isfinite(caps).any():
            losses = np.minimum(losses, caps[owner])
        if not terms.retention.any() and np.isinf(terms.limit).all() and (terms.coinsurance == 1).all():
            return losses
        return pay(losses, terms.retention[owner], terms.limit[owner], terms.coinsurance[owner])

    def by_segment(self, columns: Any) -> Floats:
        """Values by column as (members, segments)."""
        return np.asarray(columns, dtype=np.float64).reshape(-1, len(self.segments))

    def mean_payments(self, exposures: Floats) -> Floats:
        """Expected payment of one event, (members, segments), without a sample."""
        caps, terms = self.caps(exposures), self.terms
        low, high = terms.retention, np.minimum((terms.retention + terms.limit)[:, None], caps)
        parts = self.moved(exposures).segments
        layers = [part.sizes.layer_means(low, high[:, g]) for g, part in enumerate(parts)]
        return np.column_stack(layers) * terms.coinsurance[:, None]

    def expected_losses(self, exposures: Floats) -> Floats:
        """What the pool pays in a period, (members, segments)."""
        return self.means(exposures) * self.mean_payments(exposures)

    def summary(self, exposures: Floats, columns: pd.Index[Any]) -> pd.DataFrame:
        """Events seen, frequency and severity fitted, credibility of both, expected payment and expected loss."""
        parts, members = self.moved(exposures).segments, len(self.terms.limit)
        frequency, payment = self.means(exposures), self.mean_payments(exposures)

        def each(values: list[Any]) -> Any:
            return np.column_stack([np.broadcast_to(value, (members,)) for value in values]).ravel()

        table = {
            "exposure": exposures,
            "events": each([part.events for part in parts]),
            "frequency": frequency.ravel(),
            "frequency_credibility": each([part.frequency.credibility_ for part in parts]),
            "frequency_size": each([part.frequency.size_ for part in parts]),
            "size_correlation": each([part.alike.share for part in parts]),
            "severity": each([type(part.sizes.law).__name__ for part in parts]),
            "severity_scale": each([part.sizes.relative for part in parts]),
            "severity_credibility": each([part.sizes.credibility for part in parts]),
            "severity_power": each([part.sizes.forms.power for part in parts]),
            "tail_shape": each([part.sizes.shape * part.sizes.forms.power for part in parts]),
            "cap": self.caps(exposures).ravel(),
            "zero_probability": self.zero_probability(exposures),
            "mean_payment": payment.ravel(),
            "expected_loss": self.expected_losses(exposures).ravel(),
        }
        return pd.DataFrame(table, index=columns)

    def flags(self) -> list[str]:
        """What must be known about the tails. ModelError for an infinite mean without a cap."""
        capped = self.exposure_cap is not None or bool(np.isfinite(self.terms.limit).all())
        return [flag for part in self.segments for flag in part.sizes.flags(capped)]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add(rows: Floats, places: Places, columns: Places, losses: Floats) -> None:
    """`rows[places, columns] += losses`, one after the other."""
    for k in range(places.size):
        rows[places[k], columns[k]] += losses[k]
