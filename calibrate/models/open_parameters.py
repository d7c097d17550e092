"""Events whose rates, shocks, family and sizes are known as far as the history tells: one fitted model a scenario."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
from scipy.special import softmax
from scipy.stats import qmc

from calibrate.models.alike import Alike, AlikePosterior, pooled_evidence
from calibrate.models.arrays import Floats
from calibrate.models.collective import Collective
from calibrate.models.frequency import CountModel, Open
from calibrate.models.process import CollectiveProcess, Key, Memoryless, Mixed, Process, Step, children
from calibrate.models.size_trend import SizeTrend
from calibrate.models.sizes import Seen, Sizes
from calibrate.models.sizes_again import sizes_again

__all__ = ["OpenParameters", "opened"]

DOUBLINGS = 5
NODES = 2**DOUBLINGS  # equally likely models
FEWER = 0.9  # of the events to be expected: from there on it is said
UNTOLD = 0.5  # from there on of a layer that it is hardly known
POINTS, MEMBERS = 1, 2  # seeds: a model has the same nodes whenever it is fitted


class OpenParameters(Process):
    """Each scenario, all of its periods, is drawn by one of equally likely models that the history cannot tell apart.

    The nodes are quantiles of the laws of the parameters: a predictive law. Numbers of events are multiplied, the same
    in all nodes, so that each column has the expected loss of the fitted model (`margins`): what is uncertain raises
    the tail, not the mean. `margins`, and whatever is computed from them (stand-alone risk by `compound`), are those of
    the fitted model `around`, and leave out that its parameters are uncertain.
    Source: Heckman and Meyers 1983 (parameters that are uncertain, mean kept); Harris 1989, Biometrika 76 (predictive
    laws by mixing over what the estimates may be).
    """

    def __init__(self, around: Memoryless, nodes: Sequence[Memoryless], growth: Floats | None = None) -> None:
        self.margins: Collective = around.margins
        self.around, self.nodes = around, tuple(nodes)
        self._known: dict[bytes, tuple[Floats, Floats]] = {}
        self.growth = np.zeros((len(nodes), len(around.margins.segments))) if growth is None else growth

    def at(self, exposures: Floats, periods: int = 1) -> list[Step]:
        """All periods, each scenario by its model. Neighbours that share a dependence are drawn together."""
        kept, steps, ends = self._kept(exposures), [], [0]
        parts = [node.margins.thinned(kept) for node in self.nodes]
        for _, alike in groupby(self.nodes, lambda node: id(node.dependence)):
            size = len(list(alike))
            steps += self._by_period(slice(ends[-1], ends[-1] + size), parts, exposures, periods)
            ends.append(ends[-1] + size)

        def add(rows: Floats, keys: Sequence[Key]) -> None:
            first, second = (children(key, len(steps) + 1) for key in keys)
            chosen = np.random.Generator(np.random.SFC64(second[-1])).integers(len(self.nodes), size=len(rows))
            for j, (low, high) in enumerate(pairwise(ends)):
                own = np.flatnonzero((low <= chosen) & (chosen < high))
                for place in range(j * periods, (j + 1) * periods if own.size else 0):
                    steps[place](rows, own, chosen[own] - low, (first[place], second[place]))

        return [add]

    def _by_period(self, own: slice, parts: Sequence[Collective], exposures: Floats, periods: int) -> list[Mixed]:
        """What draws a period by any of the own nodes, period after period: sizes go on growing."""
        among, growth = self.nodes[own.start].among, self.growth[own]
        if not growth.any():
            return [among(list(parts[own]), exposures)] * periods
        ahead = range(periods)
        return [
            among([part.grown(np.exp(h * by)) for part, by in zip(parts[own], growth, strict=True)], exposures)
            for h in ahead
        ]

    def flags(self, exposures: Floats, names: Sequence[str]) -> tuple[str, ...]:
        """A sentence for each segment whose events are clearly fewer than fitted, so that their mean is kept."""
        wanted, found = (table.sum(axis=0) for table in self._expected(exposures))
        kept = np.divide(wanted, found, out=np.ones_like(wanted), where=found > 0)
        return tuple(
            f"segment {name!r}: scenarios draw {share:.0%} of the events to be expected: sizes that the history allows "
            "cost more in the mean than the fitted ones, whose expected losses are kept; a usual period looks cheap"
            f"{self._untold(exposures, g) if share < UNTOLD else ''}"
            for g, (name, share) in enumerate(zip(names, kept, strict=True))
            if share < FEWER
        )

    def _untold(self, exposures: Floats, g: int) -> str:
        """What is to be said of a layer that the fitted tail hardly reaches, of the member whose it reaches least."""
        margins = self.margins.moved(exposures)
        retention, sizes = margins.terms.retention, margins.segments[g].sizes
        end = sizes.scale * sizes.pivot * (sizes.law.endpoint_ / sizes.pivot) ** sizes.forms.power  # largest losses
        i = int(np.argmax(retention / end if np.isfinite(end).all() else retention))
        if not retention[i] > 0:
            return ""
        reach = f"ends at {end[i]:.3g}" if math.isfinite(end[i]) else "is thin there"
        return (
            f". The cover begins at {retention[i]:.3g} (money), and the fitted tail {reach}: what such a layer costs "
            "is hardly told by this history, and may be many times as much"
        )

    def _kept(self, exposures: Floats) -> Floats:
        """Expected losses of the fitted model over those of the nodes, (members, segments)."""
        wanted, found = self._expected(exposures)
        return np.divide(wanted, found, out=np.ones_like(wanted), where=found > 0)

    def _expected(self, exposures: Floats) -> tuple[Floats, Floats]:
        """Losses to be expected by the fitted model, and by the nodes in the mean."""
        key = exposures.tobytes()
        if key not in self._known:
            by_node = [node.margins.expected_losses(exposures) for node in self.nodes]
            self._known = {key: (self.margins.expected_losses(exposures), np.mean(by_node, axis=0))}
        return self._known[key]


def _with(process: Memoryless, margins: Collective) -> Memoryless:
    other = copy.copy(process)
    other.margins = margins
    return other


def opened(
    candidates: Sequence[CollectiveProcess],
    alike: Sequence[Sequence[AlikePosterior]],
    counts: Floats,
    exposures: Floats,
    seen: Seen,
    trends: Sequence[SizeTrend | None] = (),
) -> Process:
    """The first of the candidates, its parameters and the choice between it and the others open; or as it is, if one
    does not say what counts (periods, members, segments) leave open. `exposures` are those of the last period; `alike`
    how far sizes are, by candidate and segment.

    The likelihood of each family is integrated over its parameters; before the data one is as likely as another.
    Sizes: `sizes_again`; how far they are alike, and the level that this leaves open: `AlikePosterior`; how they grow:
    `SizeTrend`. Rates, shocks: `CountPosterior`. Rates of members within their segment: `Open.unlike`. The nodes are
    points that fill the cube of their chances evenly (Sobol 1967), so none of these depends on another.
    """
    ready = [each for each in candidates if isinstance(each, Memoryless)]
    models = [_open(each) for each in ready]
    if len(ready) < len(candidates) or not all(models):
        return candidates[0]
    known = 2 + 5 * counts.shape[2]
    points = _points(known + sum(trend is not None for trend in trends))
    evidence = [
        sum(model.log_likelihood_ + model.posterior(counts[:, :, g]).evidence for g, model in enumerate(family))
        + pooled_evidence(laws)
        for family, laws in zip(models, alike, strict=True)
    ]
    which = np.searchsorted(np.cumsum(softmax(evidence))[:-1], points[:, 0])
    laws = sizes_again(seen, ready[0].margins.sizes, NODES)
    places = np.argsort(np.argsort(points[:, 1]))
    moved = [_moved(each, family, counts, exposures, points) for each, family in zip(ready, models, strict=True)]
    drawn = [_alike(each, points[:, 2 + 2 * counts.shape[2] : known]) for each in alike]
    growth, ahead = _grown(trends or [None] * counts.shape[2], points[:, known:])
    order = np.argsort(which, kind="stable")
    nodes = [_node(ready[k := which[j]], moved[k][j], laws[places[j]], drawn[k][j], ahead[j]) for j in order]
    return OpenParameters(ready[0], nodes, growth[order])


def _open(candidate: Memoryless) -> list[Open]:
    """Its frequencies; nothing if one of them is closed."""
    found = [part.frequency for part in candidate.margins.segments]
    return [model for model in found if isinstance(model, Open)] if all(isinstance(m, Open) for m in found) else []


def _alike(laws: Sequence[AlikePosterior], points: Floats) -> list[tuple[tuple[Alike, float], ...]]:
    """How far the sizes of all segments are alike, and the factor of all of them that this leaves open, by node."""
    found = []
    for law, (loading, bond, level) in zip(laws, np.split(points.T, len(laws)), strict=True):
        alike = law.at(loading, bond)
        found.append(list(zip(alike, law.factors(alike, level).tolist(), strict=True)))
    return list(zip(*found, strict=True))


def _grown(trends: Sequence[SizeTrend | None], points: Floats) -> tuple[Floats, Floats]:
    """Growth of the log of sizes by period, and the factor of those ahead that it leaves open; by node and segment."""
    growth, ahead = np.zeros((NODES, len(trends))), np.ones((NODES, len(trends)))
    told = [(g, trend) for g, trend in enumerate(trends) if trend is not None]
    for (g, trend), chances in zip(told, points.T, strict=True):
        growth[:, g] = trend.growths(chances)
        ahead[:, g] = trend.factors(growth[:, g])
    return growth, ahead


def _node(
    candidate: Memoryless,
    frequencies: Sequence[CountModel],
    sizes: Sequence[Sizes],
    alike: Sequence[tuple[Alike, float]],
    grown: Floats,
) -> Memoryless:
    fitted = candidate.margins
    rows = zip(fitted.segments, frequencies, sizes, alike, grown.tolist(), strict=True)
    parts = [
        replace(part, frequency=frequency, sizes=replace(law, level=law.level * factor * growth), alike=one)
        for part, frequency, law, (one, factor), growth in rows
    ]
    return _with(candidate, Collective(parts, fitted.terms, fitted.exposure_cap))


def _points(dimensions: int) -> Floats:
    """Points of the unit cube that fill it evenly, each coordinate in the middle of one of `NODES` equal parts."""
    drawn = qmc.Sobol(dimensions, scramble=True, seed=POINTS).random_base2(DOUBLINGS)
    return np.asarray((np.floor(drawn * NODES) + 0.5) / NODES)


def _moved(
    candidate: Memoryless, models: Sequence[Open], counts: Floats, exposures: Floats, points: Floats
) -> list[tuple[Open, ...]]:
    """Frequencies of all segments, by node."""
    rng, found = np.random.default_rng(MEMBERS), []
    even = np.tile((np.arange(NODES)[:, None] + 0.5) / NODES, counts.shape[1])
    for g, model in enumerate(models):
        law = model.posterior(counts[:, :, g], _worth(candidate, g, exposures))
        levels, sizes = law.at(points[:, 2 + 2 * g], points[:, 3 + 2 * g])
        unlike = model.unlike(counts[:, :, g], rng.permuted(even, axis=0))
        found.append([model.moved(w * apart, k) for w, apart, k in zip(levels, unlike, sizes, strict=True)])
    return list(zip(*found, strict=True))


def _worth(candidate: Memoryless, g: int, exposures: Floats) -> float:
    """Variance of the events of a segment if nothing bound its members, over that with their dependence; at most 1.

    Members that come together tell less than as many independent ones. Source: Chandler and Bate 2007, Biometrika 94.
    """
    bound, n = candidate.bound(g), len(candidate.margins.segments)
    if bound is None:
        return 1.0
    scatter: Floats = np.sqrt(candidate.margins.segments[g].frequency.variance(exposures[g::n]))
    alone = float(scatter @ scatter)
    return alone / max(alone, float(scatter @ bound @ scatter)) if alone > 0 else 1.0
