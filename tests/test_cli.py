"""The command line as a newcomer meets it: the main job, and every mistake with its exit code and its sentence."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from calibrate import Calibration, __version__, program
from calibrate.cli import app
from calibrate.errors import SolverError
from calibrate.operations.store import RunStore

RUN = re.compile(r"^Run: +(\S+)$", re.MULTILINE)


def calibrate(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result, code):
    """What a refusal says: one message on stderr, no traceback, nothing on stdout."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    return result.stderr


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, write_pool):
    """A finished run: its configuration and what was printed."""
    config = write_pool(tmp_path_factory.mktemp("pool"))
    result = calibrate("fit", config)
    assert result.exit_code == 0, result.output
    return config, result.stdout


def test_a_risk_without_an_interval_says_why_below_the_table(write_pool, tmp_path):
    config = write_pool(tmp_path)
    config.write_text(config.read_text().replace("n_out_of_sample = 2500", "n_out_of_sample = 300"))
    text = calibrate("fit", config).stdout
    below = text[text.index("Risk") : text.index("Reserves")]
    for term in ("CVaR 95% of shortfall", "CVaR 95% of mutualised", "expected loss of shortfall"):
        assert re.search(rf"^  {term}: no interval: .*; simulate more$", below, re.MULTILINE)


def test_fit_ends_with_a_table_a_calibration_and_a_report(fitted):
    config, text = fitted
    run = RUN.search(text).group(1)
    for words in ("CVaR 95% of shortfall, out-of-sample", "contributions", "Reserves", "Who pays what", "Fairness"):
        assert words in text
    calibration = Calibration.load(f"{run}/calibration")
    assert set(calibration.weights.index) == {"A", "B", "C"}
    assert calibration.provenance["configuration"]["run"]["seed"] == 7
    assert len(calibration.provenance["history"]["sha256"]) == 64
    assert Path(run).parent == config.parent / "runs/pool"
    assert "<html" in Path(run, "report.html").read_text(encoding="utf-8")


def test_a_second_fit_finds_the_run_again(fitted):
    config, text = fitted
    before = {path: path.stat().st_mtime_ns for path in (config.parent / "runs").rglob("*.json")}
    again = calibrate("fit", config)
    assert "found again, not computed again" in again.stdout
    assert RUN.search(again.stdout).group(1) == RUN.search(text).group(1)
    assert {path: path.stat().st_mtime_ns for path in (config.parent / "runs").rglob("*.json")} == before


def test_when_a_pool_is_due_is_said_with_the_line_for_cron(fitted):
    config, text = fitted
    told = calibrate("schedule", config).stdout
    assert "Due when data, configuration or code have changed, as [schedule] is left out" in told
    assert Path(RUN.search(text).group(1)).name in told
    assert f"calibrate recalibrate {config.name} >> recalibrate.log" in told


def test_the_history_is_resampled_only_when_asked_for(fitted, tmp_path, write_pool, pool_config):
    _, text = fitted
    assert "leave open" not in text
    plain = Calibration.load(f"{RUN.search(text).group(1)}/calibration")
    assert plain.uncertainty is None
    assert {row["part"] for row in plain.provenance["choices"]} == {"frequency", "clustering", "severity", "dependence"}
    small = pool_config.replace("n_scenarios = 200", "n_scenarios = 50").replace(
        "n_out_of_sample = 2500", "n_out_of_sample = 100"
    )
    asked = write_pool(tmp_path, small + "\n[uncertainty]\nreplications = 30\nseeds = 2\nbatches = 3\n")
    result = calibrate("fit", asked, "--uncertainty", 2)
    assert result.exit_code == 0, result.output
    assert "calibrate: uncertainty: run 4 of 4" in result.stderr
    assert "calibrate: optimality gap: batch 3 of 3" in result.stderr
    assert re.search(r"leave open, 95 %\n +amount +simulation lower +simulation upper +history lower", result.stdout)
    run = RUN.search(result.stdout).group(1)
    calibration = Calibration.load(f"{run}/calibration")
    assert ("contribution", "A") in calibration.uncertainty.index
    assert calibration.provenance["uncertainty"] == {"replications": 2, "seeds": 2, "block": None, "batches": 3}
    assert calibration.provenance["optimality_gap"]["batches"] == 3
    assert "contribution of A" in Path(run, "report.html").read_text(encoding="utf-8")
    assert "history lower" in calibrate("report", run).stdout
    assert "1 resampled history has no spread; expected 0 or at least 2" in refused(
        calibrate("fit", asked, "--uncertainty", 1), 2
    )


def test_a_plan_stands_where_its_history_cannot_be_drawn_again(tmp_path, write_pool, pool_config):
    trend = pool_config.replace('"Poisson"', '"Trend"').replace("n_out_of_sample = 2500", "n_out_of_sample = 100")
    trend += "\n[uncertainty]\nreplications = 2\nseeds = 2\nbatches = 2\n"
    result = calibrate("fit", write_pool(tmp_path, trend))
    assert result.exit_code == 0, result.output
    assert "what the history leaves open is not given: Trend reads when each period was" in result.stderr
    run = RUN.search(result.stdout).group(1)
    assert Calibration.load(f"{run}/calibration").uncertainty is None
    page = Path(run, "report.html").read_text(encoding="utf-8")
    assert "it was not measured here: Trend reads when each period was" in page


def test_recalibrate_waits_then_says_what_moved(tmp_path, write_pool, pool_config):
    turnover = '\n[[rules]]\nrule = "Turnover"\nmember = 0.25\n[schedule]\nevery = "month"\n'
    config = write_pool(tmp_path, pool_config + turnover)
    first = calibrate("recalibrate", config, "--today", "2026-01-15")
    assert "Done: first run." in first.stdout
    assert "Turnover has no run before it" in first.stderr
    waiting = calibrate("recalibrate", config, "--today", "2026-01-31")
    assert "Nothing to do: not due before 2026-02-01 00:00 UTC." in waiting.stdout
    write_pool(tmp_path, pool_config + turnover, seed=3)
    again = calibrate("recalibrate", config, "--today", "2026-02-01")
    assert "What moved, and why it may" in again.stdout
    assert "Turnover allows 25 % a member" in again.stdout
    assert "Done: recalibrated from run" in again.stdout
    assert [result.exit_code for result in (first, waiting, again)] == [0, 0, 0]


def test_report_reads_a_run_a_folder_of_runs_and_a_calibration(fitted, tmp_path):
    run = RUN.search(fitted[1]).group(1)
    for place in (run, Path(run).parent, f"{run}/calibration"):
        page = tmp_path / "page.html"
        result = calibrate("report", place, "--html", page)
        assert result.exit_code == 0, result.output
        assert "Who pays what" in result.stdout
        assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")


def test_a_page_is_no_folder(fitted, tmp_path):
    text = " ".join(refused(calibrate("report", RUN.search(fitted[1]).group(1), "--html", tmp_path), 2).split())
    assert "is a folder; name the file to write, such as" in text
    assert not list(tmp_path.iterdir())


def test_an_altered_file_is_refused(fitted, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(RUN.search(fitted[1]).group(1), copy)
    table = copy / "calibration/contributions.csv"
    table.write_text(table.read_text().replace("A,", "A,9", 1))
    words = refused(calibrate("report", copy), 2)
    assert "contributions.csv was altered or truncated" in words


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("losses.csv", "loses.csv", 2, "there is no file"),
        ('member = "who"', 'member = "whom"', 2, "has no column 'whom'; did you mean 'who'?"),
        ("seed = 7", "sede = 7", 2, "[run] has no key 'sede'; did you mean 'seed'?"),
        (
            "ActuarialFairness",
            "ActuarialFairnes",
            2,
            "there is no rule 'ActuarialFairnes'; did you mean 'ActuarialFairness'?",
        ),
        ("band = 0.5", "bend = 0.5", 2, "has no key 'bend'; did you mean 'band'?"),
        ("band = 0.5", "", 2, "[[rules]] 1 ActuarialFairness needs the key(s) band"),
        ("band = 0.5", "band = -1", 2, "band"),
        ('"LogNormal"', '"LogNormall"', 2, "there is no family 'LogNormall'; did you mean 'LogNormal'?"),
        ("[model]", "[model]\nseverities = 1", 2, "[model] has no key 'severities'; did you mean 'severity'?"),
        ('"PoolReserve"', '"PoolReserves"', 2, "there is no layer 'PoolReserves'; did you mean 'PoolReserve'?"),
        ("level = 0.95", "level = 95", 2, "level"),
        ("price = 0.2", 'price = "high"', 2, "[[program.minimise]] 2"),
        (
            "band = 0.5",
            'band = 0.5\n[[rules]]\nrule = "ContributionFloor"\namount = 1e6\n[[rules]]\nrule = "Budget"\namount = 1e5',
            3,
            "Budget",
        ),
        ("band = 0.5", 'band = 0.5\n[[rules]]\nterm = "CVaR"\nlevel = 0.9', 2, "needs the key 'at_most'"),
    ],
)
def test_mistakes(tmp_path, write_pool, pool_config, old, new, code, words):
    assert old in pool_config
    config = write_pool(tmp_path, pool_config.replace(old, new, 1))
    assert words in refused(calibrate("fit", config), code)
    assert not list(tmp_path.glob("runs/pool/[0-9a-f]*"))


def test_conflicting_rules_are_named_with_amounts(tmp_path, write_pool, pool_config):
    clash = '\n[[rules]]\nrule = "ContributionFloor"\namount = 1e6\n[[rules]]\nrule = "Budget"\namount = 1e5\n'
    words = refused(calibrate("fit", write_pool(tmp_path, pool_config + clash)), 3)
    assert "ContributionFloor" in words
    assert "Budget" in words
    assert "ActuarialFairness" not in words.split("conflict", 1)[0]


def test_an_unsolved_program_is_told_apart(tmp_path, write_pool, monkeypatch):
    def gives_up(self, tolerance=1e-6, out_of_sample=None):
        raise SolverError("no solver reached an optimum: CLARABEL user_limit")

    monkeypatch.setattr(program.PoolProblem, "solve", gives_up)
    assert "CLARABEL user_limit" in refused(calibrate("fit", write_pool(tmp_path)), 4)
    assert not list(tmp_path.glob("runs/pool/[0-9a-f]*"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path, write_pool, pool_config):
    config = write_pool(tmp_path, pool_config + 'folder = "losses.csv/runs"\n')
    assert "losses.csv" in refused(calibrate("fit", config), 2)


def test_bad_rows_are_named(tmp_path, write_pool):
    config = write_pool(tmp_path)
    table = (tmp_path / "losses.csv").read_text().splitlines()
    table[3] = table[3].rsplit(",", 1)[0] + ",-5"
    table[5] = "someday," + table[5].split(",", 1)[1]
    (tmp_path / "losses.csv").write_text("\n".join(table) + "\n")
    words = refused(calibrate("fit", config), 2)
    # as a spreadsheet counts them, from 1, the header among them
    assert "row 4, column 'usd': loss is negative (-5)" in words
    assert "row 6, column 'when': date is 'someday'" in words


def test_an_unknown_configuration_names_the_packaged_ones():
    words = refused(calibrate("fit", "no-such-pool"), 2)
    assert "no configuration file 'no-such-pool'" in words
    assert "cas-commercial-auto" in words


def test_no_run_to_report(tmp_path):
    assert "is not a run, a folder of runs, or a saved calibration" in refused(calibrate("report", tmp_path), 2)


def test_datasets_are_listed_shown_and_copied(tmp_path):
    listed = calibrate("datasets").stdout
    assert "cas-commercial-auto" in listed
    assert "synthetic" in listed
    assert '[data]\nevents = "events.csv"' in calibrate("datasets", "crypto-venue").stdout
    target = tmp_path / "mine"
    assert calibrate("datasets", "crypto-venue", "--copy", target).exit_code == 0
    assert {path.name for path in target.iterdir()} >= {"crypto-venue.toml", "events.csv", "exposures.csv", "README.md"}
    assert "exists; name a new folder" in refused(calibrate("datasets", "crypto-venue", "--copy", target), 2)
    assert "--copy needs the name of a data set" in refused(calibrate("datasets", "--copy", tmp_path / "other"), 2)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_answer_without_the_optimiser(option):
    code = (
        "import sys, json\nfrom calibrate.cli import main\nsys.argv = ['calibrate', sys.argv[1]]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    code = stop.code\n"
        "heavy = [m for m in ('cvxpy', 'pandas', 'scipy', 'sklearn', 'matplotlib') if m in sys.modules]\n"
        "print(json.dumps([code or 0, heavy]))"
    )
    done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=True)
    text, last = done.stdout.rstrip().rsplit("\n", 1)
    assert json.loads(last) == [0, []]
    assert (__version__ if option == "--version" else "recalibrate") in text


def test_a_run_is_proved_from_its_files(fitted):
    config, _ = fitted
    for path in (config.parent / "runs/pool", RUN.search(fitted[1]).group(1)):
        result = calibrate("verify", path)
        assert result.exit_code == 0, result.output
        assert re.search(r"^optimal within \S+, proved$", result.stdout, re.MULTILINE)


def test_what_is_not_proved_has_its_exit_code(fitted, tmp_path):
    run = shutil.copytree(RUN.search(fitted[1]).group(1), tmp_path / "run")
    table = run / "calibration/contributions.csv"
    table.write_text(table.read_text().replace("A,", "B,"))
    result = calibrate("verify", run)
    assert result.exit_code == 5
    assert result.stdout == "rejected: contributions.csv was altered or truncated\n"
    assert "there is no" in refused(calibrate("verify", tmp_path / "nowhere"), 2)
    (tmp_path / "empty").mkdir()
    nothing = calibrate("verify", tmp_path / "empty")
    assert nothing.exit_code == 5
    assert "rejected: the files do not read" in nothing.stdout


def test_integers_for_a_contract(fitted, tmp_path):
    run = RUN.search(fitted[1]).group(1)
    shown = calibrate("export", run, "--decimals", 18)
    body = json.loads(shown.stdout)
    assert {row["member"] for row in body["contributions"]} == {"A", "B", "C"}
    assert sum(int(row["amount"]) for row in body["contributions"] + body["reserves"]) == int(body["total"])
    written = calibrate("export", run, "--decimals", 18, "--to", tmp_path / "fixed.json")
    assert written.exit_code == 0, written.output
    assert (tmp_path / "fixed.json").read_text(encoding="utf-8") == shown.stdout
    assert calibrate("export", run, "--decimals", 61).exit_code == 2
    assert "No such file or directory; is its folder there" in refused(
        calibrate("export", run, "--decimals", 2, "--to", tmp_path / "sub" / "fixed.json"), 2
    )
    assert body["weight_decimals"] == 18
    assert sum(int(row["weight"]) for row in body["contributions"]) == 10**18


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_is_told_as_one(number, tmp_path, write_pool, pool_config, monkeypatch):
    def full(*_):
        raise OSError(number, os.strerror(number))

    config = write_pool(tmp_path, pool_config)
    monkeypatch.setattr(RunStore, "write", full)
    said = refused(calibrate("fit", config), 2)
    assert f"{os.strerror(number)}; make room and run it again" in said
    assert "is its folder there" not in said


def start(config):
    """A job that hears an interrupt, even where the tests run in the background and would hand on their deafness."""
    command = [sys.executable, "-m", "calibrate", "fit", str(config)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what is not ignored here is not ignored there
    try:
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def until(job, words):
    """Read the job's progress until it says `words`."""
    for line in job.stderr:
        if words in line:
            return
    pytest.fail(f"the job never said {words!r}")


@pytest.mark.parametrize(
    ("blow", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_a_job_cut_short_leaves_no_run_and_the_next_one_works(tmp_path, write_pool, pool_config, blow, code):
    """While it simulates: no run, no traceback; and the lock is not held by the dead."""
    config = write_pool(tmp_path, pool_config.replace("n_out_of_sample = 2500", "n_out_of_sample = 6_000_000"))
    job = start(config)
    until(job, "simulating")
    time.sleep(0.5)
    job.send_signal(blow)
    out, err = job.communicate(timeout=60)
    assert job.returncode == code, err
    assert "Traceback" not in err + out
    assert ("interrupted, no run was written" in err) == (code == 130)
    assert not [path for path in (tmp_path / "runs/pool").iterdir() if path.name != ".lock"]
    config.write_text(pool_config)
    assert calibrate("fit", config).exit_code == 0


@pytest.mark.slow
def test_two_jobs_at_once_compute_once(tmp_path, write_pool):
    config = write_pool(tmp_path)
    jobs = [start(config), start(config)]
    texts = [job.communicate(timeout=120)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0]
    assert sum("found again, not computed again" in text for text in texts) == 1
    assert len({RUN.search(text).group(1) for text in texts}) == 1
