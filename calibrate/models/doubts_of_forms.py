"""Whether losses of the members of a segment have one form, and a scale for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibrate.models.collective import Events
from calibrate.models.forms import Scatter

__all__ = ["form_flags"]

NAMED = 3
UNLIKE = (
    "segment {!r}: losses of its members scatter unlike each other (deviation of the log {}; {}); the law of the "
    "segment is drawn to a power of each member's own, as far as its losses tell (severity_power), and where forms "
    "differ by more than a power it misses them: members with 200 losses or more can be segments of their own"
)


def form_flags(events: Events, members: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each segment whose members' log-losses scatter unlike each other, naming who does most and least.

    Distances of log-losses from their member's median, and ranks of these, compared between members: both clearly
    unlike, as skewed logs mislead the one and long tails the other. Losses that are lower bounds do not tell.
    Source: Brown and Forsythe 1974, JASA 69; Fligner and Killeen 1976, JASA 71.
    """
    found = []
    for g, name in enumerate(events.segments):
        own = events.segment == g
        if events.at_least[own].any():
            continue
        scatter = Scatter.of(np.log(events.losses[own]), events.owner[own], events.when[own])
        if scatter is not None and scatter.unlike(len(events.segments)):
            order = [(members[i], deviation) for i, deviation in scatter.ordered()]
            few = min(NAMED, len(order) // 2)
            most, least = ([f"{d:.2g} for {member!r}" for member, d in part] for part in (order[:few], order[-few:]))
            found.append(UNLIKE.format(name, ", ".join(most), ", ".join(least)))
    return tuple(found)
