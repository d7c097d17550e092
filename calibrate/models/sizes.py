"""How large losses are: a law for each segment, scales (and powers) for members, the form borrowed where few lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats
from calibrate.models.doubts_of_sizes import bounds, missed
from calibrate.models.forms import NEAR_ONE, Forms, forms_of, layer_mean
from calibrate.models.interpolation import QuantileTable
from calibrate.models.scales import Scales, completed, scales_of
from calibrate.models.segment_forms import powers_of, raised_to, scatter_by
from calibrate.models.severity import BestOf, GeneralizedPareto, LogNormal, Observation, Severity, Spliced

__all__ = ["THICK", "Seen", "Sizes"]

THICK = 200  # losses from which a tail is fitted
FEW = 10  # losses from which a law without a tail is fitted
WIDEST = 2.0  # deviation of a log: the mean of a lognormal law of more is not seen in a sample
Places = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sizes:
    """A loss of member i in the segment is `scale[i] pivot (X / pivot)^power[i]`, `X` by `law`; mostly, `power` is 1.

    `level` is the segment's part of the scale. `open`: variance of `log relative` that the losses of the members
    leave. `borrowed`: the law is that of all segments, `raised` to a power that is part of that of the members. Scales
    are those at the `reference` exposures of the members, and move with their power `elasticity`.
    """

    name: str
    law: Severity
    level: float
    relative: Floats
    open: Floats
    credibility: Floats
    count: int
    origin: str
    forms: Forms
    pivot: float
    borrowed: bool = False
    raised: float = 1.0
    elasticity: float = 0.0
    reference: Floats = field(default_factory=lambda: np.ones(1))

    @property
    def scale(self) -> Floats:
        """Scale of each member on the law."""
        return self.level * self.relative

    @property
    def shape(self) -> float:
        """Shape of the tail; NaN for a family without a generalized Pareto tail."""
        with_tail = hasattr(self.law, "tail_") or hasattr(self.law, "threshold_")
        return float(getattr(self.law, "shape_", math.nan)) if with_tail else math.nan

    @property
    def has_mean(self) -> bool:
        """Whether a loss of every member has a finite mean, whatever caps it."""
        heaviest = self.shape * float(self.forms.power.max())
        return self.law.has_mean_ if math.isnan(heaviest) else heaviest < 1

    def cap(self, chance: float) -> float:
        """The loss that is exceeded with this chance, at the level 1."""
        return float(self.law.isf(chance) ** self.raised)

    def mean(self, cap: float = math.inf) -> float:
        """Mean loss at the segment's level, of no more than the level times a cap."""
        raised, law = self.raised, self.law
        return self.level * float(law.mean(cap) if raised == 1 else layer_mean(law, raised, 1.0, 0.0, cap))

    @property
    def _doubt(self) -> str:
        """How little the shape of a tail is known."""
        tail = getattr(self.law, "tail_", self.law)
        if not isinstance(tail, GeneralizedPareto):
            return ""
        ends = tail.shape_interval()
        low, high = self.raised * ends.lower, self.raised * ends.upper
        return f" (of {tail.n_exceedances_} losses; 95 % interval of the shape {low:.2f} to {high:.2f})"

    @cached_property
    def _table(self) -> QuantileTable:
        """The law by exponential scores: `P(X > x) = exp(-score)`."""
        return QuantileTable(self._quantiles, 0.0)

    def _quantiles(self, scores: Floats) -> Floats:
        return np.asarray(self.law.isf(np.exp(-scores)), dtype=np.float64)

    def at_exposures(self, exposures: Floats) -> Sizes:
        """The same with scales `s (e / reference)^elasticity`; who has no exposure has no losses, and stays."""
        moved = np.where(exposures > 0, exposures, self.reference)
        if self.elasticity == 0 or np.array_equal(moved, self.reference):
            return self  # with the table of its law
        factor = (moved / self.reference) ** self.elasticity
        return replace(self, relative=self.relative * factor, reference=moved)

    def at(self, levels: Floats, owner: Places) -> Floats:
        """Losses of these members whose chance of being exceeded is `exp(-level)`."""
        losses = self._table(levels)
        if self.forms.own:
            losses = self.pivot * (losses / self.pivot) ** self.forms.power[owner]
        return np.asarray(losses * self.scale[owner])

    def layer_means(self, low: Floats, high: Floats) -> Floats:
        """`E[(min(L, high) - low)+]` of one loss of each member, money: of the segment's form in closed form."""
        alike, unlike, found = cache(self.law.layer_mean), cache(layer_mean), np.zeros(low.size)
        for i in np.flatnonzero(high > low):
            scale, power = float(self.scale[i]), float(self.forms.power[i])
            layer = float(low[i]) / scale, float(high[i]) / scale
            found[i] = scale * (alike(*layer) if power == 1 else unlike(self.law, power, self.pivot, *layer))
        return found

    def flags(self, capped: bool) -> list[str]:
        """What must be known about the tail. ModelError for an infinite mean without a cap."""
        shape = self.shape * self.raised
        tail = "" if math.isnan(shape) else f" of shape {shape:.3f}"
        what = f"segment {self.name!r}: the fitted {type(self.law).__name__} tail{tail}"
        found = [f"segment {self.name!r}: {self.origin}"] if self.origin else []
        if not self.has_mean and not capped:
            raise ModelError(
                f"{what} is so heavy (shape >= 1) that its mean is infinite, and so is any CVaR{self._doubt}. Cap the "
                "losses: by exposure_cap (with exposures), or by the limit of the coverage; make the largest losses a "
                "segment, if they are of another kind; or ask for a law with a mean, such as severity=LogNormal()"
            )
        if not self.has_mean:
            found.append(f"{what} (>= 1) has a finite mean only because losses are capped, and it rests on the cap")
        elif shape >= NEAR_ONE and capped:
            found.append(f"{what} is near 1{self._doubt}: the mean rests on the cap of the losses as much as on them")
        elif shape >= NEAR_ONE:
            found.append(
                f"{what} is near 1{self._doubt}: sample means are too low, use the expected losses of the summary"
            )
        return found


@dataclass(frozen=True)
class Seen:
    """Losses of all segments as their laws are fitted to them: of the same order for all members.

    `log scale` of a member is the credibility mean of its log-losses less the segment's: one without losses has the
    segment's scale (of its exposure, where scales go with a power of that and it is said). Such means are near
    their own losses, whose variance around them is `1 - Z / n` of that around the scale that nobody knows: they are
    widened by as much. `laws` names a family by segment; where it is None, a segment of at least 200 losses has a
    law of its own (`Spliced`), and one of fewer the form of all segments' losses over their geometric means, at its
    own level, to a `power` of its own as far as its losses tell (`powers_of`; `doubt`: how far it is open): a tail
    cannot be told from few losses, how far they scatter can, and leaving either out would understate it.

    `standard` are losses as those of one member, in their order of size; `at_least` of them are known only to be so
    large or more, and are `expected` to be larger (`completed`); `logs`: log-losses as they came, those as expected.
    """

    names: Sequence[str]
    logs: list[Floats]
    scales: list[Scales]
    forms: list[Forms]
    standard: list[Floats]
    expected: list[Floats]
    at_least: list[Bools]
    laws: Sequence[Severity | None]
    power: Floats
    doubt: Floats

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        losses: Floats,
        segment: Places,
        owner: Places,
        when: Places,
        exposures: Floats,
        laws: Sequence[Severity | None],
        at_least: Bools,
    ) -> Seen:
        """Of losses of the segment, member and period at the given places; mean exposures of (members, segments)."""
        parts = [np.flatnonzero(segment == g) for g in range(len(names))]
        for name, part in zip(names, parts, strict=True):
            if not part.size:
                raise ModelError(
                    f"segment {name!r}: no loss in any period, so neither frequency nor severity can be told; "
                    "join it with another segment, or leave it out"
                )
        logs, scales, forms = list[Floats](), list[Scales](), list[Forms]()
        standard, expected, known, times = list[Floats](), list[Floats](), list[Bools](), list[Places]()
        for name, part, log_size in zip(names, parts, np.log(exposures).T, strict=True):
            logs.append(completed(name, np.log(losses[part]), at_least[part], owner[part], log_size))
            scales.append(scales_of(logs[-1], owner[part], log_size))
            if at_least[part].any():  # what is not seen tells nothing of a form
                forms.append(Forms.alike(log_size.size))
            else:
                forms.append(forms_of(logs[-1], owner[part], when[part], log_size.size, len(names)))
            each = scales[-1].standard(losses[part], owner[part], forms[-1])
            order = np.argsort(each, kind="stable")
            times.append(when[part][order])
            standard.append(each[order])
            likely = scales[-1].standard(np.exp(logs[-1]), owner[part], forms[-1]) if at_least[part].any() else each
            expected.append(likely[order])
            known.append(at_least[part][order])
        told = powers_of(standard, times, known)
        return cls(names, logs, scales, forms, standard, expected, known, laws, *told)

    def fit(self) -> list[Sizes]:
        """Sizes of every segment."""
        levels = [math.exp(float(np.log(z).mean())) for z in self.expected]
        pool, fitted, pool_known = self._pool(levels), [], np.concatenate(self.at_least)
        rows = zip(self.names, self.standard, levels, self.scales, self.forms, self.laws, self.at_least, strict=True)
        for (name, z, level, scales, forms, law, at_least), power in zip(rows, self.power.tolist(), strict=True):
            borrowing = law is None and z.size < (THICK if pool.size >= THICK else FEW) and pool.size > z.size
            family = law if law is not None else Spliced() if (pool if borrowing else z).size >= THICK else LogNormal()
            fitted_to, known_only, blunt = (pool, pool_known, "") if borrowing else (z, at_least, "")
            try:
                found = _fit(name, family, fitted_to, None, known_only)
            except ModelError as error:  # many losses at one limit leave the default tail nothing to be fitted to
                if law is not None or not isinstance(family, Spliced):
                    raise
                blunt = f"no tail can be fitted ({str(error).split('. ')[0]}); LogNormal, which may understate it"
                found = _fit(name, LogNormal(), fitted_to, None, known_only)
            few = f"{z.size} losses are too few for a tail (expected {THICK})"
            raised = float(Forms(np.array([power])).within(found).power[0]) if borrowing else 1.0
            origin = f"{few}; its form is that of all segments{raised_to(raised)}" if borrowing else ""
            if law is None and not isinstance(family, Spliced):
                origin += f"{'' if origin else few}; LogNormal, which may understate it"
            own, pivot = (level, 1.0) if borrowing else (1.0, level)
            refuted = "" if at_least.any() else missed(found, z, own, raised)
            by_size = f"losses go with the power {scales.power:+.2f} of a member's exposure" if scales.power else ""
            origin = "; ".join(filter(None, [origin, by_size, blunt, refuted, bounds(at_least)]))
            known = scales.mean, scales.open, scales.credibility
            forms = Forms(forms.power * raised).within(found)
            fitted.append(Sizes(name, found, own, *known, z.size, origin, forms, pivot, borrowing, raised))
        return fitted

    def _pool(self, levels: Sequence[float]) -> Floats:
        """Losses of all segments in one form: over these levels, to one over their powers."""
        rows = zip(self.standard, levels, self.power.tolist(), strict=True)
        return np.concatenate([z / level if power == 1 else (z / level) ** (1 / power) for z, level, power in rows])

    def again(self, fitted: Sequence[Sizes], weights: Sequence[Floats]) -> list[Sizes]:
        """Sizes of the fitted families, if the standard losses have these `weights`."""
        rows = list(zip(self.standard, weights, self.at_least, strict=True))
        means = zip(self.expected, weights, strict=True)
        levels = [math.exp(float(np.average(np.log(z), weights=w))) for z, w in means]
        every, found = (self._pool(levels), np.concatenate(weights), np.concatenate(self.at_least)), []
        for part, own, level, doubt in zip(fitted, rows, levels, self.doubt.tolist(), strict=True):
            seen = every if part.borrowed else own
            law = part.law if (seen[1] == 1).all() else _again(part.name, part.law, *seen)
            if not part.borrowed:
                found.append(replace(part, law=law, level=1.0))
                continue
            times = scatter_by(own[0], own[1]) ** doubt
            forms = Forms(part.forms.power * times)
            found.append(replace(part, law=law, level=level, raised=part.raised * times, forms=forms))
        return found


def _again(name: str, law: Severity, losses: Floats, weights: Floats, at_least: Bools) -> Severity:
    """The law, if the losses have these weights. Weights know nothing of what the deviation of a lognormal law of `n`
    losses is too small by: its mean square is made that of the posterior law, `sum (log x - mean)^2 / (n - 3)`; a
    deviation is no more than 2, or the fitted one."""
    found, n = _fit(name, _family(law), losses, weights, at_least), losses.size
    if isinstance(found, LogNormal) and n > FEW / 2:
        found.shape_ *= n / math.sqrt((n - 1) * (n - 3))
    if isinstance(found, LogNormal) and isinstance(law, LogNormal):
        found.shape_ = min(found.shape_, max(WIDEST, law.shape_))
    return found


def _family(law: Severity) -> Severity:
    """To be fitted again: one that was chosen is chosen, and so is a threshold."""
    if isinstance(law, BestOf):
        law = law.best_
    tail = getattr(law, "tail_", law)
    if not isinstance(tail, GeneralizedPareto):
        return law
    fixed = GeneralizedPareto(threshold=tail.threshold_)
    if not isinstance(law, Spliced):
        return fixed
    again: Spliced = clone(law).set_params(tail=fixed, body=law.body or type(law.body_)())
    return again


def _fit(name: str, family: Severity, losses: Floats, weights: Floats | None, at_least: Bools) -> Severity:
    seen = Observation(open_claim=at_least) if at_least.any() else None
    try:
        return clone(family).fit(losses, weights, observation=seen)  # type: ignore[no-any-return]
    except ModelError as error:
        raise ModelError(f"segment {name!r}: {error}") from error
