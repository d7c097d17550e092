"""What the pool paid of each period's losses, by the terms that forecasts of it are made by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from calibrate.history import LossHistory
from calibrate.models.arrays import Floats
from calibrate.models.collective import Events
from calibrate.models.coverage import Coverage, pay

__all__ = ["asked_of", "realised"]


def realised(history: LossHistory, model: Any, start: int) -> tuple[Floats, list[str]]:
    """Paid losses (periods, members), money: event by event after the model's `exposure_cap` and `coverage`, as drawn.

    Losses as they are, of a panel or of a model without them. And a sentence where, from period `start` on, a loss is
    known only to be at least as large as it is, and a larger one would be paid more for.
    """
    shape = len(history.periods), len(history.members)
    given, frame = history.exposures, history.events
    if frame is None:
        return np.asarray(history.losses.to_numpy().reshape(*shape, -1).sum(axis=2)), []
    exposures = np.ones(history.losses.shape) if given is None else given.to_numpy()
    events = Events.of(history, frame, exposures)
    cover, cap = getattr(model, "coverage", None), getattr(model, "exposure_cap", None)
    cover = cover if isinstance(cover, Coverage) else Coverage()  # a model of the user's own may mean another thing
    terms, who = cover.terms(history.members), events.owner
    most = np.full(who.size, math.inf) if cap is None else cap * events.exposures[events.when, who, events.segment]
    own = terms.retention[who], terms.limit[who], terms.coinsurance[who]
    paid, at_most = pay(np.minimum(events.losses, most), *own), pay(most, *own)
    unknown = events.at_least & (paid < at_most) & (events.when >= start)
    found = np.zeros(shape)
    np.add.at(found, (events.when, who), paid)
    return found, [_unknown(history, events, unknown, int((events.when >= start).sum()))] if unknown.any() else []


def _unknown(history: LossHistory, events: Events, which: npt.NDArray[np.bool_], of: int) -> str:
    first = int(np.flatnonzero(which)[events.when[which].argmin()])
    period, member = history.periods[events.when[first]], history.members[events.owner[first]]
    return (
        f"{int(which.sum())} of {of} losses in the periods to be forecast are known only to be at least as large as "
        f"they are, the first in {period}, of member {member!r} and {events.losses[first]:g}: periods count as if they "
        "came to no more, and the model looks too careful. Give what they are thought to come to, or a history that "
        f"ends before {period}"
    )


def asked_of(model: Any, members: Sequence[str]) -> Any:
    """A clone of the model whose cover names those of its members who were there."""
    asked, cover = clone(model), getattr(model, "coverage", None)
    if isinstance(cover, Coverage):
        terms = {name: amount for name, amount in vars(cover).items() if isinstance(amount, Mapping)}
        known = {name: {m: v for m, v in by.items() if str(m) in members} for name, by in terms.items()}
        asked.set_params(coverage=replace(cover, **known))
    return asked
