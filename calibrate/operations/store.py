"""The store of runs: a folder a run, named by what decides its result, complete or not there at all."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

import calibrate
from calibrate.calibration import Calibration
from calibrate.errors import IntegrityError
from calibrate.history import LossHistory
from calibrate.operations.config import Configuration
from calibrate.operations.construction import referenced_files
from calibrate.records import MAIN, SEAL

__all__ = ["CALIBRATION", "REPORT", "Run", "RunStore", "code_version", "locate", "run_name"]

logger = logging.getLogger(__name__)

CALIBRATION, REPORT = "calibration", "report.html"
NAME_LENGTH = 16  # hexadecimal digits of a SHA-256: 64 bits


@dataclass(frozen=True)
class Run:
    """A finished run: a folder with the saved calibration and its report."""

    path: Path
    calibration: Calibration

    @classmethod
    def open(cls, path: Path) -> Run:
        """Read a run. Raises IntegrityError if a file of its calibration is missing, truncated or altered."""
        run = cls(path, Calibration.load(path / CALIBRATION))
        if "created" not in run.calibration.provenance:
            raise IntegrityError(f"{path} was not written by a run: its provenance does not say when it was created")
        return run

    @property
    def name(self) -> str:
        """Name of the run: the hash of what decides its result."""
        return self.path.name

    @property
    def created(self) -> datetime:
        """When it was computed, UTC."""
        return datetime.fromisoformat(self.calibration.provenance["created"]).astimezone(UTC)

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.path / REPORT


@dataclass(frozen=True)
class RunStore:
    """Runs of one pool in one folder. Whatever starts with a dot is unfinished work and is ignored."""

    folder: Path

    def runs(self) -> list[Run]:
        """All finished runs, oldest first. A damaged one is left out, with a warning, if a sound one came after it.

        Raises IntegrityError for one that may be the newest.
        """
        if not self.folder.is_dir():
            return []
        sound, damaged = [], []
        for path in self.folder.iterdir():
            if (path / CALIBRATION).is_dir() and path.name[0] != ".":
                try:
                    sound.append(Run.open(path))
                except IntegrityError as found:
                    damaged.append((path, found))
        sound.sort(key=lambda run: (run.created, run.name))
        for path, reason in damaged:
            said = _said_created(path)
            if not sound or said is None or said > sound[-1].created:
                raise IntegrityError(f"{reason}; or remove {path}, to go on without this run") from reason
            logger.warning("run %s is damaged, and left out: %s", path.name, reason)
        return sound

    def newest(self) -> Run | None:
        """The run that was computed last, of those that no other followed: clocks go wrong. None if there is none."""
        runs = self.runs()
        followed = {run.calibration.provenance.get("previous") for run in runs}
        return next((run for run in reversed(runs) if run.name not in followed), None)

    def set_aside(self, name: str) -> Path:
        """Move a damaged run to where nobody looks for it: nothing of it is lost."""
        aside = Path(tempfile.mkdtemp(prefix=".damaged.", dir=self.folder))
        return (self.folder / name).rename(aside / name)

    def find(self, name: str) -> Run | None:
        """The run of that name; None if it was never finished."""
        path = self.folder / name
        return Run.open(path) if path.is_dir() else None

    def write(self, name: str, calibration: Calibration, write_report: Callable[[Path], object]) -> Run:
        """Save a run to the side, then give it its name: a reader, and a killed job, see all of it or nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        side = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=self.folder))
        try:
            calibration.save(side / CALIBRATION)
            write_report(side / REPORT)
            side.chmod(0o755)
            side.replace(self.folder / name)
        finally:
            shutil.rmtree(side, ignore_errors=True)
        return Run.open(self.folder / name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store alone: a second job waits, a killed one lets go. Sweeps up what a killed one left behind."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.warning("another job works in %s; waiting for it", self.folder)
            lock.acquire()
        try:
            for left in self.folder.glob(f".{'[0-9a-f]' * NAME_LENGTH}.*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            lock.release()


def _said_created(path: Path) -> datetime | None:
    """When a damaged run says that it was computed; None where it does not read."""
    try:
        told = json.loads((path / CALIBRATION / MAIN).read_text(encoding="utf-8"))["provenance"]["created"]
        return datetime.fromisoformat(told).astimezone(UTC)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def locate(path: Path) -> tuple[Calibration, Path]:
    """The calibration at a path (a run, a folder of runs, or a saved calibration), and where its page belongs.

    Raises IntegrityError if there is none, or one of its files was altered.
    """
    if (path / CALIBRATION).is_dir():
        run: Run | None = Run.open(path)
    elif (path / SEAL).is_file():
        return Calibration.load(path), path.with_name(f"{path.name}.html")
    else:
        run = RunStore(path).newest()
    if run is None:
        raise IntegrityError(
            f"{path} is not a run, a folder of runs, or a saved calibration; make one: calibrate fit CONFIG"
        )
    return run.calibration, run.report


def run_name(history: LossHistory, configuration: Configuration, previous: str | None) -> str:
    """The name of a run: hash of data, configuration (and the files it names), code, and the name of the run before."""
    decisive = {
        "history": history.digest,
        "settings": configuration.settings,
        "files": {text: _digest(path) for text, path in referenced_files(configuration).items()},
        "code": code_version(),
        "previous": previous,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:NAME_LENGTH]


def code_version() -> str:
    """Version of the package, and a hash of its source: two checkouts of one version are told apart."""
    sha = hashlib.sha256()
    home = Path(calibrate.__file__).parent
    for path in sorted(home.rglob("*.py"), key=lambda file: file.relative_to(home).as_posix()):
        if "_datasets" not in path.parts:
            sha.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{calibrate.__version__}+{sha.hexdigest()[:NAME_LENGTH]}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
