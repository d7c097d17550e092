"""Losses of a panel: the ratio of loss to exposure, member by member, with strength borrowed from the pool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import ModelError
from calibrate.models.arrays import (
    Floats,
    RandomState,
    broadcast,
    exposure_table,
    generator,
    nonnegative,
    row_counts,
    table,
)
from calibrate.models.exposed_scatter import at_mean_exposure, deviation_at, log_growth, time_exponent
from calibrate.models.open_family import CLEARLY, GAMMA, LOGNORMAL, POWERS, chances, log_evidence, worth
from calibrate.models.pooling import (
    compensation,
    mean_exponent,
    pooled_means,
    pooled_shares,
    pooled_variances,
    size_exponent,
)
from calibrate.models.power_gamma import log_mean as log_mean_of
from calibrate.models.power_gamma import no_heavier, unsure_isf
from calibrate.models.unsure import SURE, unsure_lognormal_isf

__all__ = ["EmpiricalRatio", "GammaRatio", "GeneralizedGammaRatio", "LogNormalRatio", "Ratio"]


FAR_LIKELIER = 10.0  # gain of log-likelihood: products liability, whose power gains 3 to 5, is forecast worse with it


class Ratio(BaseEstimator, ABC):  # type: ignore[misc]
    """Loss over exposure, periods x columns (members). A family says the law of a positive ratio of given log moments.

    `L[t, j] = E[t, j] R[t, j]`; `R = 0` with probability `p[j]`, else `log R` has mean `a[j]` and deviation `b[j]`.
    Means by credibility (`Z[j]` by member, on a log scale; `R` times how often members of this size lose anything, or
    this one, as far as who seldom loses loses more: `compensation`) around a common one, which goes with exposure by
    `mean_exponent_` where that is far likelier; variances drawn to the common one (which falls with a member's exposure
    by `size_exponent_`), zeros to the share of members of this size (`pooled_shares`): ten periods carry no more.
    All that is at `mean_exposures_`: of a member `g` times as large, `log R` has the deviation `b g^(c/2)`, no loss the
    probability `p^(g^-c)`, and `R` the same mean; `c`, `time_exponent_`, is told by periods of other exposure (-1/2 if
    there are none).
    Fitted: `log_mean_`, `log_deviation_`, `freedom_` (degrees of freedom of its square: own and borrowed),
    `zero_share_`, `credibility_`, `collective_mean_` (of all ratios), `size_exponent_`, `residuals_` (standardised
    log-ratios of all) at `residual_levels_`, `mean_exposures_`, `time_exponent_`; `log_likelihoods_` of ratios of which
    one of the `POWERS` (0 lognormal) is gamma (`log_evidence`, times the `worth` of columns that move together).
    """

    log_mean_: Floats
    log_deviation_: Floats
    freedom_: Floats
    zero_share_: Floats
    credibility_: Floats
    collective_mean_: float
    size_exponent_: float
    mean_exponent_: float
    time_exponent_: float
    mean_exposures_: Floats
    residuals_: Floats
    residual_levels_: Floats
    log_likelihoods_: Floats
    n_features_in_: int

    @abstractmethod
    def _isf(self, p: Floats, log_mean: float, log_deviation: float, freedom: float) -> Floats:
        """The positive ratio that is exceeded with probability `p`."""

    @abstractmethod
    def _mean(self, log_mean: Floats, log_deviation: Floats) -> Floats:
        """Mean of a positive ratio."""

    @abstractmethod
    def _of_family(self) -> tuple[str, ...]:
        """What the panel says of the family, in sentences."""

    def flags(self) -> tuple[str, ...]:
        """What the panel says of the family, and of members of different size, in sentences."""
        power = self.mean_exponent_
        size = f"members' loss ratios go with the power {power:+.2f} of their exposure, and so do expected losses"
        return self._of_family() + ((size,) if power else ())

    def fit(self, X: Any, y: object = None, sample_weight: Any = None, *, exposure: Any = None) -> Self:
        """Fit to losses `X` (periods, columns); `y` is ignored. `exposure` in the shape of `X`, 1 if not given.

        `sample_weight`: how often each period is repeated (2 is the row twice); shares of one are refused.
        Constant ratios stay constant (`log_deviation_ = 0`). Raises DataError for what is no loss or exposure,
        ModelError if no loss is positive or a single one leaves the scatter unknown (n_samples = 1).
        """
        losses = nonnegative(table(self, X), "a loss")
        weights = row_counts(sample_weight, len(losses))
        exposures = exposure_table(exposure, losses.shape, X)
        exposed = np.where(exposures > 0, weights[:, None], 0.0)
        positive = np.where(losses > 0, exposed, 0.0)
        if positive.max(axis=0).sum() == 0 or positive.sum(axis=0).max() <= 1:
            seen = f"no member has two positive losses (n_samples = {len(losses)})"
            raise ModelError(f"{type(self).__name__}: {seen}, so the scatter cannot be told; lengthen the history")
        with np.errstate(divide="ignore", invalid="ignore"):
            sizes = (exposed * exposures).sum(axis=0) / exposed.sum(axis=0)
            logs = np.where(positive > 0, np.log(losses) - np.log(exposures), 0.0)
        growth = np.where(positive > 0, log_growth(exposures, sizes), 0.0)
        self.mean_exposures_, self.time_exponent_ = sizes, time_exponent(logs, positive, growth)
        if growth.any():
            logs = at_mean_exposure(logs, positive, growth, self.time_exponent_)
        log_size = np.log(sizes / sizes.mean())
        self.zero_share_, of_size = pooled_shares((exposed - positive).sum(axis=0), exposed.sum(axis=0), log_size)
        self._fit_logs(logs, positive, log_size, (np.log1p(-of_size), np.log1p(-self.zero_share_)))
        return self

    def _fit_logs(self, logs: Floats, weights: Floats, log_size: Floats, often: tuple[Floats, Floats]) -> None:
        count = weights.sum(axis=0)
        centre = float((weights * logs).sum() / count.sum())
        means = (weights * (logs - centre)).sum(axis=0) / np.where(count > 0, count, 1.0)
        scatter = (weights * (logs - centre - means) ** 2).sum(axis=0)
        freedom = count - 1
        raw = np.where(freedom > 0, scatter / np.where(freedom > 0, freedom, 1.0), 0.0)
        raw = np.where(raw > 1e-24, raw, 0.0)  # rounding of a constant ratio
        self.size_exponent_ = size_exponent(raw, freedom, log_size)
        by_size = np.exp(self.size_exponent_ * log_size)
        by_size_one, known_by = pooled_variances(raw / by_size, freedom)
        variances, self.freedom_ = by_size * by_size_one, np.minimum(known_by, SURE)
        of_mean = np.where(count > 0, variances / np.where(count > 0, count, 1.0), np.inf)
        b = self.log_deviation_ = np.sqrt(variances)
        about = logs - centre - pooled_means(means, of_mean)[0]
        self.residuals_, self.residual_levels_ = _standard(about, b, weights)
        evidence = [log_evidence(power, logs, weights, b) for power in POWERS]
        self.log_likelihoods_ = worth(logs, weights, b) * np.array(evidence)
        # Members of a pool have means alike, not means of logs: those of small members, who scatter more, lie lower,
        # and higher where members of their size often lose nothing; or they themselves, if who seldom loses loses more.
        higher = np.log(self._mean(np.zeros_like(b), b))
        of_size, beyond = often[0], often[1] - often[0]
        higher += of_size + compensation(means + higher + of_size, of_mean, beyond) * beyond
        middle = float(np.average(higher, weights=count))
        own = means + higher - middle
        self.mean_exponent_ = mean_exponent(own, of_mean, log_size, FAR_LIKELIER)
        tilt = self.mean_exponent_ * log_size
        pooled, collective, self.credibility_ = pooled_means(own - tilt, of_mean)
        self.log_mean_ = pooled + tilt + centre + middle - higher
        self.collective_mean_ = float(np.exp(collective + centre + middle))

    def with_means(self, means: Floats) -> Self:
        """The same ratios times what gives them these means, by column; where nothing is ever lost, they stay."""
        moved, seen = copy(self), self.mean() > 0
        moved.log_mean_ = self.log_mean_ + np.log(np.where(seen, means, 1.0) / np.where(seen, self.mean(), 1.0))
        return moved

    def mean(self, exposure: Any = 1.0) -> Floats:
        """Expected loss of each column at `exposure` (one number or one for each column)."""
        check_is_fitted(self)
        positive = self._mean(self.log_mean_, self.log_deviation_)
        return broadcast(exposure, self.n_features_in_) * (1 - self.zero_share_) * positive

    def zero_probability(self, exposure: Any = None) -> Floats:
        """Probability of no loss, by column, at its mean exposure if none is given; 1 without exposure."""
        check_is_fitted(self)
        exposures = self.mean_exposures_ if exposure is None else broadcast(exposure, self.n_features_in_)
        return np.where(exposures > 0, self._zeros(log_growth(exposures, self.mean_exposures_)), 1.0)

    def _zeros(self, growth: Floats) -> Floats:
        return self.zero_share_ ** np.exp(-self.time_exponent_ * growth)

    def at(self, exposure: Any) -> Self:
        """The ratios of the same members at this exposure (one number or one for each column); their means stay."""
        exposures, moved, b = broadcast(exposure, self.n_features_in_), copy(self), self.log_deviation_
        growth = log_growth(exposures, self.mean_exposures_)
        moved.mean_exposures_ = np.where(exposures > 0, exposures, self.mean_exposures_)
        moved.log_deviation_, moved.zero_share_ = deviation_at(b, growth, self.time_exponent_), self._zeros(growth)
        mean = self._mean(np.zeros_like(b), b) / self._mean(np.zeros_like(b), moved.log_deviation_)
        losing = moved.zero_share_ < 1
        mean[losing] *= (1 - self.zero_share_[losing]) / (1 - moved.zero_share_[losing])
        moved.log_mean_ = self.log_mean_ + np.log(np.where(mean > 0, mean, 1.0))
        return moved

    def ppf(self, q: Any, exposure: Any = None) -> Floats:
        """Quantile of each column's loss, or of its ratio at its mean exposure; `q` (..., columns) or one number."""
        none = self.zero_probability(exposure)
        levels = np.asarray(q, dtype=np.float64)
        if not np.all((levels >= 0) & (levels <= 1)):
            raise ModelError("quantile levels must lie in [0, 1]")
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = np.where(none < 1, (levels - none) / (1 - none), 0.0).clip(0, 1)
        ratios, law = np.empty_like(inner), self if exposure is None else self.at(exposure)
        for column in range(self.n_features_in_):
            ratios[..., column] = law.exceeded(1 - inner[..., column], column)
        times = 1.0 if exposure is None else broadcast(exposure, self.n_features_in_)
        return np.where(levels > none, times * ratios, 0.0)

    def exceeded(self, chance: Floats, column: int) -> Floats:
        """Positive ratio of one column, at its mean exposure, that is exceeded with probability `chance`."""
        return self._isf(
            chance, float(self.log_mean_[column]), float(self.log_deviation_[column]), float(self.freedom_[column])
        )

    def sample(self, exposure: Any = None, random_state: RandomState = None, n: int = 1) -> Floats:
        """`n` independent losses, or ratios, of each column as in `ppf`, shape (n, columns)."""
        return self.ppf(generator(random_state).random((n, self.n_features_in_)), exposure)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


class GeneralizedGammaRatio(Ratio):
    """Ratios lognormal, lighter or heavier, as far as the panel tells: `R^p` gamma, each `p` by its `chances_`.

    The lognormal (p = 0) has the chance 3/5 before the data; 1/4, 1/2, 3/4, 1 (the gamma law) share 1/5, and so do
    -1/4, -1/2, -1, whose tails are Pareto's, of exponents down to 2 (`no_heavier`). The log-ratios of all columns tell,
    at their scatter, which is known as far as in `LogNormalRatio`. Where they do not, the far tail is nearly that of
    the lognormal. Source: Stacy 1962; Prentice 1974, Biometrika 61 (both signs of the power in one family).

    >>> losses = np.random.default_rng(1).gamma(1.0, 50.0, (10, 20))
    >>> model, lognormal = GeneralizedGammaRatio().fit(losses), LogNormalRatio().fit(losses)
    >>> model.chances_.round(2).tolist(), [round(float(each.mean().mean() / 50), 2) for each in (model, lognormal)]
    ([0.0, 0.0, 0.0, 0.01, 0.05, 0.31, 0.43, 0.2], [1.05, 1.18])
    """

    @property
    def chances_(self) -> Floats:
        """Of the powers -1, -1/2, -1/4, 0, 1/4, 1/2, 3/4, 1."""
        return chances(self.log_likelihoods_)

    def _isf(self, p: Floats, log_mean: float, log_deviation: float, freedom: float) -> Floats:
        return unsure_isf(p, (log_mean, log_deviation, freedom), POWERS, self.chances_.tolist())

    def _mean(self, log_mean: Floats, log_deviation: Floats) -> Floats:
        weighed = [(power, chance) for power, chance in zip(POWERS, self.chances_, strict=True) if chance > 0]
        means = [
            chance * np.exp(log_mean_of(no_heavier(power, log_deviation), log_deviation)) for power, chance in weighed
        ]
        return np.asarray(np.exp(log_mean) * np.sum(means, axis=0))

    def _of_family(self) -> tuple[str, ...]:
        """How far it is from the lognormal."""
        said = _unlike_lognormal(self.log_likelihoods_)
        if not said:
            return ()
        heavier = float(self.chances_[:LOGNORMAL].sum())
        safe = "" if heavier > 0.5 else "; pass ratio=LogNormalRatio() to be on the safe side"
        left = f"scenarios and expected losses weigh all, the lognormal with {self.chances_[LOGNORMAL]:.0%}"
        return (f"{said}: {left}{safe}",)


class LogNormalRatio(Ratio):
    """Lognormal ratios: `R = exp(a + b Z)`, mean `exp(a + b^2 / 2)`; `b` known as far as the periods tell.

    `log R` is a Student t of `freedom_` degrees (`unsure_lognormal_isf`): a member of a pool whose members scatter
    unlike each other borrows little, and has the wider intervals for it.

    >>> model = LogNormalRatio().fit([[70.0, 9.0], [80.0, 8.0], [60.0, 7.0]], exposure=[100.0, 10.0])
    >>> model.mean([100.0, 10.0]).round(1)
    array([73.4,  7.7])
    """

    def _isf(self, p: Floats, log_mean: float, log_deviation: float, freedom: float) -> Floats:
        return unsure_lognormal_isf(p, log_mean, log_deviation, freedom)

    def _mean(self, log_mean: Floats, log_deviation: Floats) -> Floats:
        return np.exp(log_mean + log_deviation**2 / 2)

    def _of_family(self) -> tuple[str, ...]:
        """Whether a lighter or a heavier law is likelier."""
        said = _unlike_lognormal(self.log_likelihoods_)
        return (f"{said}; lognormal was asked for: leave ratio out",) if said else ()


class GammaRatio(Ratio):
    """Gamma ratios with the log moments of the data: `trigamma(shape) = b^2`, `log scale = a - digamma(shape)`.

    Lighter to the right than the lognormal, heavier to the left; `b` known as far as in `LogNormalRatio`.

    >>> model = GammaRatio().fit([[70.0, 9.0], [80.0, 8.0], [60.0, 7.0]], exposure=[100.0, 10.0])
    >>> model.mean([100.0, 10.0]).round(1)
    array([73.4,  7.7])
    """

    def _isf(self, p: Floats, log_mean: float, log_deviation: float, freedom: float) -> Floats:
        return unsure_isf(p, (log_mean, log_deviation, freedom), [1.0], [1.0])

    def _mean(self, log_mean: Floats, log_deviation: Floats) -> Floats:
        return np.asarray(np.exp(log_mean + log_mean_of(1.0, log_deviation)))

    def _of_family(self) -> tuple[str, ...]:
        """Whether the lognormal, whose tail is heavier, is likelier."""
        lognormal, gamma = self.log_likelihoods_[[LOGNORMAL, GAMMA]]
        if lognormal - gamma <= CLEARLY:
            return ()
        found = f"log-likelihood {lognormal:,.1f} against {gamma:,.1f}"
        return (
            f"members' ratios have a heavier tail than GammaRatio, which was asked for: the lognormal is likelier "
            f"({found}); leave ratio out",
        )


class EmpiricalRatio(Ratio):
    """Ratios as observed: `R = exp(a + b z)`, `z` a standardised log-ratio of any member and period (interpolated).

    No ratio is drawn beyond the most extreme one seen in the pool, at the member's own level and scatter, both taken
    as known.

    >>> model = EmpiricalRatio().fit([[70.0, 9.0], [80.0, 8.0], [60.0, 7.0]], exposure=[100.0, 10.0])
    >>> model.mean([100.0, 10.0]).round(1)
    array([73.3,  7.7])
    """

    def _isf(self, p: Floats, log_mean: float, log_deviation: float, freedom: float) -> Floats:
        return np.asarray(np.exp(log_mean + log_deviation * np.interp(1 - p, self.residual_levels_, self.residuals_)))

    def _mean(self, log_mean: Floats, log_deviation: Floats) -> Floats:
        z, p, b = self.residuals_, self.residual_levels_, np.atleast_1d(log_deviation)
        low, high = np.exp(np.outer(b, z[:-1])), np.exp(np.outer(b, z[1:]))
        step = np.outer(b, np.diff(z))
        with np.errstate(divide="ignore", invalid="ignore"):
            between = np.where(step > 1e-9, (high - low) / np.where(step > 1e-9, step, 1.0), (low + high) / 2)
        ends = p[0] * np.exp(b * z[0]) + (1 - p[-1]) * np.exp(b * z[-1])
        return np.asarray(np.exp(log_mean) * (between @ np.diff(p) + ends))

    def _of_family(self) -> tuple[str, ...]:
        """Nothing: it has no family."""
        return ()


def _unlike_lognormal(log_likelihoods: Floats) -> str:
    """That lighter or heavier ratios are likelier than lognormal ones, if they clearly are."""
    best, lognormal = int(np.argmax(log_likelihoods)), log_likelihoods[LOGNORMAL]
    if log_likelihoods[best] - lognormal <= CLEARLY:
        return ""
    tail = "lighter" if best > LOGNORMAL else "heavier"
    found = f"log-likelihood {log_likelihoods[best]:,.1f} against {lognormal:,.1f}"
    named = "gamma" if best == GAMMA else f"those whose power {POWERS[best]:g} is gamma"
    return f"members' ratios have a {tail} tail than lognormal ones: {named} are likelier ({found})"


def _standard(distance: Floats, deviation: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Pooled residuals in rising order, mean 0 and deviation 1 (all 0 where nothing scatters), and their levels."""
    scaled = np.where(deviation > 0, distance / np.where(deviation > 0, deviation, 1.0), 0.0)[weights > 0]
    w = weights[weights > 0]
    order = np.argsort(scaled, kind="stable")
    scaled, w = scaled[order] - np.average(scaled, weights=w), w[order]
    spread = np.sqrt(np.average(scaled**2, weights=w))
    levels = (np.cumsum(w) - w / 2) / w.sum()
    return (scaled / spread if spread > 0 else np.zeros_like(scaled)), levels
