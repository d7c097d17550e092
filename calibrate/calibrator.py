"""PoolCalibrator: from a loss history to contributions and reserves. The one file that joins both halves."""

from __future__ import annotations

import collections
import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from calibrate.calibration import Calibration
from calibrate.errors import DataError, ModelError, ProblemError, RuleConflictError, SolverError
from calibrate.fairness import ActuarialFairness, Rule
from calibrate.history import LossHistory
from calibrate.models import JointLossModel
from calibrate.models.frequency.model import Order
from calibrate.models.resampling import resampling_of
from calibrate.models.tails import dependence_summary, tail_table, without_variance
from calibrate.models.uncertainty import chain_uncertainty, optimality_gap
from calibrate.program import CostOfCapital, CVaR, PoolProblem, RiskLimit, Term, Waterfall
from calibrate.program.risk import Kind
from calibrate.scenarios import Scenarios

__all__ = ["PoolCalibrator"]

logger = logging.getLogger(__name__)

FITTED = ("model_", "scenarios_", "problem_", "calibration_")
IN_SAMPLE, OUT_OF_SAMPLE, BATCHES = 1, 2, 3  # stage keys of the random streams; never reuse a number for another stage


class PoolCalibrator(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Fits the loss model, simulates, and solves the program: history in, `calibration_` out.

    Parameters
    ----------
    model : loss model with `fit(history)` and `sample(n, random_state, periods)`; `JointLossModel()` if None.
    waterfall : layers that pay; own contributions, then the pool reserve, if None.
    minimise : terms of the objective. If None, the cost of money: 4 % on contributions, 6 % on reserves, 10 % on the
        CVaR at 99 % of what neither covers (for which the members, or a reinsurer, must stand ready).
    subject_to : rules and limits. If None, contributions follow expected losses within 25 %.
    n_scenarios : scenarios that the plan is optimised on.
    n_out_of_sample : fresh scenarios, independent of those, that the published risk is measured on.
    periods : history periods in one scenario: 12 for a year ahead on monthly data.
    random_state : seed, a whole number >= 0; the same seed gives the same calibration, None another one every time.

    Attributes
    ----------
    model_ : the fitted model. scenarios_ : what the plan was optimised on. calibration_ : the answer.
    problem_ : the program that was solved, to be solved again with other rules or `reference`.

    Raises
    ------
    DataError, ModelError, ProblemError, RuleConflictError, SolverError, as the stages raise them.

    >>> import pandas as pd
    >>> losses = {"A": [1.0, 3.0, 2.0, 4.0, 2.5] * 2, "B": [2.0, 1.0, 5.0, 2.0, 3.0] * 2}
    >>> panel = pd.DataFrame(losses, index=range(2014, 2024))
    >>> history = LossHistory.from_panel(panel, exposures={"A": 10, "B": 10})
    >>> fitted = PoolCalibrator(n_scenarios=200, n_out_of_sample=20_000).fit(history)
    >>> round(float(fitted.calibration_.weights.sum()), 12)
    1.0
    """

    def __init__(
        self,
        *,
        model: Any = None,
        waterfall: Waterfall | None = None,
        minimise: Sequence[Term] | None = None,
        subject_to: Sequence[Rule | RiskLimit] | None = None,
        n_scenarios: int = 20_000,
        n_out_of_sample: int = 100_000,
        periods: int = 1,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.waterfall = waterfall
        self.minimise = minimise
        self.subject_to = subject_to
        self.n_scenarios = n_scenarios
        self.n_out_of_sample = n_out_of_sample
        self.periods = periods
        self.random_state = random_state

    def fit(self, history: LossHistory, previous: Calibration | None = None) -> Self:
        """Calibrate the pool of `history`. Among optimal plans the one closest to `previous`, if given, is chosen."""
        for stage in self._stages(history, previous):
            logger.info("%s", stage)
        for flag in getattr(self.model_, "flags_", ()):
            logger.warning("%s", flag)
        return self

    def _stages(self, history: LossHistory, previous: Calibration | None) -> Iterator[str]:
        """Do the work, one stage after the other, each announced. What an earlier fit left goes first."""
        self._check(history, previous)
        for name in FITTED:
            self.__dict__.pop(name, None)
        yield f"fitting the loss model to {len(history.members)} members, {len(history.periods)} periods"
        self.model_ = self._fitted(history)
        yield f"simulating {self.n_scenarios:,} + {self.n_out_of_sample:,} scenarios"
        self.scenarios_ = self._sample(self.n_scenarios, IN_SAMPLE)
        fresh = self._sample(self.n_out_of_sample, OUT_OF_SAMPLE)
        yield "solving the program"
        expected = _closed_form(self.model_, self.periods)
        self.problem_ = self._problem(self.scenarios_, _last_exposures(history), previous, expected)
        solved = self.problem_.solve(out_of_sample=fresh)
        self.calibration_ = solved.with_provenance(self._origin(history, previous) | _labelled(solved, self.model_))

    def _problem(
        self,
        scenarios: Scenarios,
        exposures: pd.Series[float] | None,
        reference: Calibration | None,
        expected_losses: pd.Series[float] | None,
    ) -> PoolProblem:
        waterfall = Waterfall() if self.waterfall is None else self.waterfall
        return PoolProblem(
            scenarios,
            waterfall,
            minimise=_default_terms(waterfall) if self.minimise is None else self.minimise,
            subject_to=[ActuarialFairness(band=0.25)] if self.subject_to is None else self.subject_to,
            exposures=exposures,
            reference=reference,
            expected_losses=expected_losses,
        )

    def uncertainty(
        self, history: LossHistory, replications: int = 100, seeds: int = 10, block: int | None = None
    ) -> pd.DataFrame:
        """What the length of the history, and apart from it the simulation, leave open in the published numbers.

        The whole chain is run again on `replications` histories of resampled periods, and on the history itself with
        `seeds` seeds: minutes. `block` consecutive periods are drawn together, by default as few as the model allows;
        around the level of a panel, if it wanders.
        Rows: contributions by member, reserves, risk terms (out-of-sample); columns as in
        `models.uncertainty.chain_uncertainty`. Money. ModelError where `block` loses what the model reads of the order.
        """
        self._check(history, None)
        fitted = self._fitted(history)
        if self.periods > 1 and getattr(fitted, "size_trends_", {}):
            raise ModelError(
                f"sizes of segment {next(iter(fitted.size_trends_))!r} move with time, and histories drawn again stay "
                f"at those of the period ahead: over {self.periods} periods their intervals would lie elsewhere; ask "
                "for periods=1, fit to a history of longer periods, or take no trend (pool_level=KnownLevel())"
            )
        resampling = resampling_of(fitted, history, block)
        runs = itertools.count(1)

        def chain(resampled: LossHistory, seed: int) -> pd.Series[float]:
            logger.info("uncertainty: run %d of %d", next(runs), replications + seeds)
            again = clone(self).set_params(random_state=seed)
            try:
                collections.deque(again._stages(resampled, None), maxlen=0)
            except (RuleConflictError, SolverError) as error:
                raise ModelError(f"no plan: {error}") from error
            return _published(again.calibration_)

        return chain_uncertainty(
            history,
            chain,
            replications=replications,
            seeds=seeds,
            resampling=resampling,
            random_state=self.random_state,
        )

    def _fitted(self, history: LossHistory) -> Any:
        """The loss model, fitted to a history."""
        return (JointLossModel() if self.model is None else clone(self.model)).fit(history)

    def optimality_gap(self, batches: int = 10) -> pd.Series[float]:
        """How far the plan may be from the best one under the fitted model, because it was fitted to scenarios.

        On each of `batches` fresh sets of `n_scenarios` the plan's objective less the optimum: `estimate` (their mean,
        too high rather than too low), `upper` (one-sided 95 %), money, and both as shares of the objective.
        ModelError where a rule that measures risk on the scenarios excludes the plan from a batch.
        Source: Mak, Morton and Wood 1999.
        """
        check_is_fitted(self, "calibration_")
        plan, best = [], []
        exposures = self.calibration_.members["exposure"]
        for batch in range(batches):
            logger.info("optimality gap: batch %d of %d", batch + 1, batches)
            fresh = self._sample(self.n_scenarios, BATCHES, batch)
            known = exposures if exposures.notna().all() else None
            problem = self._problem(fresh, known, None, _closed_form(self.model_, self.periods))
            plan.append(problem.value(self.calibration_))
            best.append(problem.solve().objective)
        estimate, upper = optimality_gap(plan, best)
        size = float(np.mean(plan)) or math.nan
        found = [estimate, upper, estimate / size, upper / size, float(batches)]
        return pd.Series(found, index=["estimate", "upper", "share", "upper_share", "batches"], name="optimality gap")

    def _check(self, history: LossHistory, previous: Calibration | None) -> None:
        if not isinstance(history, LossHistory):
            raise DataError(
                f"history is a {type(history).__name__}, expected a LossHistory; "
                "make one by LossHistory.from_panel or LossHistory.from_events"
            )
        if isinstance(self.model, type) or not (self.model is None or hasattr(self.model, "fit")):
            raise ProblemError(f"model is {self.model!r}, expected a loss model, such as JointLossModel()")
        for name in ("minimise", "subject_to"):
            given = getattr(self, name)
            if isinstance(given, Iterator):
                raise ProblemError(
                    f"{name} is a {type(given).__name__}, which is empty once it was read; expected a list"
                )
        least = {"n_scenarios": 1, "n_out_of_sample": 1, "periods": 1}
        for name, low in (least if self.random_state is None else {**least, "random_state": 0}).items():
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < low:
                raise ProblemError(f"{name} is {number!r}, expected a whole number >= {low}")
        if previous is not None and not isinstance(previous, Calibration):
            raise DataError(
                f"previous is a {type(previous).__name__}, expected a Calibration, such as Calibration.load gives"
            )
        if previous is not None and previous.currency != history.currency:
            raise DataError(
                f"the previous calibration is in {previous.currency}, the history in {history.currency}; "
                "expected one currency"
            )
        if self.model is None or isinstance(self.model, JointLossModel):
            # A rule that names a stranger is told now, on a pool of the same names, and not after the simulation.
            cells = len(history.members) * len(history.segments)
            alike = Scenarios(np.ones((1, cells)), history.members, history.segments, currency=history.currency)
            self._problem(alike, _last_exposures(history), previous, None)

    def _sample(self, n: int, *stage: int) -> Scenarios:
        """Scenarios of a stage: its stream depends on seed and stage only."""
        stream = np.random.SeedSequence(self.random_state, spawn_key=stage)
        scenarios: Scenarios = self.model_.sample(n, random_state=stream, periods=self.periods)
        return scenarios

    def _origin(self, history: LossHistory, previous: Calibration | None) -> dict[str, Any]:
        return {
            "history": {
                "sha256": history.digest,
                "members": len(history.members),
                "segments": list(history.segments),
                "periods": [str(history.periods[0]), str(history.periods[-1])],
                "description": repr(history),
            },
            "model": " ".join(repr(self.model_).split()),
            "model_flags": list(getattr(self.model_, "flags_", ())),
            "tails": _tails(self.model_),
            "dependence": dependence_summary(self.model_) if isinstance(self.model_, JointLossModel) else {},
            "periods_ahead": self.periods,
            "seed": self.random_state,
            "previous": None if previous is None else previous.provenance.get("run", "given"),
        }


def _published(calibration: Calibration) -> pd.Series[float]:
    """Contributions, reserves and risk under names of two levels: what it is, and whose."""
    parts = {
        "contribution": calibration.members["contribution"],
        "reserve": calibration.reserves,
        "risk": calibration.risk["out_of_sample"],
    }
    numbers: pd.Series[float] = pd.concat(parts, names=["number", "of"])
    return numbers


def _default_terms(waterfall: Waterfall) -> list[Term]:
    """Money bound, and the tail that it leaves, each at what it costs a year."""
    pooled = isinstance(waterfall, Waterfall) and not waterfall.defaulter_pays  # what is none is refused by the problem
    of: Kind = "shortfall" if pooled else "mutualised"
    return [CostOfCapital(contributions=0.04, reserves=0.06), 0.1 * CVaR(0.99, of=of)]


def _tails(model: Any) -> list[dict[str, Any]]:
    """What the model says of its tails, as plain rows."""
    if not isinstance(model, JointLossModel):
        return []
    return [
        {str(key): value for key, value in row.items()} for row in tail_table(model).reset_index().to_dict("records")
    ]


def _labelled(calibration: Calibration, model: Any) -> dict[str, list[str]]:
    """Notes on the intervals, with those that only the model can tell: a lucky sample hides how heavy its tail is."""
    notes = list(calibration.provenance["risk_notes"])
    heavy = isinstance(model, JointLossModel) and without_variance(model)
    for term in calibration.risk.index if heavy else ():
        if not any(note.startswith(f"{term}: ") for note in notes):
            why = "losses without cap have no variance, as the model's flags say"
            notes.append(f"{term}: heavy tail ({why}): the interval promises too much, and the truth is often above")
    return {"risk_notes": notes}


def _closed_form(model: Any, periods: int) -> pd.Series[float] | None:
    """Expected losses by member of a model that knows them: no sample shows the mean of a heavy tail.

    None for several periods ahead of frequencies or sizes that are not the same in each: it knows the next one.
    """
    summary = getattr(model, "summary_", None)
    if summary is None or "expected_loss" not in summary:
        return None
    frequencies = getattr(model, "frequencies_", {}).values()
    moves = any(each.order is not Order.NOTHING for each in frequencies) or bool(getattr(model, "size_trends_", {}))
    if periods > 1 and moves:
        return None
    by_member: pd.Series[float] = summary["expected_loss"].groupby(level=0, sort=False).sum()
    return periods * by_member


def _last_exposures(history: LossHistory) -> pd.Series[float] | None:
    """Exposures of the last period by member (money or other units): the basis of the period ahead."""
    if history.exposures is None:
        return None
    last = history.exposures.iloc[-1]
    return last if last.index.nlevels == 1 else last.groupby(level=0, sort=False).max()
