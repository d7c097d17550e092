"""Lines through log-losses that members and periods have something of in common, by generalized least squares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibrate.models.arrays import Floats
from calibrate.models.doubts import shared_scatter
from calibrate.models.pooling import pooled_means

__all__ = ["mixed_products"]

Places = npt.NDArray[np.intp]

TOLD = 10  # losses beyond one of each member, from which the members' own scatter is told
ROUNDS = 3  # of what members and periods have in common, and of the line


def mixed_products(X: Floats, logs: Floats, owner: Places, when: Places) -> tuple[Floats, float] | None:
    """`[X y]' V^-1 [X y]`, `y` the logs less their mean, and the variance of a loss about the line.

    `y = X b + u[member] + v[period] + e`, all of them normal, `V` the covariance over that of `e`: the coefficients
    solve the products, and have that variance times the inverse of those of `X`. None where nothing scatters about the
    line, or columns of `X` say the same. Source: Henderson 1975, Biometrics 31 (mixed models).
    """
    (members, who), (seen, at) = (np.unique(each, return_inverse=True) for each in (owner, when))
    counts = np.zeros((members.size, seen.size))
    np.add.at(counts, (who, at), 1.0)
    if np.linalg.matrix_rank(X) < X.shape[1]:
        return None
    y = logs - logs.mean()
    line = np.linalg.lstsq(X, y)[0]
    for _ in range(ROUNDS):
        variance, *common = _scatter(y - X @ line, who, at)
        if not variance > 1e-24 * float(np.ptp(logs)) ** 2:
            return None
        Q = _products(np.column_stack([X, y]), who, at, counts, *common)
        line = np.linalg.solve(Q[:-1, :-1], Q[:-1, -1])
    return Q, variance


def _scatter(left: Floats, who: Places, at: Places) -> tuple[float, float, float]:
    """Variances of what is left over a line: of a loss, and over that what members and periods have in common.

    Where hardly a member has two losses, nothing tells its own scatter from that of all.
    """
    count = np.bincount(who).astype(np.float64)
    freedom, members, variance = left.size - count.size - 1, 0.0, float(left @ left) / (left.size - 2)
    if freedom >= TOLD and count.size > 1:
        means = np.bincount(who, left) / count
        variance = float(((left - means[who]) ** 2).sum()) / freedom
        if not variance > 0:
            return 0.0, 0.0, 0.0
        pooled, _, credibility = pooled_means(means, variance / count)
        one = int(np.argmax(count))
        members = float(credibility[one] / (1 - credibility[one]) / count[one])
        left = left - pooled[who]
    share = shared_scatter([left[at == period] for period in range(int(at.max()) + 1)])
    if not share < 1:  # all of it, as where one loss alone differs: nothing is left to judge by
        return 0.0, 0.0, 0.0
    return variance * (1 - share), members / (1 - share), share / (1 - share)


def _products(X: Floats, who: Places, at: Places, counts: Floats, members: float, periods: float) -> Floats:
    """`X' V^-1 X` for `V = 1 + members Z Z' + periods P P'`, `Z` and `P` saying whose and when a loss is."""
    by_member, by_period = (np.column_stack([np.bincount(k, x) for x in X.T]) for k in (who, at))
    taken = members / (1 + members * counts.sum(axis=1))
    found = X.T @ X - by_member.T @ (taken[:, None] * by_member)
    if periods > 0:
        left = by_period - counts.T @ (taken[:, None] * by_member)
        inner = np.diag(counts.sum(axis=0) + 1 / periods) - counts.T @ (taken[:, None] * counts)
        found -= left.T @ np.linalg.solve(inner, left)
    return np.asarray(found)
