"""The cone in which the slacks of the rules live: an orthant and second-order cones, with Nesterov-Todd scaling.

Formulas of Vandenberghe, "The CVXOPT linear and quadratic cone program solvers" (2010), sections 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from calibrate.program.dense import Place

__all__ = ["Cone", "Scaling", "SecondOrder"]

Floats = npt.NDArray[np.float64]

SHORTEST = 1e-14  # step: below it there is none


@dataclass(frozen=True)
class Cone:
    """`R+^orthant x Q^sizes[0] x Q^sizes[1] x ...`; vectors are stacked in this order."""

    orthant: int
    sizes: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Length of a vector."""
        return self.orthant + sum(self.sizes)

    @property
    def degree(self) -> int:
        """Number of complementarity pairs: one for each entry of the orthant and each second-order cone."""
        return self.orthant + len(self.sizes)

    @cached_property
    def blocks(self) -> list[slice]:
        """The second-order cones as slices of a vector."""
        ends = np.cumsum([self.orthant, *self.sizes])
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]

    @cached_property
    def identity(self) -> Floats:
        """The vector `e` of the Jordan product."""
        e = np.zeros(self.size)
        e[: self.orthant] = 1.0
        for block in self.blocks:
            e[block.start] = 1.0
        return e

    def inside(self, x: Floats, margin: float) -> Floats:
        """`x` pushed into the cone by `margin` if it is outside or too close to the edge."""
        y = x.copy()
        y[: self.orthant] = np.maximum(y[: self.orthant], margin)
        for block in self.blocks:
            y[block.start] = max(y[block.start], float(np.linalg.norm(y[block][1:])) + margin)
        return y

    def product(self, x: Floats, y: Floats) -> Floats:
        """Jordan product."""
        z = np.asarray(x * y)
        for block in self.blocks:
            a, b = x[block], y[block]
            z[block] = a[0] * b + b[0] * a
            z[block.start] = a @ b
        return z

    def divide(self, x: Floats, y: Floats) -> Floats:
        """The `z` with `product(x, z) = y`."""
        if not self.sizes:
            return np.asarray(y / x)
        z = np.empty_like(y)
        z[: self.orthant] = y[: self.orthant] / x[: self.orthant]
        for block in self.blocks:
            a, b = x[block], y[block]
            determinant = a[0] ** 2 - a[1:] @ a[1:]
            first = (a[0] * b[0] - a[1:] @ b[1:]) / determinant
            z[block] = np.append(first, (b[1:] - first * a[1:]) / a[0])
        return z

    def fall(self, x: Floats, dx: Floats) -> float:
        """One over the largest `alpha` with `x + alpha dx` in the cone, 0 if there is none."""
        n = self.orthant
        fall = -float((dx[:n] / x[:n]).min(initial=0.0))
        for block in self.blocks:
            fall = max(fall, 1 / max(_longest_step_second_order(x[block], dx[block]), SHORTEST))
        return fall


def _longest_step_second_order(x: Floats, dx: Floats) -> float:
    """First root of `(x0 + a dx0)^2 = |x1 + a dx1|^2` that leaves the cone."""
    a = dx[0] ** 2 - dx[1:] @ dx[1:]
    b = x[0] * dx[0] - x[1:] @ dx[1:]
    c = max(float(x[0] ** 2 - x[1:] @ x[1:]), 1e-300)
    discriminant = b * b - a * c
    candidates = [np.inf]
    if dx[0] < 0:
        candidates.append(-x[0] / dx[0])
    if discriminant >= 0:
        q = -(b + np.copysign(np.sqrt(discriminant), b))
        candidates += [root for root in ((q / a) if a else np.inf, (c / q) if q else np.inf) if root > 0]
    return float(min(candidates))


class SecondOrder:
    """The second-order cones of the rules in Newton's equations. All other rules are in `dense`."""

    def __init__(self, cone: Cone, G: Floats, place: Place, moves: Place) -> None:
        rows = slice(cone.orthant, None)
        self.cone, self.G, self.rows = Cone(0, cone.sizes), G[rows], rows
        self.s, self.z = place.rule_slack[rows], place.rule[rows]
        self.ds, self.dz = moves.rule_slack[rows], moves.rule[rows]

    def curvature(self) -> Floats:
        """`G' W^-2 G` at the place."""
        if not self.cone.sizes:
            return np.zeros((self.G.shape[1],) * 2)
        self.scaling = Scaling(self.cone, self.s, self.z)
        scaled = self.scaling.over(self.G)
        return np.asarray(scaled.T @ scaled)

    def aim(self, target: float, second: float, residual: Floats, rhs: Floats) -> None:
        """What the products go to, less `second` times the second-order term of the moves; adds its push to `rhs`."""
        if not self.cone.sizes:
            return
        cone, scaling = self.cone, self.scaling
        aim = target * cone.identity - cone.product(scaling.lam, scaling.lam)
        if second > 0:
            aim -= second * cone.product(scaling.over(self.ds), scaling.times(self.dz))
        self.to_cone = cone.divide(scaling.lam, aim)
        rhs[: self.G.shape[1]] -= self.G.T @ scaling.over(scaling.over(residual[self.rows]) + self.to_cone)

    def move(self, reach: Floats) -> None:
        """Moves of the multipliers from those of the slacks, and both in `reach`."""
        if not self.cone.sizes:
            return
        self.dz[:] = self.scaling.over(self.to_cone - self.scaling.over(self.ds))
        reach[0] = max(reach[0], self.cone.fall(self.s, self.ds))
        reach[1] = max(reach[1], self.cone.fall(self.z, self.dz))
        reach[2:] += self.ds @ self.z, self.s @ self.dz, self.ds @ self.dz


class Scaling:
    """The matrix `W` of second-order cones with `lam = W z = W^-1 s`."""

    def __init__(self, cone: Cone, s: Floats, z: Floats) -> None:
        self.blocks = cone.blocks
        self.points = [_point(s[block], z[block]) for block in cone.blocks]
        self.lam = self.times(z)

    def times(self, x: Floats) -> Floats:
        """`W x`, of a vector or of the columns of a matrix."""
        return self._apply(x, 1.0)

    def over(self, x: Floats) -> Floats:
        """`W^-1 x`."""
        return self._apply(x, -1.0)

    def _apply(self, x: Floats, sign: float) -> Floats:
        y = np.empty_like(x)
        for block, (beta, w) in zip(self.blocks, self.points, strict=True):
            head, tail = x[block][0], x[block][1:]
            inner = w[1:] @ tail
            first = w[0] * head + sign * inner
            rest = tail + np.multiply.outer(w[1:], sign * head + inner / (1 + w[0]))
            y[block] = np.concatenate([np.atleast_1d(first) if x.ndim == 1 else first[None], rest]) * beta**sign
        return y


def _point(s: Floats, z: Floats) -> tuple[float, Floats]:
    """Scaling point of one second-order cone: its size and its unit hyperbolic direction."""
    s_norm = np.sqrt(max(float(s[0] ** 2 - s[1:] @ s[1:]), 1e-300))
    z_norm = np.sqrt(max(float(z[0] ** 2 - z[1:] @ z[1:]), 1e-300))
    a, b = s / s_norm, z / z_norm
    gamma = np.sqrt((1 + a @ b) / 2)
    w = (a + np.append(b[0], -b[1:])) / (2 * gamma)
    return float(np.sqrt(s_norm / z_norm)), w
