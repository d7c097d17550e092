"""One calibration from a configuration to a finished run in the store."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from calibrate.calibration import Calibration
from calibrate.errors import ConfigurationError, IntegrityError, ModelError
from calibrate.history import LossHistory
from calibrate.operations import construction
from calibrate.operations.config import Configuration, Uncertainty
from calibrate.operations.sources import read_history
from calibrate.operations.store import Run, RunStore, code_version, run_name

if TYPE_CHECKING:
    from calibrate.calibrator import PoolCalibrator

__all__ = ["Outcome", "carry_out", "fit"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """A run, and whether it was computed now or found in the store."""

    run: Run
    computed: bool


def fit(configuration: Configuration, now: datetime) -> Outcome:
    """Calibrate without a look at earlier runs; the run is found again if nothing that decides it has changed."""
    logger.info("reading the losses")
    history = read_history(configuration)
    store = RunStore(configuration.runs)
    with store.locked():
        return carry_out(configuration, history, store, None, now)


def carry_out(
    configuration: Configuration, history: LossHistory, store: RunStore, previous: Run | None, now: datetime
) -> Outcome:
    """Find the run or compute it. `previous` is the reference of the tie rule and the base of `Turnover`."""
    calibrator = construction.calibrator(configuration, None if previous is None else _base(previous, history))
    name = run_name(history, configuration, None if previous is None else previous.name)
    try:
        found = store.find(name)
    except IntegrityError as damaged:
        logger.warning("%s; calibrating again, the damaged run is kept in %s", damaged, store.set_aside(name))
        found = None
    if found is not None:
        return Outcome(found, computed=False)
    before = None if previous is None else previous.calibration
    calibrator.fit(history, previous=before)
    calibration = _with_evidence(calibrator, history, configuration.uncertainty).with_provenance(
        {
            "run": name,
            "created": now.astimezone(UTC).isoformat(timespec="microseconds"),
            "code": code_version(),
            "configuration": {"name": configuration.name, **configuration.settings},
        }
    )
    logger.info("writing the run and its report")
    return Outcome(store.write(name, calibration, lambda path: _write_report(calibration, path, before)), computed=True)


def _with_evidence(calibrator: PoolCalibrator, history: LossHistory, asked: Uncertainty | None) -> Calibration:
    """The answer with the models that lost and, if asked for, with what the history and the scenarios leave open."""
    from calibrate.models import JointLossModel, compare

    calibration = calibrator.calibration_
    if isinstance(calibrator.model_, JointLossModel):
        logger.info("scoring the models that lost")
        calibration = calibration.with_choices(compare(calibrator.model_, history))
    if asked is None:
        return calibration
    try:
        table = calibrator.uncertainty(history, asked.replications, asked.seeds, asked.block)
    except ModelError as reason:  # the plan stands all the same
        logger.warning("what the history leaves open is not given: %s", reason)
        calibration = calibration.with_provenance({"uncertainty_refused": str(reason)})
    else:
        calibration = calibration.with_uncertainty(table).with_provenance({"uncertainty": asked.model_dump()})
    try:
        gap = calibrator.optimality_gap(asked.batches)
    except ModelError as reason:  # a rule that measures risk on the scenarios excludes the plan from some of them
        logger.warning("no optimality gap is given: %s", reason)
        return calibration
    return calibration.with_provenance({"optimality_gap": gap.to_dict()})


def _base(previous: Run, history: LossHistory) -> pd.Series[float]:
    """Previous contributions of those who are still members: who has left binds nobody, who is new has no base."""
    contributions = previous.calibration.contributions.groupby(level=0, sort=False).sum()
    stayed = contributions[contributions.index.isin(history.members)]
    if stayed.empty:
        raise ConfigurationError(
            f"no member of the run {previous.path} is in the data; for another pool name another folder: [run] folder"
        )
    return stayed


def _write_report(calibration: Calibration, path: Path, previous: Calibration | None) -> None:
    from calibrate.reporting import write_html

    write_html(calibration, path, previous)
