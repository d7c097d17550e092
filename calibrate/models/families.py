"""Which frequencies may be the true ones: as asked for; else by what counts and sizes say for shocks, shared or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from calibrate.errors import ModelError
from calibrate.models.alike import NOT_ALIKE, AlikePosterior, pooled_evidence
from calibrate.models.collective import Events
from calibrate.models.frequency import (
    CountModel,
    Drifting,
    Elastic,
    Frequency,
    Hawkes,
    NegativeBinomial,
    Poisson,
    SharedShock,
)
from calibrate.models.frequency.model import Order
from calibrate.models.frequency.self_exciting import SelfExciting
from calibrate.models.sizes import Seen

__all__ = ["Asked", "Family", "families"]

Asked = CountModel | Hawkes | Mapping[str, CountModel] | None
Bools = npt.NDArray[np.bool_]

CLEARLY = 2.0  # difference of log-likelihoods from which one model is preferred
HOPELESS = 10.0  # from which the other one is out of the question


@dataclass(frozen=True)
class Family:
    """A frequency for every segment, how far sizes are alike, and what is to be said of each.

    Only losses that one shock brings to all members can be alike.
    """

    frequencies: list[CountModel]
    alike: list[AlikePosterior]
    said: list[str]  # of each frequency, "" for nothing
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, events: Events, seen: Seen, frequencies: list[CountModel], said: Sequence[str] = ()) -> Family:
        """With how far the losses of its periods are alike."""
        alike = [events.alike(seen, g, one) if _shared(one) else NOT_ALIKE for g, one in enumerate(frequencies)]
        return cls(frequencies, alike, list(said) or [""] * len(frequencies))

    def told(self, events: Events, *flags: str) -> Family:
        """With flags: these, those of the frequencies, and of losses that are alike, or drawn as if they were not."""
        named = zip(self.alike, events.segments, strict=True)
        sizes = [flag for law, name in named for flag in law.flag(name)]
        apart = [g for g, model in enumerate(self.frequencies) if not _shared(model)]
        return replace(self, flags=(*flags, *filter(None, self.said), *sizes, *events.alike_flags(apart)))

    def taken(self, other: Family, which: Bools) -> Family:
        """The segments `which` of the other one, the rest of this."""
        pairs = [(other if one else self, g) for g, one in enumerate(which)]
        parts = ([each.frequencies[g] for each, g in pairs], [each.alike[g] for each, g in pairs])
        return Family(*parts, [each.said[g] for each, g in pairs])

    def log_likelihood(self, which: Bools) -> float:
        """Of some segments, that of how alike their sizes are integrated."""
        own = np.flatnonzero(which)
        counted = sum(self.frequencies[g].log_likelihood_ for g in own)
        return float(counted) + pooled_evidence([self.alike[g] for g in own])


def families(events: Events, seen: Seen, asked: Asked, bound: bool) -> list[Family]:
    """The family that is used, and after it what may be true as well; one alone if it was asked for.

    `asked` for some segments leaves the others open. `bound`: whether a dependence of all columns was asked for, which
    leaves no room for shared shocks.

    Segments that tell clearly whether their members are hit together go by themselves; the others are one family, and
    a clear segment has a limited voice in it.
    """
    if isinstance(asked, Hawkes):
        excited = events.excited(asked)
        said = list(map(SelfExciting.flag, excited, events.segments))
        return [Family.of(events, seen, list(excited), said).told(events)]
    if isinstance(asked, CountModel):
        found = events.frequencies(asked)
        named = zip(found, events.segments, strict=True)
        alone = Family.of(events, seen, found, [m.flag(g) if isinstance(m, Drifting) else "" for m, g in named])
        warned = isinstance(asked, NegativeBinomial | Poisson) and not bound
        return [alone.told(events, *(_together(events, seen, alone, asked) if warned else ()))]
    fixed = _fixed(events, asked or {})
    alone = _elastic(events, seen, NegativeBinomial(), fixed)
    if bound:
        return [alone.told(events)]
    together = _elastic(events, seen, SharedShock(), fixed)
    return _chosen(events, alone, together, np.array([name not in fixed for name in events.segments]))


def _chosen(events: Events, alone: Family, together: Family, free: Bools) -> list[Family]:
    """Of two families, segment by segment; the `free` ones are not those that were asked for."""
    each = np.eye(free.size, dtype=bool) & free
    gains = np.array([together.log_likelihood(one) - alone.log_likelihood(one) for one in each])
    clear = np.abs(gains) > HOPELESS
    rest = free & ~clear
    gain = together.log_likelihood(rest) - alone.log_likelihood(rest)
    gain += float(np.clip(gains[clear], -HOPELESS, HOPELESS).sum())
    shared = np.where(clear, gains > 0, free & (gain > CLEARLY))
    chosen = alone.taken(together, shared).told(events, *_said(events, alone, together, shared, free, gains))
    if not rest.any() or (gain >= HOPELESS if gain > CLEARLY else gain <= -HOPELESS):
        return [chosen]
    return [chosen, alone.taken(together, shared ^ rest)]


def _said(
    events: Events, alone: Family, together: Family, shared: Bools, free: Bools, gains: npt.NDArray[np.float64]
) -> tuple[str, ...]:
    """What is to be said where members are hit together, in all segments or in some."""
    if not shared.any():
        return ()
    if np.array_equal(shared, free):
        return (_likelier(together, alone, "NegativeBinomial", free),)
    values = ", ".join(f"{events.segments[g]!r} {gains[g]:+,.1f}" for g in np.flatnonzero(free))
    kinds = [" and ".join(repr(events.segments[g]) for g in np.flatnonzero(own)) for own in (shared, free & ~shared)]
    return (
        f"segments differ in how they are hit: members together in {kinds[0]} (SharedShock), apart from each other in "
        f"{kinds[1]} (NegativeBinomial); log-likelihood of the former over the latter: {values}",
    )


def _likelier(together: Family, alone: Family, name: str, which: Bools) -> str:
    values = [one.log_likelihood(which) for one in (together, alone)]
    said = f"log-likelihood {values[0]:,.1f} against {values[1]:,.1f}"
    return f"events hit members together: SharedShock is likelier than {name} ({said})"


def _together(events: Events, seen: Seen, alone: Family, asked: CountModel) -> tuple[str, ...]:
    """What is to be said of shocks of each member alone where shared ones are likelier: they were asked for."""
    together, every = Family.of(events, seen, events.frequencies(SharedShock())), np.ones(len(events.segments), bool)
    if together.log_likelihood(every) - alone.log_likelihood(every) <= CLEARLY:
        return ()
    likelier = _likelier(together, alone, repr(asked), every)
    return (f"{likelier}, which was asked for; leave frequency out, or ask for SharedShock()",)


def _fixed(events: Events, asked: Mapping[str, CountModel]) -> dict[str, CountModel]:
    """Frequencies that were asked for by segment, fitted. ModelError for a stranger, and for one with a memory."""
    for name, model in asked.items():
        if name not in events.segments:
            known = ", ".join(events.segments)
            raise ModelError(f"frequency names {name!r}, which is no segment; the segments are {known}")
        if model.order is Order.NEIGHBOURS:
            raise ModelError(
                f"frequency of segment {name!r} is {model!r}, which remembers the period before: all segments or none "
                "can; give it for all of them, or calibrate the segment alone"
            )
    return {name: events.frequency(model, events.segments.index(name)) for name, model in asked.items()}


def _elastic(events: Events, seen: Seen, family: Frequency, fixed: Mapping[str, CountModel]) -> Family:
    """Events in proportion to exposure, or to a power of it where that is much likelier; but those that are `fixed`."""
    chosen, said = list[CountModel](), list[str]()
    for g, name in enumerate(events.segments):
        model, flag = (fixed[name], "") if name in fixed else _scaled(events, family, g)
        chosen.append(model)
        said.append(flag)
    return Family.of(events, seen, chosen, said)


def _scaled(events: Events, family: Frequency, g: int) -> tuple[CountModel, str]:
    """The frequency of one segment, and what is to be said of it."""
    elastic = events.frequency(Elastic(family), g)
    if not (isinstance(elastic, Elastic) and elastic.gain_ > 2 * CLEARLY):
        return events.frequency(family, g), ""
    power = f"the power {elastic.coefficient_:.2f} of exposure, not with exposure"
    found = f"log-likelihood {elastic.gain_:+,.1f}"
    return elastic, f"segment {events.segments[g]!r}: the number of events grows with {power} ({found})"


def _shared(model: CountModel) -> bool:
    """Whether one shock brings the losses of a period to all members."""
    return model.shared and not isinstance(model, SelfExciting)
