"""What is thought to be known of the plans that matter, once one is known that is nearly the best."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from calibrate.program.risk import RiskTerm

__all__ = ["CLOSE", "REACH", "Neighbourhood"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REACH, CLOSE = (
    0.6,
    0.9,
)  # decisions lie between this part of a good plan's, or of a nearly optimal one's, and one over it
LEAST = 0.01  # entries of `v`: up to one over `REACH` of it a decision may rise in any case
FULL = 0.95  # of what a decision may be in the neighbourhood: there it would be more outside


class Neighbourhood:
    """A box of plans `x <= most`, units, in which some kinks of the losses are known before anything is solved.

    A loss up to `covered` is covered, and one from `exceeded` on exceeds what its cell pays; `sure` tells of
    scenarios that are in the tail. A guess that a later plan contradicts is given up, so that none is wrong for ever.
    What is planted on guesses lies below the risk at every plan: they cost time when they are wrong, and no bound.
    """

    def __init__(self, own_rate: Floats, scale: Floats) -> None:
        self.own_rate, self.scale = own_rate, scale
        self.leave()

    def leave(self) -> None:
        """Nothing is known, or all guesses are given up."""
        self.open = True
        self.covered = np.zeros(len(self.own_rate))
        self.most = np.full(len(self.scale), np.inf)
        self.told: dict[RiskTerm, Ints] = {}

    def settle(self, x: Floats, reach: float) -> None:
        """Around a plan: `REACH` where it is good, `CLOSE` where it is nearly optimal."""
        self.open = False
        self.covered = reach * self.own_rate * x[: len(self.own_rate)]
        self.most = np.maximum(x, LEAST * self.scale) / reach

    def see(self, x: Floats, deep: Mapping[RiskTerm, Ints]) -> None:
        """Give up what a plan contradicts: it pays less than was covered, or all that it may.

        Scenarios are sure that were `deep` in the tail of their term at every plan so far.
        """
        own = len(self.own_rate)
        self.covered = np.where(self.own_rate * x[:own] < self.covered, 0.0, self.covered)
        self.loosen(x)
        if not self.open:
            known = {term: np.intersect1d(sure, deep[term]) for term, sure in self.told.items()}
            self.told = {**deep, **known}

    def loosen(self, x: Floats) -> bool:
        """Give up the edges that a plan reaches; says whether it reaches any."""
        full = self.full(x)
        self.give_up(full)
        return len(full) > 0

    def full(self, x: Floats) -> Ints:
        """Decisions of a plan that lie at an edge."""
        return np.flatnonzero((x >= FULL * self.most) & np.isfinite(self.most))

    def give_up(self, decisions: Ints) -> None:
        """These decisions may be as large as they like."""
        self.most[decisions] = np.inf
        if (decisions >= len(self.own_rate)).any():  # a reserve that grows takes scenarios out of the tail
            self.told = {term: sure[:0] for term, sure in self.told.items()}

    def sure(self, term: RiskTerm) -> Ints:
        """Scenarios that are taken to be in the tail of a term."""
        return self.told.get(term, np.zeros(0, dtype=np.int64))

    @property
    def exceeded(self) -> Floats:
        """What each cell pays at most in the box."""
        most = self.most[: len(self.own_rate)]
        known = np.isfinite(most)
        return np.where(known, self.own_rate * np.where(known, most, 0.0), np.inf)

    @property
    def cap(self) -> Floats:
        """The box in entries of `v`."""
        held = self.scale == 0
        return np.where(held, np.inf, self.most / np.where(held, 1.0, self.scale))
