"""The waterfall: layers that pay one after the other, and what each leaves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from calibrate.errors import ProblemError
from calibrate.program.passes import left
from calibrate.program.plan import Plan
from calibrate.program.risk import Kind

__all__ = ["Cascade", "Layer", "OwnContribution", "PoolReserve", "SegmentReserve", "Stage", "Waterfall"]

Floats = npt.NDArray[np.float64]


class Stage(IntEnum):
    """Where a layer stands: it pays for one member in one segment, for a segment, or for the pool."""

    MEMBER = 0
    SEGMENT = 1
    POOL = 2


class Layer(ABC):
    """Pays up to `amount`, leaves `(x - amount)+`: convex and non-decreasing in `x`, so layers compose.

    A new layer is one class: its `stage` and an amount that is affine in the plan, and of no rate or fixed part below
    zero. What pays for a member is proved where it is a multiple of the member's own contribution to the segment; with
    a fixed part, or another's money, it is solved written out: slower, for smaller pools, and without a certificate.
    """

    stage: ClassVar[Stage]

    @abstractmethod
    def amount(self, plan: Plan) -> cp.Expression:
        """Most that the layer pays, money: shape (members, segments), (segments,) or () by its stage."""

    def __repr__(self) -> str:
        return type(self).__name__  # an address in memory would be another one in each run


@dataclass(frozen=True)
class OwnContribution(Layer):
    """Defaulter pays: what a member has posted covers its own loss first."""

    stage: ClassVar[Stage] = Stage.MEMBER

    def amount(self, plan: Plan) -> cp.Expression:
        """`c[i, g]`."""
        return plan.cells


@dataclass(frozen=True)
class SegmentReserve(Layer):
    """The reserve of a segment, `r[g]`."""

    stage: ClassVar[Stage] = Stage.SEGMENT

    def amount(self, plan: Plan) -> cp.Expression:
        """`r[g]`."""
        return plan.segment_reserves


@dataclass(frozen=True)
class PoolReserve(Layer):
    """The reserve of the pool, `r0`: skin in the game, treasury."""

    stage: ClassVar[Stage] = Stage.POOL

    def amount(self, plan: Plan) -> cp.Expression:
        """`r0`."""
        return plan.pool_reserve


@dataclass(frozen=True)
class Waterfall:
    """Layers in the order in which they pay.

    What they leave, with `a` the worth of posted collateral:

        mutualised  U = (sum_g (sum_i (L - a c)+ - r)+ - r0)+     falls on the other members
        shortfall   T = (sum_g (sum_i (L - a c)  - r)+ - r0)+     nobody is left to pay

    A contribution to a segment pays in that segment only. Without `OwnContribution` (a mutual) contributions are
    pooled from the start and only the shortfall is defined.

    >>> Waterfall((OwnContribution(), PoolReserve())).defaulter_pays
    True
    """

    layers: tuple[Layer, ...] = (OwnContribution(), PoolReserve())

    def __post_init__(self) -> None:
        layers = tuple(self.layers) if isinstance(self.layers, Iterable) else (self.layers,)
        for layer in layers:
            if not isinstance(layer, Layer):
                raise ProblemError(f"a waterfall holds {layer!r}, expected layers such as OwnContribution()")
            if getattr(layer, "stage", None) not in tuple(Stage):
                raise ProblemError(f"{layer}: stage is not said, expected Stage.MEMBER, Stage.SEGMENT or Stage.POOL")
        twice = [layer for k, layer in enumerate(layers) if layer in layers[:k]]
        if twice:
            raise ProblemError(f"a waterfall holds {twice[0]!r} twice, but its money pays once; name it once")
        object.__setattr__(self, "layers", layers)
        stages = [layer.stage for layer in self.layers]
        if stages != sorted(stages):
            order = ", ".join(type(layer).__name__ for layer in self.layers)
            raise ProblemError(
                f"layers pay in the order {order}, but a layer of the pool cannot pay before one of a segment, "
                "nor that before one of a member: once losses are added up nobody knows whose they were"
            )

    def has(self, kind: type[Layer]) -> bool:
        """Whether a layer of this class is among the layers."""
        return any(isinstance(layer, kind) for layer in self.layers)

    def reserve_names(self, segments: Sequence[str]) -> tuple[str, ...]:
        """Names of the reserves that are decided: those of the segments, then "pool"."""
        own = tuple(segments) if self.has(SegmentReserve) else ()
        return (*own, *(("pool",) if self.has(PoolReserve) else ()))

    def has_stage(self, stage: Stage) -> bool:
        """Whether a layer pays at this stage."""
        return any(layer.stage == stage for layer in self.layers)

    @property
    def defaulter_pays(self) -> bool:
        """Whether a member's own contribution pays first for its loss."""
        return self.has_stage(Stage.MEMBER)

    def amount(self, stage: Stage, plan: Plan) -> cp.Expression | None:
        """All that the layers of one stage pay together: `((x - a)+ - b)+ = (x - a - b)+`. None if there are none."""
        shape = {Stage.MEMBER: plan.cells.shape, Stage.SEGMENT: plan.segment_reserves.shape, Stage.POOL: ()}[stage]
        amounts = [layer.amount(plan) for layer in self.layers if layer.stage == stage]
        shaped = [one if one.shape == shape else cp.reshape(one, shape, order="C") for one in amounts]
        return sum(shaped[1:], start=shaped[0]) if shaped else None


@dataclass(frozen=True, eq=False)
class Cascade:
    """A waterfall at a plan, as numbers: `own[i, g]`, `segment[g]`, `pool` are what the three stages pay at most."""

    own: Floats
    segment: Floats
    pool: float
    defaulter_pays: bool

    @classmethod
    def of(cls, waterfall: Waterfall, plan: Plan) -> Cascade:
        """The amounts of a waterfall at a plan of constants."""

        def value(stage: Stage, otherwise: cp.Expression) -> Floats:
            amount = waterfall.amount(stage, plan)
            return np.asarray((otherwise if amount is None else amount).value, dtype=float)

        n_segments = plan.cells.shape[1]
        return cls(
            own=value(Stage.MEMBER, plan.cells),
            segment=value(Stage.SEGMENT, cp.Constant(np.zeros(n_segments))),
            pool=float(value(Stage.POOL, cp.Constant(0.0))),
            defaulter_pays=waterfall.defaulter_pays,
        )

    def leaves(self, kind: Kind, losses: Floats, collateral: Floats | None) -> Floats:
        """What is left in each scenario, money.

        Parameters
        ----------
        losses : (scenarios, members x segments); collateral : (scenarios, members) or None.
        """
        return np.maximum(left(kind, losses, collateral, self.own.ravel(), self.segment, self.pool), 0.0)
