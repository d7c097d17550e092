"""Laws of losses as other histories of the same length could have had them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats
from calibrate.models.sizes import Seen, Sizes

__all__ = ["sizes_again"]

SEED = 3
SURE = 20_000  # losses of a segment from which its law is taken as known
FARTHEST = 4.0  # times the fitted mean of a loss, which the mean of another law may be
HALVINGS = 6
RARE = 1e-4  # chance of a loss beyond which means are not compared


def sizes_again(seen: Seen, fitted: list[Sizes], n: int) -> list[list[Sizes]]:
    """`n` equally likely sizes of all segments, in the order of their mean losses.

    Each is fitted to the losses with random weights, exponential and independent (the Bayesian bootstrap of Rubin 1981
    for a likelihood: Newton and Raftery 1994, JRSS B 56), so that location, scatter and tail of any family are open as
    far as its losses tell; over the `n`, the weights of each loss are strata of their law. The weights go with the
    order of losses by size: the order of the rows does not matter. A law that cannot be fitted, that has no mean while
    the fitted one has, or one of more than 4 times the fitted, which no sample shows, draws nearer to it by halving
    what its weights differ. From 20,000 losses on a law is taken as known; a threshold always is. Scales of
    members are drawn from their normal laws, by strata.
    """
    if all(z.size >= SURE for z in seen.standard):
        return [fitted] * n
    rng = np.random.default_rng(SEED)
    weights = []
    for z in seen.standard:
        strata = rng.permuted(np.tile(np.arange(n), (min(z.size, SURE), 1)), axis=1)
        drawn = -np.log1p(-(strata + rng.random(strata.shape)) / n)
        weights.append(drawn if z.size < SURE else np.ones((z.size, n)))
    found = [_near(seen, fitted, [w[:, j] / w[:, j].mean() for w in weights]) for j in range(n)]
    found = _scattered(found, rng)
    caps = [part.cap(RARE) for part in fitted]
    return sorted(found, key=lambda each: sum(x.count * x.mean(c) for x, c in zip(each, caps, strict=True)))


def _scattered(laws: list[list[Sizes]], rng: np.random.Generator) -> list[list[Sizes]]:
    """The same laws with scales of members as far from their means as their losses leave open."""
    chances = (np.arange(len(laws)) + 0.5) / len(laws)
    moved: list[list[Sizes]] = [[] for _ in laws]
    for g, part in enumerate(laws[0]):
        normal = rng.permuted(np.tile(ndtri(chances)[:, None], part.open.size), axis=0)
        for j, each in enumerate(laws):
            apart = np.exp(np.sqrt(part.open) * normal[j] - part.open / 2)
            forms = each[g].forms.within(each[g].law)
            moved[j].append(replace(each[g], relative=each[g].relative * apart, forms=forms))
    return moved


def _near(seen: Seen, fitted: list[Sizes], weights: Sequence[Floats]) -> list[Sizes]:
    for _ in range(HALVINGS):
        try:
            found = seen.again(fitted, weights)
        except ModelError:
            found = []
        if found and all(map(_plausible, found, fitted)):
            return found
        weights = [(w + 1) / 2 for w in weights]
    return fitted


def _plausible(one: Sizes, fitted: Sizes) -> bool:
    return not fitted.has_mean or (one.has_mean and one.mean() <= FARTHEST * fitted.mean())
