"""What of a panel is the level of the pool and of its segments, and what the members' own scatter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import clone

from calibrate.models.arrays import Floats
from calibrate.models.pool_level import LocalLevel, PoolLevel
from calibrate.models.ratio import Ratio

__all__ = ["Apart", "told_apart"]

TOGETHER = 0.5  # chance, before the data, that a segment goes with the pool


@dataclass(frozen=True)
class Apart:
    """Ratios of the members, levels of the segments over the pool's, and of the columns ahead over the whole history's.

    `ahead[j] = W v[g] / sum_g w[g] v[g]`: `W` the pool's level ahead, `v` the segments' over it, `w` their share of
    the losses to be expected, so that the pool's loss is the one that its own level says.
    """

    ratio: Ratio
    segments: tuple[LocalLevel, ...]
    ahead: Floats


def told_apart(ratio: Ratio, level: PoolLevel, losses: Floats, exposures: Floats, segments: int = 1) -> Apart:
    """Fit ratio and level to a panel (periods, columns; segments of a member side by side).

    The level `m` is told from the pool's losses over what the ratio expects, that of a segment, `d`, from its losses
    over that and over the pool's. Members' scatter is told from losses at one level, `L[t, j] / exp(m[t] + d[t, g])`:
    that a level has wandered is none of theirs, and the scenarios' levels wander by themselves. Their means are those
    of the whole history.

    `d` is a local level too, which stands still with probability 1/2 before the data: `v = sum_k P(k | x) exp(d[k])`
    over the credibilities `k` of its latest period, `d = 0` where it stands still; near 1 where the history is too thin
    to tell the segment from the pool. A level that is known for certain is known of all segments.

    >>> from calibrate.models.ratio import LogNormalRatio
    >>> losses = np.exp(np.repeat([0.0, 1.0], 10))[:, None] * np.exp(0.1 * np.tile([[1.0, 0], [0, 1.0]], (10, 1)))
    >>> apart = told_apart(LogNormalRatio(), LocalLevel(), losses, np.ones_like(losses))
    >>> apart.ahead.round(1), bool(apart.ratio.log_deviation_.max() < 0.2)
    (array([1.5, 1.5]), True)
    """
    shape = len(losses), -1, segments
    whole = clone(ratio).fit(losses, exposure=exposures)
    expected = (exposures * whole.mean()).reshape(shape).sum(axis=1)
    level.fit(losses.sum(axis=1), exposure=expected.sum(axis=1))
    parts = tuple[LocalLevel, ...]()
    if segments > 1 and isinstance(level, LocalLevel):
        whole_pool = expected.sum(axis=1)  # 0 in a period without exposure, which tells nothing
        common = expected * (losses.sum(axis=1) / np.where(whole_pool > 0, whole_pool, 1.0))[:, None]
        seen = losses.reshape(shape).sum(axis=1)
        parts = tuple(LocalLevel(TOGETHER).fit(x, exposure=e) for x, e in zip(seen.T, common.T, strict=True))
    path = level.path_[:, None] + np.column_stack([part.path_ for part in parts] or [np.zeros((len(losses), segments))])
    steady = (losses.reshape(shape) * np.exp(-path)[:, None, :]).reshape(losses.shape)
    own = ratio.fit(steady, exposure=exposures).with_means(whole.mean())
    over = np.array([part.level_ for part in parts] or [1.0] * segments)
    weights = expected[-1] if expected[-1].any() else expected.sum(axis=0)
    over /= weights @ over / weights.sum()
    return Apart(own, parts, np.tile(level.level_ * over, losses.shape[1] // segments))
