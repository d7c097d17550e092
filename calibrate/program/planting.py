"""The trees that are made of a tail, as far as it is not known what they come to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibrate.blocks import Blocks
from calibrate.program.alike import Bunches, alike, apart
from calibrate.program.forest import Forest, Grove, Planted
from calibrate.program.form import Program
from calibrate.program.risk import RiskTerm
from calibrate.program.sample import ASKED, Sample, different
from calibrate.program.sorting import Entries, Sorted, sorted_out
from calibrate.program.waterfall import Stage

__all__ = ["Guess", "plant"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEW_VALUES = 0.8  # of the losses that are different: from it on looking for equal scenarios is a waste


@dataclass(frozen=True, eq=False)
class Guess:
    """What is thought to be known of the plans that matter: by cell, units, and by scenario.

    A loss up to `covered` is covered, one from `exceeded` on exceeds what its cell pays; `sure` scenarios are in the
    tail. Whatever is guessed, what is planted lies below the risk term at every plan.
    """

    covered: Floats
    exceeded: Floats
    sure: Ints


def plant(program: Program, sample: Sample, term: RiskTerm, chosen: Ints, guess: Guess) -> Grove:
    """The forest of a term over the chosen scenarios; a kink for everything that is not known by the guess."""
    found, kinked = _found(program, sample, term, chosen, guess)
    sure = np.zeros(len(chosen), dtype=bool) if kinked else np.isin(chosen, guess.sure, assume_unique=True)
    weight = sample.probabilities[chosen] / (1 - term.level)
    every, certain = np.flatnonzero(~sure), np.flatnonzero(sure)  # where some are sure, a group is a scenario
    owner, alone = found.open.of(certain)
    whole, single = apart(len(every)), apart(len(owner))
    if sample.collateral is None and different(sample.losses[chosen[:ASKED]]) < FEW_VALUES:
        whole, single = _bunches(found, every, alone)
    rest = every[whole.first]
    weights = np.concatenate([whole.total(weight[every]), single.total(weight[certain[owner]])])
    forest = _forest(found, rest, alone.picked(single.first), weights, program.n_cells, kinked)
    item, lines = found.lines.of(certain)
    own = np.bincount(lines.cell, weight[certain[item]] * lines.worth, program.n_cells)
    mass = float(weight[sure].sum())
    line = np.concatenate([own, np.zeros(forest.n_coordinates - len(own) - 1), [mass]])
    constant = float(weight[sure] @ found.base[sure].sum(axis=1))
    planted = Planted(
        scenario=np.concatenate([every, certain[owner]]),
        alone=np.concatenate([np.full(len(every), -1), alone.cell]),
        tree=np.concatenate([whole.which, len(rest) + single.which]),
    )
    where = (found.lines.owners // found.base.shape[1], found.lines.cell) if term.of == "mutualised" else None
    return Grove(forest, line, constant, weight, sure, chosen, planted, where)


def _found(program: Program, sample: Sample, term: RiskTerm, chosen: Ints, guess: Guess) -> tuple[Sorted, bool]:
    """The losses of the chosen scenarios, sorted out, and whether their groups are kinks."""
    k, mutualised = len(program.pool.scenarios.segments), term.of == "mutualised"
    kinked = k > 1 and (not mutualised or program.waterfall.has_stage(Stage.SEGMENT))
    losses, at = sample.losses, chosen
    if isinstance(losses, Blocks) or not losses.flags.c_contiguous:
        losses, at = losses[chosen], np.arange(len(chosen))
        losses.setflags(write=False)  # else the kernels are compiled once more, for arrays that may be written to
    worth = np.zeros((len(chosen), 0)) if sample.collateral is None else sample.collateral[chosen]
    bounds = guess.covered, guess.exceeded
    return sorted_out(losses, at, worth, program.unit, bounds, mutualised, k if kinked else 1), kinked


def _bunches(found: Sorted, every: Ints, alone: Entries) -> tuple[Bunches, Bunches]:
    """Scenarios `every` that come to the same tree, and losses `alone` that do."""
    n_groups = found.base.shape[1]
    (a, open_), (b, lines) = (part.of(_groups(every, n_groups)) for part in (found.open, found.lines))
    base = found.base[every]
    s, g = np.nonzero(base)
    marks = np.ones(len(b))
    whole = alike(
        len(every), (a // n_groups, open_.cell, open_.loss), (b // n_groups, lines.cell, marks), (s, g, base[s, g])
    )
    row, first = np.arange(len(alone.cell)), np.zeros(len(alone.cell), dtype=np.int64)
    return whole, alike(len(row), (row, first, alone.cell + 1.0), (row, first, alone.loss))


def _groups(scenarios: Ints, n_groups: int) -> Ints:
    """The groups of some scenarios."""
    return np.asarray((scenarios[:, None] * n_groups + np.arange(n_groups)).ravel())


def _forest(found: Sorted, rest: Ints, alone: Entries, weight: Floats, cells: int, kinked: bool) -> Forest:
    """Trees of the scenarios `rest`, and losses `alone`, each a root of its own."""
    n_groups = found.base.shape[1]
    groups = _groups(rest, n_groups)
    (_, leaves), (_, ropes) = found.open.of(groups), found.lines.of(groups)
    one = np.arange(1, len(alone.cell) + 1)
    segments = np.tile(cells + np.arange(n_groups), len(rest)) if kinked else np.full(len(rest), -1)
    return Forest(
        groups_of=np.concatenate([np.arange(len(rest) + 1) * n_groups, len(rest) * n_groups + one]),
        leaves_of=np.concatenate([leaves.ends, np.full(len(one), leaves.ends[-1])]),
        lines_of=np.concatenate([ropes.ends, ropes.ends[-1] + one]),
        base=np.concatenate([found.base[rest].ravel(), alone.loss]),
        segment=np.concatenate([segments, np.full(len(one), -1)]),
        cell=leaves.cell,
        loss=leaves.loss,
        worth=leaves.worth,
        line_cell=np.concatenate([ropes.cell, alone.cell]),
        line_worth=np.concatenate([ropes.worth, alone.worth]),
        weight=weight,
        hung=np.concatenate([np.ones(len(rest)), np.zeros(len(one))]),
        group_kinks=kinked,
        n_coordinates=cells + (n_groups if kinked else 0) + 1,
    )
