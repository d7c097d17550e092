"""Coverage: what the pool pays of a single loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from calibrate.errors import DataError
from calibrate.models.arrays import Floats

__all__ = ["Coverage", "Terms"]

Amount = float | Mapping[str, float] | pd.Series


@dataclass(frozen=True)
class Terms:
    """Retention, limit and coinsurance of each column, as arrays."""

    retention: Floats
    limit: Floats
    coinsurance: Floats


@dataclass(frozen=True)
class Coverage:
    """What the pool pays of one event's loss `x`: `coinsurance * min((x - retention)+, limit)`, money.

    Parameters
    ----------
    retention : what the member keeps of each event; one number, or a mapping or Series by member.
    limit : the most that the layer above the retention can cost, before coinsurance.
    coinsurance : share of the layer that the pool pays, in (0, 1].

    Raises DataError naming the member and the number. Source: Klugman, Panjer, Willmot, Loss Models, chapter 8.

    >>> Coverage(retention=10.0, limit=50.0, coinsurance=0.8).payment(np.array([5.0, 30.0, 100.0]))
    array([ 0., 16., 40.])
    """

    retention: Amount = 0.0
    limit: Amount = math.inf
    coinsurance: Amount = 1.0

    def __post_init__(self) -> None:
        for what, amount, top in (
            ("retention", self.retention, math.inf),
            ("limit", self.limit, math.inf),
            ("coinsurance", self.coinsurance, 1.0),
        ):
            if isinstance(amount, pd.Series):
                twice = amount.index[amount.index.duplicated()]
                if len(twice):
                    raise DataError(f"coverage: {what} names {str(twice[0])!r} twice; give one for each member")
                amount = {str(member): value for member, value in amount.to_dict().items()}
                object.__setattr__(self, what, amount)  # the one way to fill a frozen object
            by_member = amount.items() if isinstance(amount, Mapping) else [("every member", amount)]
            for member, value in by_member:
                good = (
                    isinstance(value, int | float | np.number)
                    and 0 <= value <= top
                    and (value > 0 or what == "retention")
                    and (math.isfinite(value) or what == "limit")
                )
                if not good:
                    expected = "in (0, 1]" if what == "coinsurance" else ">= 0" if what == "retention" else "> 0"
                    raise DataError(f"coverage, {member}: {what} is {value}, expected a number {expected}")

    def terms(self, members: Sequence[str]) -> Terms:
        """The terms of each of `members`."""
        return Terms(*(_spread(amount, what, members) for what, amount in vars(self).items()))

    def payment(self, losses: Floats) -> Floats:
        """What the pool pays of each loss, by terms that are the same for all members."""
        return pay(losses, *(_spread(amount, what, ["every member"])[0] for what, amount in vars(self).items()))


def pay(losses: Floats, retention: Floats | float, limit: Floats | float, coinsurance: Floats | float) -> Floats:
    """`coinsurance * min((x - retention)+, limit)`."""
    return coinsurance * np.minimum(np.maximum(losses - retention, 0.0), limit)


def _spread(amount: float | Mapping[str, float], what: str, members: Sequence[str]) -> Floats:
    if not isinstance(amount, Mapping):
        return np.full(len(members), float(amount))
    amount = {str(member): value for member, value in amount.items()}  # names are texts: member 1 is "1"
    absent = [member for member in members if member not in amount]
    if absent:
        raise DataError(f"coverage: no {what} for member {', '.join(map(repr, absent))}; give one for each member")
    strangers = [member for member in amount if member not in members]
    if strangers:
        raise DataError(f"coverage: {what} names {', '.join(map(repr, strangers))}, which is no member")
    return np.array([float(amount[member]) for member in members])
