"""The collective model of an event history: how often, how large, what the pool pays of each event."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats
from calibrate.models.coverage import Terms, pay
from calibrate.models.frequency import Frequency
from calibrate.models.margins import Margins
from calibrate.models.pooling import pooled_means, pooled_variances
from calibrate.models.severity import LogNormal, Severity, Spliced

__all__ = ["CollectiveMargins", "Segment", "fit_segment"]

NEAR_ONE = 0.8  # tail shapes from here to 1 have a mean that no sample shows
THICK = 200  # losses of a segment from which its tail is fitted apart


@dataclass(frozen=True)
class Segment:
    """What was fitted to one segment: counts by member, one severity law, and each member's scale on it."""

    name: str
    frequency: Frequency
    severity: Severity
    scale: Floats
    scale_credibility: Floats
    events: Floats
    thin: bool

    @property
    def shape(self) -> float:
        """Shape of the severity's tail; NaN for a family without one."""
        return float(getattr(self.severity, "shape_", math.nan)) if self.has_tail else math.nan

    @property
    def has_tail(self) -> bool:
        """Whether the severity has a generalized Pareto tail."""
        return hasattr(self.severity, "tail_") or hasattr(self.severity, "threshold_")


def fit_segment(
    name: str,
    counts: Floats,
    exposures: Floats,
    losses: Floats,
    owner: np.ndarray,
    frequency: Frequency,
    severity: Severity | None,
) -> Segment:
    """Fit counts (periods, members) and losses (with the member's position in `owner`) of one segment.

    A loss of member i is `s[i] X`: the law of `X` is the segment's, fitted to all members' losses over their scales;
    `log s[i]` is the credibility mean of the member's log-losses less the segment's. A member without losses has the
    segment's scale; one with few of them most of it.
    """
    if not losses.size:
        raise ModelError(
            f"segment {name!r}: no loss in any period, so neither frequency nor severity can be told; "
            "join it with another segment, or leave it out"
        )
    try:
        fitted = clone(frequency).fit(counts, exposure=exposures)
        scale, credibility = _scales(np.log(losses), owner, counts.shape[1])
        thin = severity is None and losses.size < THICK
        law = clone(severity) if severity is not None else LogNormal() if thin else Spliced()
        law = law.fit(losses / scale[owner])
    except ModelError as error:
        raise ModelError(f"segment {name!r}: {error}") from error
    return Segment(name, fitted, law, scale, credibility, counts.sum(axis=0), thin)


def _scales(logs: Floats, owner: np.ndarray, members: int) -> tuple[Floats, Floats]:
    count = np.bincount(owner, minlength=members).astype(np.float64)
    centre = logs.mean()
    means = np.bincount(owner, logs - centre, members) / np.maximum(count, 1)
    scatter = np.bincount(owner, (logs - centre - means[owner]) ** 2, members)
    freedom = np.maximum(count - 1, 0)
    raw = np.where(freedom > 0, scatter / np.maximum(freedom, 1), 0.0)
    variances, _ = pooled_variances(np.where(raw > 1e-24, raw, 0.0), freedom)
    if not (variances > 0).any():  # constant or single losses: members cannot be told apart
        return np.ones(members), np.zeros(members)
    of_mean = np.where(count > 0, variances / np.maximum(count, 1), np.inf)
    pooled, collective, credibility = pooled_means(means, of_mean)
    if (count > 0).sum() == 1:
        return np.ones(members), credibility
    return np.exp(pooled - collective), credibility


class CollectiveMargins(Margins):
    """`S = sum_{k <= N} pay(min(s X_k, cap))`, N by member and segment, X by segment, all independent."""

    def __init__(self, segments: list[Segment], terms: Terms, exposure_cap: float | None) -> None:
        self.segments = segments
        self.terms = terms
        self.exposure_cap = exposure_cap

    def caps(self, exposures: Floats) -> Floats:
        """The most that one event can cost each column before coverage."""
        return np.full(exposures.size, math.inf) if self.exposure_cap is None else self.exposure_cap * exposures

    def zero_probability(self, exposures: Floats) -> Floats:
        """Probability that no event happens, by column."""
        table = self._by_segment(exposures)
        return self._flat([part.frequency.zero_probability(table[:, g]) for g, part in enumerate(self.segments)])

    def events_per_period(self, exposures: Floats) -> float:
        """Expected number of events, and at least one for each column that has any."""
        means = self._means(exposures)
        return float((means + 1 - np.exp(-means)).sum())

    def draw(self, counts: np.ndarray, exposures: Floats, rng: np.random.Generator) -> Floats:
        """Number of events given at least one, their losses, the cover's payments, added up."""
        means, caps, order = self._means(exposures), self.caps(exposures), self._by_segment(np.arange(exposures.size))
        result = np.empty(int(counts.sum()))
        start = np.concatenate([[0], np.cumsum(counts)])
        for g, part in enumerate(self.segments):
            columns = order[:, g].astype(int)
            numbers = [
                part.frequency.positive_quantiles(rng.random(counts[j]), means[j])
                if counts[j]
                else np.zeros(0, dtype=int)
                for j in columns
            ]
            events = np.array([number.sum() for number in numbers])
            if not events.sum():
                continue
            losses = part.severity.sample(int(events.sum()), rng) * np.repeat(part.scale, events)
            paid = self._pay(losses, columns, events, caps)
            number = np.concatenate(numbers)
            sums = np.add.reduceat(paid, np.concatenate([[0], np.cumsum(number)[:-1]]))
            for j, piece in zip(columns, np.split(sums, np.cumsum(counts[columns])[:-1]), strict=True):
                result[start[j] : start[j + 1]] = piece
        return result

    def _pay(self, losses: Floats, columns: np.ndarray, events: np.ndarray, caps: Floats) -> Floats:
        if np.isfinite(caps).any():
            losses = np.minimum(losses, np.repeat(caps[columns], events))
        terms = self.terms
        if not terms.retention.any() and np.isinf(terms.limit).all() and (terms.coinsurance == 1).all():
            return losses
        return pay(losses, *(np.repeat(term, events) for term in vars(terms).values()))

    def _means(self, exposures: Floats) -> Floats:
        table = self._by_segment(exposures)
        return self._flat([part.frequency.mean(table[:, g]) for g, part in enumerate(self.segments)])

    def _by_segment(self, columns: Any) -> Floats:
        return np.asarray(columns, dtype=np.float64).reshape(-1, len(self.segments))

    def _flat(self, by_segment: list[Floats]) -> Floats:
        return np.column_stack(by_segment).ravel()

    def mean_payment(self, exposures: Floats) -> Floats:
        """Expected payment of one event, by column, in closed form of the severity."""
        caps = self._by_segment(self.caps(exposures))
        return self._flat([self._payments(part, caps[:, g]) for g, part in enumerate(self.segments)])

    def _payments(self, part: Segment, caps: Floats) -> Floats:
        terms = self.terms
        found = np.zeros(caps.size)
        for i, scale in enumerate(part.scale):
            low, top = terms.retention[i], min(terms.retention[i] + terms.limit[i], caps[i])
            if top > low:
                found[i] = terms.coinsurance[i] * scale * part.severity.layer_mean(low / scale, top / scale)
        return found

    def summary(self, exposures: Floats, columns: pd.Index) -> pd.DataFrame:
        """Events seen, frequency and severity fitted, credibility of both, expected payment and expected loss."""
        parts = self.segments
        frequency, payment = self._means(exposures), self.mean_payment(exposures)
        members = len(parts[0].scale)
        return pd.DataFrame(
            {
                "exposure": exposures,
                "events": self._flat([part.events for part in parts]),
                "frequency": frequency,
                "frequency_credibility": self._flat([part.frequency.credibility_ for part in parts]),
                "frequency_size": self._flat([np.full(members, part.frequency.size_) for part in parts]),
                "severity": [type(part.severity).__name__ for _ in range(members) for part in parts],
                "severity_scale": self._flat([part.scale for part in parts]),
                "severity_credibility": self._flat([part.scale_credibility for part in parts]),
                "tail_shape": self._flat([np.full(members, part.shape) for part in parts]),
                "cap": self.caps(exposures),
                "zero_probability": self.zero_probability(exposures),
                "mean_payment": payment,
                "expected_loss": frequency * payment,
            },
            index=columns,
        )

    def check_tails(self) -> tuple[str, ...]:
        """Flags of tails whose mean no sample shows; ModelError for an infinite mean without a cap."""
        capped = self.exposure_cap is not None or bool(np.isfinite(self.terms.limit).all())
        return tuple(flag for part in self.segments if (flag := _flag(part, capped)))


def _flag(part: Segment, capped: bool) -> str:
    """What must be known about a segment's tail; nothing if nothing."""
    family = type(part.severity).__name__
    tail = "" if math.isnan(part.shape) else f" of shape {part.shape:.3f}"
    what = f"segment {part.name!r}: the fitted {family} tail{tail}"
    if not part.severity.has_mean_ and not capped:
        raise ModelError(
            f"{what} is so heavy (shape >= 1) that its mean is infinite, and so is any CVaR. Cap the losses: by "
            "exposure_cap (with exposures), or by the limit of the coverage"
        )
    if not part.severity.has_mean_:
        return f"{what} (>= 1) has a finite mean only because losses are capped, and it rests on the cap"
    if part.thin:
        count = f"{int(part.events.sum())} losses are too few to fit a tail of its own (expected {THICK})"
        return f"segment {part.name!r}: {count}; LogNormal throughout, which may understate the tail"
    if part.shape >= NEAR_ONE:
        return f"{what} is near 1: sample means are too low, use the expected losses of the summary"
    return ""
