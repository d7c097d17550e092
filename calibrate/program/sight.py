"""What a pass over all scenarios tells of a plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibrate.blocks import Blocks
from calibrate.program.compiled import Compiled
from calibrate.program.form import SAFE, Program
from calibrate.program.passes import left, tail_of
from calibrate.program.risk import Kind, RiskTerm
from calibrate.program.sample import Sample
from calibrate.program.tail import cvar, value_at_risk

__all__ = ["Sight", "View"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEW, SMALL = 100, 150  # scenarios more than the margin, of a tail that has fewer than these
MARGIN = 1.3  # working set over tail: room for the tail to move
EDGE = 1e-3  # units: scenarios so close to the value at risk may be in the tail or not
LEAST = 1 / 16  # of a tail that may be too large: so much of it may be taken at once
DEEP = 0.7  # of the tail: the worst scenarios, which are in it at all plans near
FAINT = 1e-16  # units that a scenario adds to a CVaR if nothing is paid: by so little no gap is ever missed


@dataclass(frozen=True, eq=False)
class Sight:
    """What a pass over all scenarios tells of a plan, by risk term: its tail with a margin, value at risk and risk."""

    tails: dict[RiskTerm, Ints]
    left: dict[RiskTerm, Floats]  # in the scenarios of each tail
    deep: dict[RiskTerm, Ints]  # the worst of each tail
    at_risk: Floats
    risks: Floats

    def worst(self, term: RiskTerm, known: Ints, most: float) -> Ints:
        """Scenarios of a tail that are not `known`; of many only the worst, `most` times as many as are known.

        Or as `FEW`, or a part `LEAST` of the tail, where that is more.
        """
        tail = self.tails[term]
        new = ~np.isin(tail, known, assume_unique=True)
        scenarios, left = tail[new], self.left[term][new]
        count = most * max(len(known), FEW, LEAST * len(tail))
        if count >= len(scenarios):
            return scenarios
        return scenarios[np.argpartition(left, -int(count))[-int(count) :]]


class View:
    """A program seen on a sample of scenarios; amounts in units."""

    def __init__(self, program: Program, form: Compiled, sample: Sample) -> None:
        self.program, self.form, self.sample = program, form, sample
        self.passes = 0

    def look(self, v: Floats, near: bool) -> Sight:
        """One pass over all scenarios; `near` the optimum, what is far from the edge of a tail is known to be so."""
        self.passes += 1
        lefts = self._left(v, self.sample.losses, self.sample.collateral)
        if self.sample.collateral is None:
            floors = self._left(v, np.zeros((1, self.program.n_cells)), None)
        else:
            floors = dict.fromkeys(lefts, np.array([-np.inf]))
        p = self.sample.probabilities
        tails, lefts_of, deep, at_risk, risks = {}, {}, {}, [], []
        for term in self.form.terms:
            values, cap = lefts[term.of], 1 - term.level
            margin = MARGIN * cap
            if cap * len(p) < SMALL:  # few scenarios: the next plan's tail may be quite another
                margin += FEW / len(p)
            tail = self._felt(tail_of(values, p, margin, float(floors[term.of][0])), cap)
            # What is not in the tail with its margin is no loss, or no part of the risk: it may count as zero.
            worst = np.append(np.maximum(values[tail], 0.0), 0.0)
            mass = np.append(p[tail], max(1.0 - float(p[tail].sum()), 0.0))
            tails[term] = tail
            edge = value_at_risk(worst, mass, term.level)
            deep[term] = tail[:0]
            if near:  # a reserve may leave but a part of the tail: the rest is far from mattering
                active = float(p[tail] @ (values[tail] > edge - EDGE))
                tails[term] = tail[tail_of(values[tail], p[tail], min(MARGIN * active + FEW / len(p), 1.0))]
                beyond = float(p[tail] @ (values[tail] > edge + EDGE))
                worst_of = tail[tail_of(values[tail], p[tail], DEEP * beyond)]
                # A scenario that alone is more than the tail is never all in it.
                deep[term] = worst_of if float(p[worst_of].sum()) < cap else tail[:0]
            lefts_of[term] = values[tails[term]]
            at_risk.append(edge)
            risks.append(cvar(worst, mass, term.level))
        return Sight(tails, lefts_of, deep, np.array(at_risk), np.array(risks))

    def _felt(self, tail: Ints, cap: float) -> Ints:
        """A tail without scenarios so unlikely that no plan would notice; a solver's numbers would run out of range."""
        weight = self.sample.probabilities[tail] / cap
        unlikely = np.flatnonzero(weight <= FAINT)
        if not unlikely.size:
            return tail
        gross = self.sample.losses[tail[unlikely]].sum(axis=1) / self.program.unit
        return np.delete(tail, unlikely[weight[unlikely] * gross <= FAINT])

    def _left(self, v: Floats, losses: Floats | Blocks, collateral: Floats | None) -> dict[Kind, Floats]:
        """What the waterfall leaves in every scenario, by kind, in units."""
        own, segment, pool = self.form.amounts.at(self.form.plan(v))
        unit, lefts = self.program.unit, {}
        for kind in {term.of for term in self.form.terms}:
            lefts[kind] = left(kind, losses, collateral, own * unit, segment * unit, pool * unit)
            lefts[kind] /= unit  # in place: memory that is touched for the first time costs as much as the arithmetic
        return lefts

    def price(self, v: Floats) -> float:
        """What a plan costs, limits apart, units, and nothing else."""
        lefts, p = self._left(v, self.sample.losses, self.sample.collateral), self.sample.probabilities
        risks = [cvar(np.maximum(lefts[term.of], 0.0), p, term.level) for term in self.form.terms]
        return self._costs(v, np.array(risks))

    def lift(self, v: Floats, sight: Sight) -> Floats:
        """The plan with each term's `t` at its value at risk."""
        v = v.copy()
        v[list(self.form.t)] = sight.at_risk
        return v

    def value(self, v: Floats, sight: Sight) -> float:
        """Objective over all scenarios, units; infinite where the plan misses a limit."""
        for row in self.form.rows:
            if row.q @ np.maximum(v, 0.0) + row.eta @ sight.risks > row.amount + SAFE * (1 + row.amount):
                return np.inf
        return self.cost(v, sight)

    def cost(self, v: Floats, sight: Sight) -> float:
        """Objective over all scenarios, limits apart, units."""
        return self._costs(v, sight.risks)

    def _costs(self, v: Floats, risks: Floats) -> float:
        return float(self.form.body.constant + self.form.body.q @ np.maximum(v, 0.0) + self.form.prices @ risks)
