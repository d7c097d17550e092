"""Rules on loadings, contribution over expected loss `c_i / mu_i`. Who never loses has a fair contribution of 0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate.errors import ProblemError
from calibrate.program.fairness.base import (
    BROKEN,
    WRITTEN_UP_TO,
    GeneratedRule,
    Rule,
    alike,
    between,
    check_number,
    proportional,
    stacked,
)
from calibrate.program.plan import Plan

__all__ = ["CrossSubsidyCap", "GiniLimit", "GroupParity", "LoadingRatio", "SimilarMembers"]

Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class LoadingRatio(Rule):
    """Best and worst loading within a factor: `c_i <= limit * mu_i * min_j c_j / mu_j`."""

    limit: float

    def __post_init__(self) -> None:
        check_number("LoadingRatio", "limit", self.limit, low=1.0)

    def gap(self, plan: Plan) -> cp.Expression:
        """A row a member: the `t` of "exists t: t mu_i <= c_i <= limit t mu_i" is the smallest loading."""
        if not plan.losing.size:
            return stacked([0.0 * cp.reshape(plan.total, (1,), order="C"), *plan.of_lossless])
        if self.limit == 1.0:
            return alike(plan, plan.shares_of_loss)
        most = self.limit * plan.shares_of_loss[plan.losing] * cp.min(plan.loadings)
        return stacked([plan.contributions[plan.losing] - most, *plan.of_lossless])


@dataclass(frozen=True, eq=False)
class SimilarMembers(Rule):
    """Similar members, similar loading: `abs(c_i / mu_i - c_j / mu_j) <= lipschitz * d_ij * C / M` (Dwork et al. 2012).

    `distance` is a symmetric matrix over the members: a frame labelled by member, or rows in the pool's order.
    """

    distance: pd.DataFrame | npt.NDArray[np.float64] | list[list[float]]
    lipschitz: float

    def __post_init__(self) -> None:
        check_number("SimilarMembers", "lipschitz", self.lipschitz)

    def gap(self, plan: Plan) -> cp.Expression:
        """Two rows a pair, times `M`."""
        d = self._distances(plan)
        i, j = np.triu_indices(len(plan.losing), 1)
        if not i.size:
            return stacked([0.0 * cp.reshape(plan.total, (1,), order="C"), *plan.of_lossless])
        reach = self.lipschitz * d[plan.losing[i], plan.losing[j]] * plan.total
        return stacked([between(plan.loadings[i], plan.loadings[j], reach), *plan.of_lossless])

    def _distances(self, plan: Plan) -> npt.NDArray[np.float64]:
        n = len(plan.pool.members)
        frame = self.distance
        if isinstance(frame, pd.DataFrame):
            rows = [plan.pool.vector(frame[column], "SimilarMembers: distance") for column in frame.columns]
            columns = pd.Series(np.arange(len(rows)), index=frame.columns)
            order = plan.pool.vector(columns, "SimilarMembers: distance (columns)").astype(int)
            matrix: npt.NDArray[np.float64] = np.array(rows)[order]
        else:
            try:
                matrix = np.asarray(frame, dtype=float)
            except (TypeError, ValueError):
                raise ProblemError(f"SimilarMembers: distance is {frame!r}, expected a {n} x {n} matrix") from None
        if matrix.shape != (n, n) or not np.isfinite(matrix).all() or (matrix < 0).any():
            raise ProblemError(
                f"SimilarMembers: distance must be a {n} x {n} matrix of finite numbers >= 0, got {matrix.shape}"
            )
        if not np.allclose(matrix, matrix.T):
            raise ProblemError("SimilarMembers: distance must be symmetric")
        return matrix

    def __repr__(self) -> str:
        return f"SimilarMembers(lipschitz={self.lipschitz})"


@dataclass(frozen=True, eq=False)
class GroupParity(Rule):
    """Groups carry like loadings: `abs(c_G - mu_G C / M) <= tolerance * mu_G C / M` for every group `G`.

    `groups` maps each member to the name of its group.
    """

    groups: Mapping[Any, str] | pd.Series[str]
    tolerance: float

    def __post_init__(self) -> None:
        check_number("GroupParity", "tolerance", self.tolerance)
        if not isinstance(self.groups, Mapping | pd.Series):
            raise ProblemError(
                f"GroupParity: groups is a {type(self.groups).__name__}, expected {{member: group}}, or a Series by "
                "member"
            )

    def gap(self, plan: Plan) -> cp.Expression:
        """Two rows a group."""
        labels = pd.Series(self.groups)
        lists = [str(label) for label, given in labels.items() if not pd.api.types.is_scalar(given)]
        if lists:
            raise ProblemError(
                f"GroupParity: groups has several entries for {lists[0]!r}; expected the name of one group for each "
                "member, {member: group}"
            )
        nameless = [str(member) for member in labels.index[labels.isna()]]
        if nameless:
            raise ProblemError(f"GroupParity: groups has no group for {', '.join(nameless)}; name one for each member")
        names, codes = np.unique([str(label) for label in labels], return_inverse=True)
        code = plan.pool.vector(pd.Series(codes, index=labels.index), "GroupParity: groups").astype(int)
        membership = np.eye(len(names))[code].T
        shares = np.array([math.fsum(plan.shares_of_loss[row > 0]) for row in membership])
        return proportional(plan, membership, shares, self.tolerance)

    def __repr__(self) -> str:
        return f"GroupParity(groups={pd.Series(self.groups).astype(str).nunique()}, tolerance={self.tolerance})"


@dataclass(frozen=True)
class GiniLimit(GeneratedRule):
    """Inequality of loadings `r_i = c_i / mu_i`: `sum_ij abs(r_i - r_j) <= 2 n limit sum_i r_i`, the Gini index.

    Each of many members has rows for a few places in the order of loadings only (`_spread`), more where a plan breaks
    the limit in another order: `found` holds each member's first and last place in such orders, apart where they tie.
    """

    limit: float
    found: tuple[tuple[tuple[int, int], ...], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        check_number("GiniLimit", "limit", self.limit, high=1.0)

    def gap(self, plan: Plan) -> cp.Expression:
        """`sum_(i<j) abs(r_i - r_j) / n - limit sum r`, with loadings at the size of the pool, over `n`: money."""
        n = len(plan.losing)
        if n < 2:
            return stacked([0.0 * cp.reshape(plan.total, (1,), order="C"), *plan.of_lossless])
        if self.limit == 0.0:
            return alike(plan, plan.shares_of_loss)
        if self.searched(plan):
            spread = _spread(plan.loadings, self._places(n))
        else:
            i, j = np.triu_indices(n, 1)
            spread = cp.norm1(plan.loadings[i] - plan.loadings[j]) / n
        return stacked(
            [cp.reshape((spread - self.limit * cp.sum(plan.loadings)) / n, (1,), order="C"), *plan.of_lossless]
        )

    def refined(self, plan: Plan) -> GiniLimit | None:
        """Adds places near those that the members have in the order of the plan."""
        if not self.searched(plan) or self.gap(plan).value[0] <= BROKEN * plan.total.value:
            return None
        r = plan.loadings.value
        order = np.lexsort((plan.pool.rank[plan.losing], r))
        ends = np.searchsorted(r[order], r), np.searchsorted(r[order], r, side="right") - 1
        first, last = np.where(r > 0, ends, np.argsort(order))  # who pays nothing ties with nobody
        places = tuple(zip(first.tolist(), last.tolist(), strict=True))
        return None if places in self.found else replace(self, found=(*self.found, places))

    def searched(self, plan: Plan) -> bool:
        """Of more members than have all pairs written down."""
        return self.limit > 0.0 and len(plan.losing) ** 2 > WRITTEN_UP_TO

    def _places(self, n: int) -> Ints:
        """The places that each of `n` members may have, equally many, a row each: those found, and 1, 2, 4, ... away.

        Members with the same loading have their places among them in any proportions: with so few steps apart, from
        any of their places a member reaches all others.
        """
        near = np.zeros((n, n), dtype=bool)
        steps = 2 ** np.arange(max(n.bit_length() - 1, 0))
        for i, (first, last) in ((i, ends) for places in self.found for i, ends in enumerate(places)):
            for step in (0, *steps, *-steps):
                near[i, np.arange(first + step, last + step + 1) % n] = True
        most = int(near.sum(axis=1).max())
        return np.sort(np.argsort(~near, axis=1, kind="stable")[:, :most], axis=1)


def _spread(loadings: cp.Expression, places: Ints) -> cp.Expression:
    """`sum_(i<j) abs(r_i - r_j) / n` of `r >= 0`: in rising order `sum_k (2k - n + 1) r_k / n`, `k` from 0.

    No other order has a larger `sum_k k r_k`: an assignment of members to places, whose dual is `min sum u + sum v,
    u_i + v_k >= 2k r_i / n`, `u, v >= 0` (Birkhoff; `n^2` rows, but `2n` variables where the pairs need one each). With
    rows for some `places` `k` of each member `i` alone it is no more, and exact where the order of `r` is among them.
    """
    n = loadings.size
    if loadings.is_constant():
        found = cp.Constant(np.sort(loadings.value) @ np.arange(n)) * (2.0 / n)
    elif not places.size:
        found = cp.Constant(0.0)
    else:
        v = cp.hstack([np.zeros(1), cp.Variable(n - 1, nonneg=True)])
        beyond = [cp.multiply(2.0 * k / n, loadings) - v[k] for k in places.T]
        found = cp.sum(cp.maximum(np.zeros(n), *beyond)) + cp.sum(v)
    return found - (n - 1) / n * cp.sum(loadings)


@dataclass(frozen=True)
class CrossSubsidyCap(Rule):
    """Overpayment in all is limited: `sum_i (c_i - (1 + loading) mu_i)+ <= share * C`."""

    share: float
    loading: float = 0.0

    def __post_init__(self) -> None:
        check_number("CrossSubsidyCap", "share", self.share, high=1.0)
        check_number("CrossSubsidyCap", "loading", self.loading, low=-1.0)

    def gap(self, plan: Plan) -> cp.Expression:
        """One row."""
        fair = (1 + self.loading) * plan.pool.expected_losses
        return cp.sum(cp.pos(plan.contributions - fair)) - self.share * plan.total
