"""Which frequencies may be the true ones: as asked for; else by what counts and sizes say for shocks, shared or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from calibrate.models.frequency.self_exciting import SelfExciting
from calibrate.models.sizes import Seen

__all__ = ["Family", "families"]

CLEARLY = 2.0  # difference of log-likelihoods from which one model is preferred
HOPELESS = 10.0  # from which the other one is out of the question


@dataclass(frozen=True)
class Family:
    """Frequencies of one family, fitted to every segment, how far sizes are alike, and what is to be said of both.

    Only losses that one shock brings to all members can be alike.
    """

    frequencies: list[CountModel]
    alike: list[AlikePosterior]
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, events: Events, seen: Seen, frequencies: list[CountModel], flags: Sequence[str] = ()) -> Family:
        """With how far the losses of its periods are alike."""
        shared = frequencies[0].shared and not isinstance(frequencies[0], SelfExciting)
        if not shared:
            return cls(frequencies, [NOT_ALIKE] * len(frequencies), (*flags, *events.alike_flags()))
        alike = events.alike(seen, frequencies)
        said = [flag for law, name in zip(alike, events.segments, strict=True) for flag in law.flag(name)]
        return cls(frequencies, alike, (*flags, *said))

    @property
    def log_likelihood(self) -> float:
        """Of all segments, that of how alike their sizes are integrated."""
        counted = sum(model.log_likelihood_ for model in self.frequencies)
        return float(counted) + pooled_evidence(self.alike)


def families(events: Events, seen: Seen, asked: CountModel | Hawkes | None, bound: bool) -> list[Family]:
    """The family that is used, and after it what may be true as well; one alone if it was asked for.

    `bound`: whether a dependence of all columns was asked for, which leaves no room for shared shocks.
    """
    if isinstance(asked, Hawkes):
        excited = events.excited(asked)
        return [Family.of(events, seen, list(excited), list(map(SelfExciting.flag, excited, events.segments)))]
    if asked is not None:
        found = events.frequencies(asked)
        named = zip(found, events.segments, strict=True)
        alone = Family.of(events, seen, found, [model.flag(g) for model, g in named if isinstance(model, Drifting)])
        said = (
            _together(events, seen, alone, asked) if isinstance(asked, NegativeBinomial | Poisson) and not bound else ()
        )
        return [replace(alone, flags=(*said, *alone.flags))]
    if bound:
        return [_elastic(events, seen, NegativeBinomial())]
    alone, together = (_elastic(events, seen, family) for family in (NegativeBinomial(), SharedShock()))
    gain = together.log_likelihood - alone.log_likelihood
    if gain <= CLEARLY:
        said = _outvoted(events, alone, together, "hit members together, as SharedShock has it")
        return [replace(alone, flags=(*said, *alone.flags)), *([together] if gain > -HOPELESS else [])]
    said = _outvoted(events, together, alone, "hit members apart from each other, as NegativeBinomial has it")
    likelier = _likelier(together, alone, "NegativeBinomial")
    return [replace(together, flags=(likelier, *said, *together.flags)), *([alone] if gain < HOPELESS else [])]


def _likelier(together: Family, alone: Family, name: str) -> str:
    said = f"log-likelihood {together.log_likelihood:,.1f} against {alone.log_likelihood:,.1f}"
    return f"events hit members together: SharedShock is likelier than {name} ({said})"


def _outvoted(events: Events, chosen: Family, other: Family, how: str) -> tuple[str, ...]:
    """Segments that tell the other family clearly: all have one."""
    found = []
    for name, here, there in zip(events.segments, chosen.frequencies, other.frequencies, strict=True):
        if there.log_likelihood_ - here.log_likelihood_ > HOPELESS:
            values = f"log-likelihood {there.log_likelihood_:,.1f} against {here.log_likelihood_:,.1f}"
            found.append(
                f"segment {name!r}: its events {how} ({values}), but segments have one family of shocks, and the "
                "others tell otherwise: how many members its bad periods hit is not its own; it may be calibrated alone"
            )
    return tuple(found)


def _together(events: Events, seen: Seen, alone: Family, asked: CountModel) -> tuple[str, ...]:
    """What is to be said of shocks of each member alone where shared ones are likelier: they were asked for."""
    together = Family.of(events, seen, events.frequencies(SharedShock()))
    if together.log_likelihood - alone.log_likelihood <= CLEARLY:
        return ()
    likelier = _likelier(together, alone, repr(asked))
    return (f"{likelier}, which was asked for; leave frequency out, or ask for SharedShock()",)


def _elastic(events: Events, seen: Seen, family: Frequency) -> Family:
    """Events in proportion to exposure, or to a power of it where that is much likelier."""
    chosen = list(events.frequencies(family))
    flags = []
    for g, elastic in enumerate(events.frequencies(Elastic(family))):
        if isinstance(elastic, Elastic) and elastic.gain_ > 2 * CLEARLY:
            chosen[g] = elastic
            power = f"the power {elastic.coefficient_:.2f} of exposure, not with exposure"
            found = f"log-likelihood {elastic.gain_:+,.1f}"
            flags.append(f"segment {events.segments[g]!r}: the number of events grows with {power} ({found})")
    return Family.of(events, seen, chosen, flags)
