"""Which frequencies may be the true ones: as asked for; else by what the counts say for shocks, shared or not."""

from __future__ import annotations

from dataclasses import dataclass

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

__all__ = ["Family", "families"]

CLEARLY = 2.0  # difference of log-likelihoods from which one model is preferred
HOPELESS = 10.0  # from which the other one is out of the question


@dataclass(frozen=True)
class Family:
    """Frequencies of one family, fitted to every segment, and what is to be said of them."""

    frequencies: list[CountModel]
    flags: tuple[str, ...] = ()

    @property
    def log_likelihood(self) -> float:
        """Of all segments."""
        return float(sum(model.log_likelihood_ for model in self.frequencies))


def families(events: Events, asked: CountModel | Hawkes | None, bound: bool) -> list[Family]:
    """The family that is used, and after it what may be true as well; one alone if it was asked for.

    `bound`: whether a dependence of all columns was asked for, which leaves no room for shared shocks.
    """
    if isinstance(asked, Hawkes):
        excited = events.excited(asked)
        return [Family(list(excited), tuple(map(SelfExciting.flag, excited, events.segments)))]
    if asked is not None:
        found = events.frequencies(asked)
        named = zip(found, events.segments, strict=True)
        flags = [model.flag(g) for model, g in named if isinstance(model, Drifting)]
        if isinstance(asked, NegativeBinomial | Poisson) and not bound:
            flags += _together(events, Family(found), repr(asked))
        return [Family(found, tuple(flags))]
    if bound:
        return [_elastic(events, NegativeBinomial())]
    alone, together = (Family(events.frequencies(family)) for family in (NegativeBinomial(), SharedShock()))
    gain = together.log_likelihood - alone.log_likelihood
    own = [_elastic(events, NegativeBinomial(), alone)] if gain < HOPELESS else []
    shared = [_elastic(events, SharedShock(), together)] if gain > -HOPELESS else []
    if gain <= CLEARLY:
        return own + shared
    likelier = _likelier(together, alone, "NegativeBinomial")
    return [Family(shared[0].frequencies, (likelier, *shared[0].flags)), *own]


def _likelier(together: Family, alone: Family, name: str) -> str:
    said = f"log-likelihood {together.log_likelihood:,.1f} against {alone.log_likelihood:,.1f}"
    return f"events hit members together: SharedShock is likelier than {name} ({said})"


def _together(events: Events, alone: Family, name: str) -> list[str]:
    """What is to be said of shocks of each member alone where shared ones are likelier: they were asked for."""
    together = Family(events.frequencies(SharedShock()))
    if together.log_likelihood - alone.log_likelihood <= CLEARLY:
        return []
    return [f"{_likelier(together, alone, name)}, which was asked for; leave frequency out, or ask for SharedShock()"]


def _elastic(events: Events, family: Frequency, plain: Family | None = None) -> Family:
    """Events in proportion to exposure, or to a power of it where that is much likelier."""
    chosen = list(events.frequencies(family) if plain is None else plain.frequencies)
    flags = []
    for g, elastic in enumerate(events.frequencies(Elastic(family))):
        if isinstance(elastic, Elastic) and elastic.gain_ > 2 * CLEARLY:
            chosen[g] = elastic
            power = f"the power {elastic.coefficient_:.2f} of exposure, not with exposure"
            found = f"log-likelihood {elastic.gain_:+,.1f}"
            flags.append(f"segment {events.segments[g]!r}: the number of events grows with {power} ({found})")
    return Family(chosen, tuple(flags))
