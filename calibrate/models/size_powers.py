"""Sizes of losses that go with a power of the exposure of their own period, by segment.

Of a loss of member i in period t, at exposure `e`,

    log X = a + p log e[t, i] + b t + u[i] + v[t] + error,

all of them normal: `p` by generalized least squares, from members that differ and from members that move, each as far
as it tells (`mixed_products`). `b t` is there so that prices and exposures that both grow are not taken for a power.
What moves may go by another power than what differs: beside the members' mean logs `p` is that of those who move alone,
and is taken where the two are unlike. A power is taken where it is much likelier than none. Before the data losses in
all are in proportion: where numbers of events go with the power `c` (`Elastic`), `1 - c` is taken if it is clearly
likelier than none, and not clearly less likely than `p`. It counts as known.

Losses are fitted as at the mean exposure `r[i]` of their member, `X (r / e[t, i])^p`, and the scales of members are
those at `r (e / r)^p` ahead: scales, forms, trends, and what periods have in common are of what exposure leaves.
Source: Mundlak 1978, Econometrica 46 (groups that differ and move); Henderson 1975, Biometrics 31 (mixed models).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t

from calibrate.history import LossHistory
from calibrate.models.arrays import Floats
from calibrate.models.collective import Events
from calibrate.models.families import Asked
from calibrate.models.frequency import Elastic, NegativeBinomial
from calibrate.models.mixed_line import mixed_products
from calibrate.models.scales import MUCH_LIKELIER, completed
from calibrate.models.sizes import Sizes

__all__ = ["SizePower", "at_references", "moving", "told_powers"]

Places = npt.NDArray[np.intp]

FEWEST = 3.0  # degrees of freedom from which a power is told
UNLIKE = 0.1  # p-value from which those who move go by another power: what is lost if not is what differences tell
CLEARLY = 2.0  # difference of log-likelihoods from which losses in all are in proportion, or are not
MOST = 1.5  # power that losses tell, as of numbers of events; and none below zero
BEYOND = 2.0  # standard errors: an estimate so far from any such power tells of something else (a crisis, say)
STILL = 1e-9  # of a log exposure: less is none


@dataclass(frozen=True)
class SizePower:
    """Estimate of the power, its standard error and degrees of freedom."""

    power: float
    error: float
    freedom: float

    @classmethod
    def of(cls, logs: Floats, log_exposures: Floats, owner: Places, when: Places) -> SizePower | None:
        """From log-losses, with the exposure, member and period of each; None where too little differs or moves."""
        who = np.unique(owner, return_inverse=True)[1]
        count, x, drift = np.bincount(who), log_exposures - log_exposures.mean(), when - when.mean()
        means = (np.bincount(who, x) / count)[who]
        differ, move = np.ptp(means) > STILL, np.abs(x - means).max() > STILL
        both = _last(logs, owner, when, drift, x) if differ or move else None
        if both is None:
            return None
        freedom, within = count.size - 2.0, np.unique(when).size - 3.0
        alone = _last(logs, owner, when, drift, means, x) if differ and move else None
        if alone is not None:
            unlike = _last(logs, owner, when, drift, x, means)
            if unlike is not None and 2 * float(t.sf(abs(unlike[0]) / unlike[1], max(freedom, 1.0))) < UNLIKE:
                both = alone
            told = min((both[1] / alone[1]) ** 2, 1.0)  # share of what is known that those who move tell
            freedom = told * within + (1 - told) * freedom
        elif not differ:
            freedom = within
        return cls(*both, freedom) if freedom >= FEWEST else None

    @property
    def gain(self) -> float:
        """Log-likelihood over that of none, as a normal law of the same p-value has it."""
        p_value = 2 * float(t.sf(abs(self.power) / self.error, self.freedom))
        return float(norm.isf(max(p_value, 1e-300) / 2)) ** 2 / 2

    def beside(self, often: Elastic) -> float:
        """The power that is taken beside that of the numbers of events, which is known as far as its gain tells."""
        own = float(np.clip(self.power, 0.0, MOST)) if self.gain > MUCH_LIKELIER else 0.0
        if abs(self.power - own) > BEYOND * self.error:  # no power of exposure: something else went with it
            own = 0.0
        if not often.kept:
            return own
        in_proportion = 1 - often.coefficient_
        variance = self.error**2 + in_proportion**2 / (2 * often.gain_)
        missed = (self.power - in_proportion) ** 2 / (2 * variance)
        likely = missed <= CLEARLY and (own != 0 or self.gain - missed > CLEARLY)
        return in_proportion if likely else own


def _last(logs: Floats, owner: Places, when: Places, *columns: Floats) -> tuple[float, float] | None:
    """Coefficient of the last of these columns, beside the others and a level, and its standard error."""
    found = mixed_products(np.column_stack([np.ones(logs.size), *columns]), logs, owner, when)
    if found is None:
        return None
    inverse = np.linalg.inv(found[0][:-1, :-1])
    return float(inverse[-1] @ found[0][:-1, -1]), math.sqrt(found[1] * float(inverse[-1, -1]))


def told_powers(history: LossHistory, asked: Asked = None) -> dict[str, float]:
    """Of the segments of an event history whose sizes clearly go with exposures.

    A frequency that was `asked` for has numbers in proportion to exposure, whatever they tell (unless it is `Elastic`):
    there sizes have what that leaves of losses in all.
    """
    if history.events is None or history.exposures is None:
        return {}
    events, powers = Events.of(history, history.events, history.exposures.to_numpy()), {}
    for g, name in enumerate(events.segments):
        family = asked.get(name) if isinstance(asked, Mapping) else asked
        powers[name] = _power(events, g, in_proportion=not (family is None or isinstance(family, Elastic)))
    return {name: power for name, power in powers.items() if power != 0}


def _power(events: Events, g: int, in_proportion: bool) -> float:
    own = events.segment == g
    owner, when, bounds = events.owner[own], events.when[own], events.at_least[own]
    if bounds.all():
        return 0.0
    x = np.log(events.exposures[when, owner, g])
    logs = completed(events.segments[g], np.log(events.losses[own]), bounds, owner, np.log(events.references[:, g]))
    found = SizePower.of(logs, x, owner, when)
    if found is None or found.gain <= CLEARLY:
        return 0.0
    often = events.frequency(Elastic(NegativeBinomial()), g)
    if not isinstance(often, Elastic):
        return 0.0
    power = found.beside(often)
    if power and in_proportion and often.kept:
        return float(np.clip(power + often.coefficient_ - 1, 0.0, MOST))
    return power


def at_references(history: LossHistory, powers: Mapping[str, float]) -> LossHistory:
    """The history with the losses of these segments as they would be at the mean exposure of their member."""
    if not powers or history.events is None or history.exposures is None:
        return history
    table = Events.of(history, history.events, history.exposures.to_numpy())
    by_segment = np.array([powers.get(name, 0.0) for name in history.segments])
    there = table.exposures > 0
    ratio = np.where(there, table.references / np.where(there, table.exposures, 1.0), 1.0)
    return history.times((ratio**by_segment).reshape(len(ratio), -1))


def moving(sizes: Sequence[Sizes], powers: Mapping[str, float], references: Floats) -> list[Sizes]:
    """Sizes at references (members, segments) that move with exposures by these powers, and say so."""
    found = []
    for part, reference in zip(sizes, references.T, strict=True):
        power = powers.get(part.name, 0.0)
        told = f"another exposure of a member moves its losses by the power {power:+.2f}" if power else ""
        origin = "; ".join(filter(None, [part.origin, told]))
        found.append(replace(part, elasticity=power, reference=reference, origin=origin))
    return found
