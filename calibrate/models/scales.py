"""Scales of the members on their segment, known as far as their own losses tell, limits and open claims included."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats
from calibrate.models.forms import Forms
from calibrate.models.pooling import mean_exponent, pooled_means, pooled_variances

__all__ = ["Scales", "completed", "scales_of"]

MOST_OPEN = 1.0  # variance of the log of a member's scale: more is not read into few losses
MUCH_LIKELIER = 4.0  # gain of log-likelihood from which scales go with a power of exposure
ROUNDS = 50  # of what is to be expected of losses of which only a bound is known
Places = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scales:
    """Scales of the members on their segment, known as far as their own losses tell: `log scale` has a normal law.

    `credibility` of a member's own losses; `taken`, the share of their scatter that went into the estimate; `power` of
    exposure with which scales go, 0 where that is not much likelier (`mean_exponent`).
    """

    median: Floats
    open: Floats
    credibility: Floats
    taken: Floats
    power: float = 0.0

    @property
    def mean(self) -> Floats:
        """Expected scales, `median exp(open / 2)`: those of lognormal laws."""
        return np.asarray(self.median * np.exp(self.open / 2))

    def standard(self, losses: Floats, owner: Places, forms: Forms) -> Floats:
        """Losses as those of one member, with the scatter back that the estimates took, and of one form."""
        if not self.taken.any() and not forms.own:
            return np.asarray(losses / self.median[owner])
        logs = forms.standard(np.log(losses / self.median[owner]), owner)
        centre = logs.mean()
        return np.asarray(np.exp(centre + (logs - centre) / np.sqrt(1 - self.taken[owner])))


def completed(name: str, logs: Floats, at_least: Bools, owner: Places, log_size: Floats) -> Floats:
    """Log-losses, and where only a bound is known what is to be expected beyond it, if logs are normal.

    By expectation and maximisation: members' scales and one scatter about them (Dempster, Laird and Rubin 1977; Tobin
    1958). ModelError where no loss is fully seen.
    """
    if not at_least.any():
        return logs
    if at_least.all():
        raise ModelError(
            f"segment {name!r}: all {logs.size} losses are known only to be at least as large as they are, so their "
            "law cannot be told; join it with another segment"
        )
    found, spread = logs.copy(), 0.0
    for _ in range(ROUNDS):
        middle = np.log(scales_of(found, owner, log_size).median)[owner]
        middle = middle + (found - middle).mean()
        deviation = math.sqrt(float(((found - middle) ** 2).sum() + spread) / logs.size)
        if not deviation > 0:
            break
        z = (logs[at_least] - middle[at_least]) / deviation
        rate = np.exp(-(z**2) / 2 - log_ndtr(-z)) / math.sqrt(2 * math.pi)  # the mean of what lies beyond
        found[at_least] = middle[at_least] + deviation * rate
        spread = float((deviation**2 * np.clip(1 + z * rate - rate**2, 0.0, 1.0)).sum())
    return found


def scales_of(logs: Floats, owner: Places, log_size: Floats) -> Scales:
    """Scales of the members on their segment (normal means, Buehlmann and Straub 1970); `log_size` of their exposures.

    `log s | losses ~ N(Z (m - centre), Z v)`, `v` the variance of the mean `m` of `n` log-losses; `N(0, tau^2)` for a
    member without losses. Where scales go with a power of exposure, that is so around it.
    """
    members = log_size.size
    count = np.bincount(owner, minlength=members).astype(np.float64)
    centre = logs.mean()
    means = np.bincount(owner, logs - centre, members) / np.maximum(count, 1)
    scatter = np.bincount(owner, (logs - centre - means[owner]) ** 2, members)
    freedom = np.maximum(count - 1, 0)
    raw = np.where(freedom > 0, scatter / np.maximum(freedom, 1), 0.0)
    variances, _ = pooled_variances(np.where(raw > 1e-24, raw, 0.0), freedom)
    if not (variances > 0).any():  # constant or single losses: members cannot be told apart
        return Scales(np.ones(members), *np.zeros((3, members)))
    of_mean = np.where(count > 0, variances / np.maximum(count, 1), np.inf)
    power = mean_exponent(means, of_mean, log_size, MUCH_LIKELIER)
    tilt = power * (log_size - np.average(log_size, weights=count))
    pooled, collective, credibility = pooled_means(means - tilt, of_mean)
    if (count > 0).sum() == 1:
        return Scales(np.ones(members), np.zeros(members), credibility, np.zeros(members))
    one = int(np.argmax(count))  # tau^2 from Z = tau^2 / (tau^2 + v), of any member
    between = credibility[one] / (1 - credibility[one]) * of_mean[one]
    left = credibility * np.where(count > 0, of_mean, 0.0) + np.where(count > 0, 0.0, between)
    taken = credibility / np.maximum(count, 1)
    return Scales(np.exp(pooled - collective + tilt), np.minimum(left, MOST_OPEN), credibility, taken, power)
