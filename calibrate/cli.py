"""The command line. Imports nothing heavy before a command needs it, so that `--help` answers at once."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from calibrate import __version__
from calibrate.errors import CalibrateError, ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

    from calibrate.operations.config import Configuration
    from calibrate.operations.store import Run

__all__ = ["app", "main"]

NOT_PROVED = 5
INTERRUPTED = 130
TOP = 12  # members shown; `calibrate report` shows all

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Contributions and reserves of a risk pool.",
    epilog="Exit codes: 0 done, 2 wrong input, 3 rules conflict, 4 not solved, 5 not proved, 130 interrupted.",
)
console = Console(stderr=True, soft_wrap=True, highlight=False)

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A TOML file, or the name of a packaged data set.")
]

RunArgument = Annotated[
    Path, typer.Argument(help="A run, a folder of runs (its newest is taken), or a saved calibration.")
]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"calibrate {__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def fit(
    config: ConfigArgument,
    uncertainty: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Resample the history N times: minutes. Default: as CONFIG says."),
    ] = None,
) -> None:
    """Calibrate a pool: read its losses, fit the models, simulate, solve, and write the run and its report."""
    with _working():
        from calibrate.operations import job

        configuration = _configuration(config)
        if uncertainty is not None:
            configuration = configuration.resampling(uncertainty)
        outcome = job.fit(configuration, datetime.now(UTC))
    _summarise(outcome.run)
    if not outcome.computed:
        typer.echo("\nNothing has changed since this run was made: found again, not computed again.")
    _say_where(outcome.run)


@app.command()
def recalibrate(
    config: ConfigArgument,
    today: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Act as if today were this day (UTC): a run made so is dated so."),
    ] = None,
) -> None:
    """Calibrate again if it is due, close to the newest run, and show what moved. Safe to run twice."""
    with _working():
        from calibrate.operations import recalibration

        now = datetime.now(UTC) if today is None else today.replace(tzinfo=UTC)
        result = recalibration.recalibrate(_configuration(config), now)
    if result.computed:
        _summarise(result.run)
        if result.previous is not None:
            typer.echo(f"\nWhat moved, and why it may\n{_aligned(recalibration.moves(result))}")
    typer.echo(f"\n{'Done' if result.computed else 'Nothing to do'}: {result.reason}.")
    _say_where(result.run)


@app.command()
def schedule(config: ConfigArgument) -> None:
    """Say when the pool is due again, and the line with which cron looks every morning whether it is."""
    with _working():
        from calibrate.operations.schedule import cron_line, when_due

        told = when_due(_configuration(config), datetime.now(UTC))
    typer.echo(f"{told}\n\nFor cron (crontab -e); it does nothing before it is due:\n\n{cron_line(Path(config))}")


@app.command()
def report(
    run: RunArgument,
    html: Annotated[
        Path | None, typer.Option(help="Where to write the page (default: beside the calibration).")
    ] = None,
) -> None:
    """Check the files of a finished run, show all its tables, and write its HTML page anew."""
    with _working():
        from calibrate.operations.store import locate
        from calibrate.reporting import tables, write_html

        calibration, page = locate(run)
        written = write_html(calibration, html or page)
    typer.echo(tables.terminal(calibration))
    typer.echo(f"\nReport: {written}")


@app.command()
def verify(run: RunArgument) -> None:
    """Prove a saved calibration from its files alone: every rule, its value, and that no plan is better."""
    with _working():
        from calibrate.certificate import verify as checked

        verdict = checked(_saved(run))
    for told in (*verdict.checks, verdict.sentence):
        typer.echo("".join(one if one.isprintable() else ascii(one)[1:-1] for one in told))  # names write no lines
    if not verdict.proved:
        raise typer.Exit(NOT_PROVED)


@app.command()
def export(
    run: RunArgument,
    decimals: Annotated[int, typer.Option(min=0, max=60, help="Of the smallest unit: 2 for cents, 18 for wei.")],
    to: Annotated[Path | None, typer.Option(help="Write to this file instead of showing it.")] = None,
) -> None:
    """Contributions and reserves as integers of a smallest unit, exactly summed, as JSON."""
    with _working():
        from calibrate.operations.store import locate

        text = locate(run)[0].to_fixed_point(decimals).to_json()
        if to is not None:
            to.write_text(text, encoding="utf-8")
    typer.echo(text if to is None else f"Written: {to}", nl=to is not None)


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="Show the starter configuration of this data set.")] = None,
    copy: Annotated[Path | None, typer.Option(help="Copy configuration, card and files into this new folder.")] = None,
) -> None:
    """List the packaged data sets, show a starter configuration, or copy one to work on."""
    with _working():
        from calibrate import datasets as packaged

        if name is None and copy is not None:
            raise ConfigurationError(f"--copy needs the name of a data set ({', '.join(packaged.names())})")
        names = packaged.names() if name is None else (name,)
        folders = {known: packaged.folder(known) for known in names}
        if name is not None and copy is not None:
            _copy(folders[name], copy)
    for known, folder in folders.items():
        if name is None:
            title = (folder / "README.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
            typer.echo(f"{known:22} {title}")
        elif copy is None:
            typer.echo((folder / f"{known}.toml").read_text(encoding="utf-8"), nl=False)
        else:
            typer.echo(f"Copied. Now run: calibrate fit {copy / f'{known}.toml'}")


def main() -> None:
    """Entry point of the `calibrate` command."""
    app()


@contextmanager
def _working() -> Iterator[None]:
    """Progress on stderr; an error becomes its sentence and its exit code."""
    logger = logging.getLogger("calibrate")
    level = logger.level
    with console.status("starting") if console.is_terminal else nullcontext() as status:
        handler = _Progress(console, status)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        except CalibrateError as error:
            console.print(f"calibrate: {error}", markup=False)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            where = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            room, there = "make room and run it again", "is its folder there, and may it be read and written?"
            console.print(f"calibrate: {where}; {room if full else there}", markup=False)
            raise typer.Exit(ConfigurationError.exit_code) from None
        except KeyboardInterrupt:
            console.print("calibrate: interrupted, no run was written")
            raise typer.Exit(INTERRUPTED) from None
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


class _Progress(logging.Handler):
    """Says what the library is at: beside a spinner on a terminal, as lines elsewhere. Warnings are always lines."""

    def __init__(self, console: Console, status: Status | None) -> None:
        super().__init__()
        self.console = console
        self.status = status

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if self.status is None or record.levelno >= logging.WARNING:
            self.console.print(f"calibrate: {message}", markup=False)
        else:
            self.status.update(escape(message))


def _configuration(config: str) -> Configuration:
    """A file, or the starter configuration of a packaged data set, whose runs go below the working folder."""
    from calibrate import datasets as packaged
    from calibrate.operations.config import load

    path = Path(config)
    if path.is_file() or path.suffix:
        return load(path)
    if config in packaged.names():
        return load(packaged.folder(config) / f"{config}.toml", runs_home=Path.cwd())
    raise ConfigurationError(
        f"there is no configuration file {config!r}, nor a packaged data set of that name "
        f"({', '.join(packaged.names())})"
    )


def _saved(path: Path) -> Path:
    """The folder of the saved calibration: what lies in it is for the verifier to judge."""
    from calibrate.operations.store import CALIBRATION, RunStore
    from calibrate.records import SEAL

    if not path.exists():
        raise ConfigurationError(f"there is no {path}; expected a run, a folder of runs, or a saved calibration")
    if (path / CALIBRATION).is_dir():
        return path / CALIBRATION
    newest = None if (path / SEAL).is_file() else RunStore(path).newest()
    return path if newest is None else newest.path / CALIBRATION


def _copy(folder: Path, target: Path) -> None:
    if target.exists():
        raise ConfigurationError(f"{target} exists; name a new folder for --copy")
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__"))


def _summarise(run: Run) -> None:
    """The numbers to read first, and who pays most."""
    from calibrate.reporting import tables

    calibration = run.calibration
    paid = tables.contributions(calibration)
    columns = ["contribution", "weight", "exposure", "expected_loss", "loading"]
    shown = paid[[column for column in columns if paid[column].notna().any()]]
    unit = calibration.currency
    typer.echo(f"In {unit}; the interval is 95 % of the Monte Carlo error\n{_aligned(tables.headline(calibration))}")
    risk = tables.risk(calibration).drop(columns=["optimism_lower", "optimism_upper"])
    notes = [f"  {note}" for note in calibration.provenance.get("risk_notes", ())]
    heading = "Risk (optimism: how far in-sample lies below out-of-sample)"
    typer.echo("\n".join([f"\n{heading}\n{_aligned(risk)}", *notes]))
    typer.echo(f"\nReserves\n{_aligned(calibration.reserves.to_frame())}")
    if calibration.uncertainty is not None:
        typer.echo(
            f"\nWhat simulation and what the history leave open, 95 %\n{_aligned(tables.open_numbers(calibration))}"
        )
    title = "Who pays what" if len(shown) <= TOP else f"Who pays most ({TOP} of {len(shown)} members)"
    typer.echo(f"\n{title}\n{_aligned(shown.head(TOP))}")
    rules = tables.fairness(calibration).set_index("in_words")[["room", "holds", "price_in_words"]]
    if not rules.empty:
        typer.echo(f"\nFairness (room: money that is left to a rule's limit)\n{_aligned(rules, width=90)}")


def _aligned(table: pd.DataFrame, width: int = 44) -> str:
    """A frame as text: money in full, shares in percent."""
    from calibrate.reporting import words

    shares = {"weight", "change_share", "optimism"}
    shown = table.copy()
    for column in shown.columns:
        if shown[column].dtype.kind == "f":
            write = words.percent if column in shares else words.money
            shown[column] = [write(float(number)) for number in shown[column]]
    shown.index = [words.shorten(name, width) for name in shown.index]
    return shown.rename(columns=lambda name: str(name).replace("_", " ")).to_string()


def _say_where(run: Run) -> None:
    typer.echo(f"\nRun:         {run.path}\nCalibration: {run.path / 'calibration'}\nReport:      {run.report}")
