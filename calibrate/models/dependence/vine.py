"""Vine copula, by pyvinecopulib."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats
from calibrate.models.dependence.base import Dependence
from calibrate.models.dependence.correlation import Ranks, positive_definite

__all__ = ["Vine"]

logger = logging.getLogger(__name__)

ROWS, TAIL_ROWS, LEVEL = 20_000, 50_000, 0.99  # drawn for the correlation, and for the tail
SEED = 20_260_101
FEWEST = 10  # periods in which all columns are there, if some are not always
LOST = 0.1  # of the mean correlation, from which it is said
MANY = 20  # columns beyond which what all have in common is a column of its own
NEAREST = 1e-10  # of a level to 0 and 1


class Vine(Dependence):
    """Regular vine: a tree of pairs, each with a copula of its own kind, then trees of pairs given their neighbours.

    Pairs may be close in the tail or only in the middle, alike or not. Structure by Dissmann's algorithm, kinds
    (independent, Gaussian, Student t, Clayton, Gumbel, Frank, Joe and rotations) by the modified BIC for vines, which
    is sparse where members outnumber periods. Losses at the point mass enter as an interval of levels (likelihood of
    mixed data, Panagiotelis et al. 2012), not at a random or middle level. What `reliability` says is not used,
    nor are periods in which a column was not there.
    Needs the extra `vine` (pyvinecopulib, MIT). Source: Aas et al. 2009; Dissmann et al. 2013; Nagler et al. 2019.

    Parameters
    ----------
    trees : pairs beyond so many trees are independent given those before. Beyond 20 columns few trees lose what all
        have in common, so the level of each period's mean score joins the vine as a column of its own, a proxy of a
        common factor, and is dropped from what is drawn (Krupskii and Joe 2022). Of t copulas (4 degrees of freedom)
        with correlation 0.4 and 120 periods, 100 members keep 0.37 in the mean (0.15 without the proxy), 25 members
        0.38 (0.24); what is lost beyond a tenth is logged. Chances to be extreme together stay too low, 0.11 beyond
        99 % for 100 members; there, use `StudentT`.

    Fitted: `vine_` (pyvinecopulib's object), `correlation_` (of normal scores) and `tail_dependence_`
    (`P(U_i > 0.99 | U_j > 0.99)`, a finite level), both simulated with a fixed seed, `log_likelihood_`.

    >>> x = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=500)
    >>> bool(abs(Vine().fit(np.exp(x)).correlation_[0, 1] - 0.6) < 0.08)
    True
    """

    vine_: Any
    log_likelihood_: float

    def __init__(self, trees: int = 3) -> None:
        self.trees = trees

    def _fit(self, ranks: Ranks, weights: Floats, groups: np.ndarray) -> None:
        library = _library()
        whole_rows = np.asarray(
            ranks.present.all(axis=1)
        )  # with missing levels of a mass the library's fits are wrong (1.0.1)
        if not whole_rows.all():
            if whole_rows.sum() < FEWEST:
                raise ModelError(
                    f"Vine: in {whole_rows.sum()} of {whole_rows.size} periods all columns are there, and it needs "
                    f"{FEWEST} such periods; leave members out that came late or left, or use StudentT"
                )
            ranks, weights = ranks.rows(whole_rows), weights[whole_rows]
        if not self.trees >= 1:
            raise ModelError(f"Vine: trees is {self.trees!r}, expected a whole number >= 1")
        kinds = library.BicopFamily
        controls = library.FitControlsVinecop(
            family_set=[
                *(kinds.indep, kinds.gaussian, kinds.student, kinds.clayton, kinds.gumbel),
                *(kinds.frank, kinds.joe),
            ],
            selection_criterion="mbicv",
            trunc_lvl=int(self.trees),
            num_threads=1,
        )
        whole = np.array_equal(weights, np.round(weights))
        rows = np.repeat(np.arange(len(weights)), weights.astype(int)) if whole else np.arange(len(weights))
        if not whole:
            controls.weights = weights * len(weights) / weights.sum()
        mixed = ranks.mass > 0
        top = np.where(ranks.at_mass, ranks.mass, ranks.uniform).clip(NEAREST, 1 - NEAREST)
        low = np.where(ranks.at_mass, NEAREST, ranks.uniform).clip(NEAREST, 1 - NEAREST)
        kind = np.where(mixed, "d", "c").tolist()
        self.n_features_in_ = len(kind)
        if len(kind) > MANY:
            top, kind = np.column_stack([top, _common(top, low)]), [*kind, "c"]
        levels = np.hstack([top, low[:, mixed]])[rows]
        levels = np.asfortranarray(levels[np.lexsort(levels.T)])  # the library's choices depend on the order of rows
        self.vine_ = library.Vinecop.from_data(levels, controls=controls, var_types=kind)
        self.log_likelihood_ = float(self.vine_.loglik(levels))
        scores = self._scores(ROWS, np.random.default_rng(SEED))
        self.correlation_ = positive_definite(np.corrcoef(scores.T).reshape(scores.shape[1], scores.shape[1]))
        self._warn_of_loss(ndtri((top[:, : self.n_features_in_] + low) / 2))

    def _warn_of_loss(self, scores: Floats) -> None:
        """Says how much common movement the trees have lost. Zeros at middle levels show rather less than there is."""
        if self.n_features_in_ < 3 or not (scores.std(axis=0) > 0).all():
            return
        above = np.triu_indices(self.n_features_in_, 1)
        seen = float(np.asarray(np.corrcoef(scores.T))[above].mean())
        kept = float(self.correlation_[above].mean())
        if seen - kept > LOST:
            logger.warning(
                "Vine: of a mean correlation of %.2f between %d members %d trees keep %.2f; use StudentT or more trees",
                *(seen, self.n_features_in_, self.trees, kept),
            )

    @property
    def tail_dependence_(self) -> Floats:
        """`P(U_i > 0.99 | U_j > 0.99)`, simulated."""
        beyond = (self._scores(TAIL_ROWS, np.random.default_rng(SEED)) > ndtri(LEVEL)).astype(np.float64)
        counts = beyond.sum(axis=0)
        return np.asarray(beyond.T @ beyond / np.sqrt(np.outer(counts, counts)))

    def _scores(self, n: int, rng: np.random.Generator) -> Floats:
        """Normal scores of the vine's uniforms."""
        seeds = [int(bits) for bits in rng.integers(0, 2**31 - 1, 6)]
        drawn = self.vine_.sample(n, num_threads=1, seeds=seeds)[:, : self.n_features_in_]
        return np.asarray(ndtri(drawn.clip(NEAREST, 1 - NEAREST)))

    def score_cdf(self, scores: Any) -> Any:
        """Standard normal distribution function."""
        return ndtr(scores)

    def score_ppf(self, q: Any) -> Any:
        """Standard normal quantile."""
        return ndtri(q)

    def score_sf(self, scores: Floats, column: int | npt.NDArray[np.intp]) -> Floats:
        """Standard normal survival function."""
        return np.asarray(ndtr(-scores))


def _common(top: Floats, low: Floats) -> Floats:
    """Level of each period's mean score: what all columns have in common, as far as so many can show it."""
    mean = ndtri((top + low) / 2).mean(axis=1)
    return np.asarray(rankdata(mean) / (len(mean) + 1))


def _library() -> Any:
    """pyvinecopulib; ModelError if it is missing."""
    try:
        import pyvinecopulib
    except ImportError:
        raise ModelError(
            "Vine needs pyvinecopulib, which is not installed: pip install 'calibrate[vine]', or use StudentT"
        ) from None
    return pyvinecopulib
