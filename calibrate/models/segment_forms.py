"""How far losses of a segment scatter against those of all: the form of all segments, to a power of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from calibrate.models.arrays import Floats
from calibrate.models.forms import Scatter

__all__ = ["powers_of", "raised_to", "scatter_by", "segment_powers"]

Places = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

# Deviation of the log of what scatters between segments: none, as likely as any other together.
UNLIKE = np.append(0.0, (np.arange(20) + 0.5) / 20)
PRIOR = np.append(0.5, np.full(20, 0.5 / 20))
# Mean square of distances over their mean, less 1: above it a scatter rests on a loss or two (of normal logs it is .57,
# of exponential ones 1), and tells no power: raised to one over it that loss would make the tail of all segments.
RESTS = 2.5


def segment_powers(logs: Floats, segment: Places, when: Places, segments: int) -> tuple[Floats, Floats]:
    """Powers of segments on the form of all of them, and how far these are open: deviation of the log, over that of
    what the losses of the segment alone leave open (0: who has too few, whose power is 1).

    As of members (`forms_of`), but no test decides: that segments scatter alike is as likely before the data as that
    they do not, by a `tau` of up to a factor of e; `Z m + (1 - Z) collective`, `Z = tau^2 / (tau^2 + v)`, is weighted
    by the likelihood of `tau` (normal means, the collective integrated over).

    >>> rng, segment = np.random.default_rng(0), np.repeat([0, 1], [600, 40])
    >>> logs = np.where(segment, 1.8, 0.7) * rng.standard_normal(640)
    >>> powers, _ = segment_powers(logs, segment, np.arange(640), 2)
    >>> round(float(powers[1] / powers[0]), 1)
    2.6
    """
    scatter = Scatter.of(logs, segment, when)
    power, doubt = np.ones(segments), np.zeros(segments)
    if scatter is None:
        return power, doubt
    means, variances = scatter.logs(segments)
    squares = np.bincount(scatter.owner, scatter.off**2) / scatter.counts
    variances[scatter.members[squares > RESTS]] = np.inf
    own = np.isfinite(variances)
    if own.sum() < 2:
        return power, doubt
    m, v = means[own], variances[own]
    w = 1 / (v + UNLIKE[:, None] ** 2)
    off = m - (w @ m / w.sum(axis=1))[:, None]
    likelihood = (np.log(w).sum(axis=1) - np.log(w.sum(axis=1)) - (w * off**2).sum(axis=1)) / 2
    chances = PRIOR * np.exp(likelihood - likelihood.max())
    chances /= chances.sum()
    trusted = UNLIKE[:, None] ** 2 * w
    power[own] = np.exp(chances @ (trusted * off))
    left = chances @ (trusted * v + (trusted * off) ** 2) - np.log(power[own]) ** 2
    doubt[own] = np.sqrt(np.maximum(left, 0.0) / v)
    return power, doubt


def powers_of(standard: Sequence[Floats], times: Sequence[Places], known: Sequence[Bools]) -> tuple[Floats, Floats]:
    """Powers of the segments, and how far they are open; losses that are lower bounds tell nothing of a scatter."""
    told = [g for g, at_least in enumerate(known) if not at_least.any()]
    power, doubt = np.ones(len(standard)), np.zeros(len(standard))
    if told:
        logs = [np.log(standard[g]) for g in told]
        owner = np.repeat(np.arange(len(told)), [each.size for each in logs])
        centred = np.concatenate([each - each.mean() for each in logs])
        power[told], doubt[told] = segment_powers(centred, owner, np.concatenate([times[g] for g in told]), len(told))
    return power, doubt


def raised_to(power: float) -> str:
    """What is said of a power that differs from 1."""
    return f", to the power {power:.2f}: so far its losses scatter beside those" if f"{power:.2f}" != "1.00" else ""


def scatter_by(losses: Floats, weights: Floats) -> float:
    """How far log-losses scatter if they have these weights, over how far they do."""
    logs = np.log(losses)
    distances = np.abs(logs - np.median(logs))
    return float(np.average(distances, weights=weights) / distances.mean()) if distances.any() else 1.0
