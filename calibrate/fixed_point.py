"""Money as contracts and ledgers take it: integers of a smallest unit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from types import MappingProxyType

from calibrate.certificate.rounding import Row, largest_remainder
from calibrate.errors import ProblemError
from calibrate.integer_search import kept

__all__ = ["FixedPoint"]

SCHEMA = 1
MOST_DECIMALS = 60
WEIGHT_DECIMALS = 18


@dataclass(frozen=True)
class FixedPoint:
    """Contributions by member (or member and segment) and reserves, as integers of `10 ** -decimals`.

    `weights` are integers too, of 1e-18 whatever the unit of money: they sum to one exactly.

    >>> paid = FixedPoint.of({("A",): 1.0, ("B",): 2.0}, {"pool": 0.5}, decimals=2)
    >>> paid.contributions[("B",)], paid.weights[("A",)], paid.total
    (200, 333333333333333333, 350)
    """

    contributions: Mapping[tuple[str, ...], int]
    reserves: Mapping[str, int]
    decimals: int

    @classmethod
    def of(
        cls,
        contributions: Mapping[tuple[str, ...], float],
        reserves: Mapping[str, float],
        decimals: int,
        rows: Sequence[Row] = (),
    ) -> FixedPoint:
        """Round money to integers so that the `rows` that it keeps are kept, where a rounding keeps them.

        Contributions by largest remainder, their sum right to half a unit, to less than one where a row wants it.
        """
        if isinstance(decimals, bool) or not (isinstance(decimals, Integral) and 0 <= decimals <= MOST_DECIMALS):
            raise ProblemError(
                f"decimals is {decimals!r}, expected a whole number from 0 to {MOST_DECIMALS}, such as 18"
            )
        decimals = int(decimals)  # powers of a numpy integer wrap around without a word
        whole = kept(
            [*contributions.values(), *reserves.values()], len(contributions), decimals, rows, list(contributions)
        )
        return cls(
            MappingProxyType(dict(zip(contributions, whole, strict=False))),
            MappingProxyType(dict(zip(reserves, whole[len(contributions) :], strict=True))),
            decimals,
        )

    @property
    def total(self) -> int:
        """Contributions and reserves together."""
        return sum(self.contributions.values()) + sum(self.reserves.values())

    @property
    def weights(self) -> Mapping[tuple[str, ...], int]:
        """Shares of all contributions as integers that sum to `10 ** 18`; all zero when nobody pays."""
        shares = largest_remainder(list(self.contributions.values()), 10**WEIGHT_DECIMALS, list(self.contributions))
        return MappingProxyType(dict(zip(self.contributions, shares, strict=True)))

    def to_json(self) -> str:
        """Integers as decimal strings (a JSON number may lose digits), with the decimals of both and schema version."""
        weights = self.weights
        body = {
            "schema": SCHEMA,
            "decimals": self.decimals,
            "weight_decimals": WEIGHT_DECIMALS,
            "total": str(self.total),
            "total_contributions": str(sum(self.contributions.values())),
            "contributions": [
                {"member": label[0]}
                | ({"segment": label[1]} if len(label) > 1 else {})
                | {"amount": str(amount), "weight": str(weights[label])}
                for label, amount in self.contributions.items()
            ],
            "reserves": [{"reserve": name, "amount": str(amount)} for name, amount in self.reserves.items()],
        }
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"
