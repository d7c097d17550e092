"""The frozen answer of the program: plain numbers and tables, no solver object inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from calibrate import records
from calibrate.certificate.rounding import rows_of
from calibrate.certificate.scenario_file import ScenarioFile
from calibrate.fixed_point import FixedPoint

__all__ = ["Calibration"]


@dataclass(frozen=True, eq=False, repr=False)
class Calibration:
    """Contributions and reserves of a pool, with their risk, their fairness and their origin. Money in `currency`.

    Attributes
    ----------
    contributions : Series, `c[i]` by member, or `c[i, g]` by (member, segment) when there are several segments.
    reserves : Series by reserve: `r[g]` under its segment's name, the pool reserve `r0` as "pool"; only what the
        waterfall has.
    risk : DataFrame, one risk term a row, columns `in_sample, out_of_sample, standard_error, lower, upper`.
        The interval (95 %) is the Monte Carlo error of the headline: out-of-sample where it was computed.
        `in_sample` of an optimised plan tends to be too low; it is shown to be seen, not to be used.
    fairness : DataFrame, one rule a row, columns `gap` (money, fair when <= 0; worst row of a vector rule), `binding`,
        `shadow_price` (what the objective would fall by, at most, for one unit of money more room, summed over the
        rule's rows; >= 0).
    members : DataFrame by member: `contribution, weight, expected_loss, sampled_loss, standalone_risk, exposure,
        reference` (money, NaN where it was not given). `expected_loss` is what the rules used: the closed form of the
        model where it has one; `sampled_loss` is the mean of the scenarios, too low where tails are heavy.
    loss_curve : DataFrame, index `probability` of exceedance (in-sample), columns `loss` (gross), `mutualised`,
        `shortfall`, money.
    objective, lower_bound : value of the plan and a proven bound on the best one, in money.
    provenance : mapping of text to plain values: hashes, seed, versions, solver, attempts, time.
    certificate : what `verify` needs to check the answer without trusting us, as plain data (`calibrate.certificate`);
        None where the program cannot be written as rows.
    scenarios : the scenarios as `save` writes them beside the result.
    uncertainty : DataFrame, index (number, of), what `PoolCalibrator.uncertainty` found: `history_error, lower, upper`
        (what the length of the history leaves open) and `monte_carlo_error` of contributions, reserves and risk; None
        where it was not asked for.
    currency : unit of all money.

    Two calibrations are equal when all their numbers and texts are.
    """

    contributions: pd.Series[float]
    reserves: pd.Series[float]
    risk: pd.DataFrame
    fairness: pd.DataFrame
    members: pd.DataFrame
    loss_curve: pd.DataFrame
    objective: float
    lower_bound: float
    currency: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    certificate: Mapping[str, Any] | None = None
    scenarios: ScenarioFile | None = None
    uncertainty: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, pd.DataFrame | pd.Series):
                object.__setattr__(self, item.name, value.copy())
        for name, column in records.SERIES.items():
            getattr(self, name).name = column
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    @property
    def weights(self) -> pd.Series[float]:
        """`w[i] = sum_g c[i, g] / sum c`, by member; sums to 1 (all zero when nobody pays)."""
        paid = self.contributions.groupby(level=0, sort=False).sum()
        total = paid.sum()
        return (paid / total if total > 0 else paid * 0.0).rename("weight")

    @property
    def total(self) -> float:
        """Contributions and reserves together, money."""
        return float(self.contributions.sum() + self.reserves.sum())

    @property
    def gap(self) -> float:
        """Relative distance of the objective from its lower bound; absolute when the objective is 0."""
        distance = self.objective - self.lower_bound
        return distance / abs(self.objective) if self.objective else distance

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Calibration):
            return NotImplemented
        return records.documents(self) == records.documents(other)

    def __hash__(self) -> int:
        return hash(records.digest(records.documents(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Made again of its fields, for pickles and copies: the view that guards the provenance allows neither."""
        values = vars(self) | {"provenance": dict(self.provenance)}
        return type(self), tuple(values[item.name] for item in fields(self))

    def __repr__(self) -> str:
        return (
            f"<Calibration: {len(self.members)} members, "
            f"contributions {self.contributions.sum():,.6g} {self.currency}, "
            f"reserves {self.reserves.sum():,.6g} {self.currency}, gap {self.gap:.1e}>"
        )

    def _repr_html_(self) -> str:
        from calibrate.reporting import summary_html  # the edge renders; the answer stays plain data

        return summary_html(self)

    def with_provenance(self, more: Mapping[str, Any]) -> Calibration:
        """The same answer with more said about its origin (plain values; later entries win)."""
        return replace(self, provenance={**self.provenance, **more})

    def with_uncertainty(self, table: pd.DataFrame) -> Calibration:
        """The same answer with what `PoolCalibrator.uncertainty` found beside it."""
        return replace(self, uncertainty=table.astype(float))

    def with_choices(self, table: pd.DataFrame) -> Calibration:
        """The same answer with the scores of what else could have been fitted (`models.compare`) in its provenance."""
        return self.with_provenance({"choices": table.reset_index().to_dict("records")})

    def to_fixed_point(self, decimals: int) -> FixedPoint:
        """Contributions and reserves as integers of `10 ** -decimals`, exactly summed; rules that held still hold.

        Linear rules are kept where any rounding up or down keeps them; elsewhere a rule gives at most one unit for each
        of its members. The sum of contributions is right to half a unit, to less than one where a rule wants it.
        """
        rows = [] if self.certificate is None else rows_of(self.certificate)
        labels = [label if isinstance(label, tuple) else (label,) for label in self.contributions.index]
        paid = dict(zip(labels, self.contributions.tolist(), strict=True))
        reserves = dict(zip(self.reserves.index, self.reserves.tolist(), strict=True))
        return FixedPoint.of(paid, reserves, decimals, rows)

    def save(self, path: str | Path) -> Path:
        """Write a folder of JSON and CSV files and the scenarios, complete or not at all. `verify` checks it.

        Raises IntegrityError if `path` exists and is not a saved calibration.
        """
        return records.write(Path(path), records.documents(self), self.scenarios)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a folder that `save` wrote. Raises IntegrityError for an altered, truncated or missing file."""
        values = records.parse(records.read(Path(path)))
        return cls(**values, scenarios=records.scenarios_of(Path(path), values.get("certificate")))
