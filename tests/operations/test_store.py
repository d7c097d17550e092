"""Runs on disk: complete or not there, found by what decides them, refused when damaged."""

import shutil
from datetime import UTC, datetime

import pytest

from calibrate.errors import IntegrityError
from calibrate.operations import job, store
from calibrate.operations.config import load
from calibrate.operations.sources import read_history

NOW = datetime(2026, 1, 31, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_pool):
    path = write_pool(tmp_path_factory.mktemp("pool"))
    return path, job.fit(load(path), NOW)


def test_a_run_is_named_by_what_decides_it(made, tmp_path, write_pool, pool_config):
    path, outcome = made
    assert outcome.computed
    name = outcome.run.name
    assert job.fit(load(path), NOW).computed is False

    def renamed(config=pool_config, seed=0):
        configuration = load(write_pool(tmp_path, config, seed=seed))
        return store.run_name(read_history(configuration), configuration, None)

    assert renamed() == name  # another folder, the same files
    assert renamed(pool_config + '[schedule]\nevery = "month"\n') == name
    assert renamed(pool_config.replace("seed = 7", "seed = 8")) != name
    assert renamed(seed=1) != name
    configuration = load(path)
    assert store.run_name(read_history(configuration), configuration, outcome.run.name) != name


def test_the_content_of_a_named_file_decides_too(tmp_path, write_pool, pool_config):
    rule = '\n[[rules]]\nrule = "AbilityToPay"\ncapital = "capital.csv"\nshare = 0.5\n'
    configuration = load(write_pool(tmp_path, pool_config + rule))
    history = read_history(configuration)
    names = set()
    for amount in (1e6, 2e6):
        (tmp_path / "capital.csv").write_text(f"member,capital\nA,{amount}\nB,{amount}\nC,{amount}\n")
        names.add(store.run_name(history, configuration, None))
    assert len(names) == 2
    assert "AbilityToPay" in " ".join(map(str, job.fit(configuration, NOW).run.calibration.fairness.index))


def test_the_code_decides_too(made, monkeypatch):
    path, outcome = made
    configuration = load(path)
    monkeypatch.setattr(store, "code_version", lambda: "another")
    assert store.run_name(read_history(configuration), configuration, None) != outcome.run.name


def test_a_killed_job_leaves_no_run_and_its_remains_are_swept(made):
    path, outcome = made
    runs = store.RunStore(load(path).runs)
    killed = runs.folder / f".{outcome.run.name}.k1lled"
    shutil.copytree(outcome.run.path, killed)
    (killed / "calibration/SHA256SUMS").unlink()
    assert [run.name for run in runs.runs()] == [outcome.run.name]
    with runs.locked():
        assert not killed.exists()
    assert runs.newest().name == outcome.run.name


def test_an_error_while_writing_leaves_nothing(made, tmp_path):
    _, outcome = made
    runs = store.RunStore(tmp_path / "runs")

    def broken(path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.write("0123456789abcdef", outcome.run.calibration, broken)
    assert list(runs.folder.iterdir()) == []
    assert runs.newest() is None


def test_a_damaged_run_is_refused_and_named(made, tmp_path):
    _, outcome = made
    copy = tmp_path / "runs" / outcome.run.name
    shutil.copytree(outcome.run.path, copy)
    text = (copy / "calibration/calibration.json").read_text()
    (copy / "calibration/calibration.json").write_text(text[: len(text) // 2])
    with pytest.raises(IntegrityError, match=r"calibration\.json was altered or truncated"):
        store.RunStore(tmp_path / "runs").newest()


def damaged(run):
    """Half of its first file."""
    file = run / "calibration/calibration.json"
    text = file.read_text()
    file.write_text(text[: len(text) // 2])


def test_a_damaged_run_that_may_be_the_newest_is_in_the_way_and_an_older_one_is_not(made, tmp_path, caplog):
    _, outcome = made
    runs = store.RunStore(tmp_path)
    for name, day in (("b" * 16, 3), ("a" * 16, 9)):
        created = datetime(2026, 2, day, tzinfo=UTC).isoformat()
        runs.write(
            name, outcome.run.calibration.with_provenance({"created": created}), lambda path: path.write_text("page")
        )
    with (tmp_path / ("b" * 16) / "calibration/contributions.csv").open("a") as file:
        file.write("more")
    assert [run.name for run in runs.runs()] == ["a" * 16]
    assert "run bbbbbbbbbbbbbbbb is damaged, and left out" in caplog.text
    damaged(tmp_path / ("b" * 16))  # now it does not say when it was made
    with pytest.raises(IntegrityError, match=r"altered or truncated.*or remove .*b{16}, to go on without this run"):
        runs.newest()


def test_fit_calibrates_a_damaged_run_again_and_keeps_it(made, tmp_path, write_pool, pool_config, caplog):
    config = load(write_pool(tmp_path, pool_config))
    first = job.fit(config, datetime(2026, 3, 1, tzinfo=UTC)).run
    damaged(first.path)
    again = job.fit(config, datetime(2026, 3, 2, tzinfo=UTC))
    assert again.computed
    assert again.run.name == first.name
    assert "calibrating again, the damaged run is kept in" in caplog.text
    (kept,) = config.runs.glob(f".damaged.*/{first.name}")
    assert (kept / "report.html").is_file()
    with store.RunStore(config.runs).locked():
        assert kept.exists()


def test_the_newest_run_is_the_one_made_last(made, tmp_path):
    _, outcome = made
    runs = store.RunStore(tmp_path)
    for name, day in (("b" * 16, 3), ("a" * 16, 9), ("c" * 16, 6)):
        created = datetime(2026, 2, day, tzinfo=UTC).isoformat()
        runs.write(
            name, outcome.run.calibration.with_provenance({"created": created}), lambda path: path.write_text("page")
        )
    assert [run.created.day for run in runs.runs()] == [3, 6, 9]
    assert runs.newest().name == "a" * 16
