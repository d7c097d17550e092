"""Again next month: when it is due, what it starts from, and what it says about who moved."""

import shlex
from datetime import UTC, datetime

import pytest

from calibrate.errors import ConfigurationError
from calibrate.operations import recalibration
from calibrate.operations.config import Schedule, load
from calibrate.operations.recalibration import recalibrate
from calibrate.operations.schedule import cron_line, next_due, when_due
from calibrate.operations.store import RunStore

MONTHLY = '\n[[rules]]\nrule = "Turnover"\nmember = 0.1\n[schedule]\nevery = "month"\n'


def on(month, day=1, hour=6):
    return datetime(2026, month, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "last", "due"),
    [
        ("day", datetime(2026, 12, 31, 23, tzinfo=UTC), (2027, 1, 1)),
        ("week", datetime(2026, 11, 22, tzinfo=UTC), (2026, 11, 23)),  # a Sunday; weeks start on Monday
        ("week", datetime(2026, 11, 23, tzinfo=UTC), (2026, 11, 30)),
        ("month", datetime(2026, 1, 31, tzinfo=UTC), (2026, 2, 1)),
        ("month", datetime(2026, 12, 1, tzinfo=UTC), (2027, 1, 1)),
        ("quarter", datetime(2026, 3, 31, tzinfo=UTC), (2026, 4, 1)),
        ("quarter", datetime(2026, 10, 1, tzinfo=UTC), (2027, 1, 1)),
        ("year", datetime(2026, 6, 1, tzinfo=UTC), (2027, 1, 1)),
    ],
)
def test_due_with_the_next_calendar_period(every, last, due):
    assert next_due(Schedule(every=every), last) == datetime(*due, tzinfo=UTC)


def test_it_is_said_when_a_pool_is_due(tmp_path, write_pool, pool_config):
    (folder := tmp_path / "a pool").mkdir()
    path = write_pool(folder, pool_config + MONTHLY)
    assert when_due(load(path), on(1)) == f"Due now: there is no run in {load(path).runs}."
    run = recalibrate(load(path), on(1)).run
    made = f"the newest run, {run.name}, is of 2026-01-01 06:00 UTC."
    assert when_due(load(path), on(1, 31)) == f"Not due before 2026-02-01 00:00 UTC; {made}"
    assert when_due(load(path), on(2, 3)) == f"Due since 2026-02-01 00:00 UTC; {made}"
    words = shlex.split(cron_line(path).split("&&")[0])
    assert words == ["15", "6", "*", "*", "*", "cd", str(path.parent)]


@pytest.fixture(scope="module")
def year(tmp_path_factory, write_pool, pool_config):
    """Looks at one pool: first run, same month, next month, and a month with a leaver, a newcomer and other losses."""
    folder = tmp_path_factory.mktemp("pool")
    config = load(write_pool(folder, pool_config + MONTHLY))
    first = recalibrate(config, on(1))
    same = recalibrate(config, on(1, 31))
    second = recalibrate(config, on(2))
    write_pool(folder, pool_config + MONTHLY, members=("B", "C", "D"), seed=5)
    third = recalibrate(config, on(3))
    return config, first, same, second, third


def test_the_first_run_has_no_previous(year):
    _, first, *_ = year
    assert first.computed
    assert first.previous is None
    assert recalibration.moves(first).empty
    assert not any("Turnover" in str(rule) for rule in first.run.calibration.fairness.index)


def test_nothing_is_done_before_it_is_due(year):
    _, first, same, *_ = year
    assert not same.computed
    assert same.run.name == first.run.name
    assert same.reason == "not due before 2026-02-01 00:00 UTC"


def test_the_newest_run_is_reference_and_base(year):
    _, first, _, second, _ = year
    assert second.computed
    assert second.previous.name == first.run.name
    assert second.run.calibration.provenance["previous"] == first.run.name
    before = first.run.calibration.members["contribution"]
    assert second.run.calibration.members["reference"].to_dict() == pytest.approx(before.to_dict())
    assert (abs(second.run.calibration.members["contribution"] / before - 1) <= 0.1 + 1e-6).all()
    assert (recalibration.moves(second)["status"] == "stays").all()


def test_the_same_losses_once_more_are_told(year):
    _, _, _, second, third = year
    assert "from the same losses: nothing is new in the data, which end with" in second.reason
    assert "the same losses" not in third.reason


def test_members_may_leave_and_join(year):
    _, _, _, second, third = year
    table = recalibration.moves(third)
    assert table["status"].to_dict() == {"A": "left", "B": "stays", "C": "stays", "D": "new"}
    assert table.loc["A", "why"] == "left the pool"
    assert table.loc["D", "why"].startswith("new member")
    before = second.run.calibration.members["contribution"]
    for member in ("B", "C"):
        assert abs(table.loc[member, "contribution"] / before[member] - 1) <= 0.1 + 1e-6
        moved = abs(table.loc[member, "contribution"] / before[member] - 1) >= 1e-6
        assert ("Turnover allows 10 % a member" if moved else "unmoved") in table.loc[member, "why"]


def test_running_again_finds_the_run(year):
    config, *_, third = year
    again = recalibrate(config, on(3, 2))
    assert not again.computed
    assert again.run.name == third.run.name
    assert again.previous.name == third.previous.name


def test_without_a_schedule_only_a_change_counts(tmp_path, write_pool, pool_config):
    config = load(write_pool(tmp_path, pool_config))
    assert recalibrate(config, on(1)).computed
    for _ in range(2):
        again = recalibrate(config, on(5))
        assert not again.computed
        assert again.reason.startswith("nothing has changed")
    write_pool(tmp_path, pool_config, seed=1)
    changed = recalibrate(config, on(6))
    assert changed.computed
    assert not recalibrate(config, on(7)).computed


def test_a_clock_that_was_wrong_does_not_bring_an_older_run_back(tmp_path, write_pool, pool_config, caplog):
    """A run of 2031 that another followed is not the newest; and one that lies ahead is warned of."""
    config = load(write_pool(tmp_path, pool_config))
    ahead = recalibrate(config, datetime(2031, 5, 5, tzinfo=UTC))
    again = load(write_pool(tmp_path, pool_config.replace("seed = 1", "seed = 2"), seed=7))
    after = recalibrate(again, on(2))
    assert f"the newest run, {ahead.run.name}, says that it was made at 2031-05-05 00:00, later than now" in caplog.text
    assert after.previous.name == ahead.run.name
    assert RunStore(config.runs).newest().name == after.run.name
    once_more = recalibrate(again, on(3))
    assert not once_more.computed
    assert once_more.run.name == after.run.name


def test_another_pool_in_the_same_folder_is_refused(tmp_path, write_pool, pool_config):
    config = load(write_pool(tmp_path, pool_config))
    recalibrate(config, on(1))
    write_pool(tmp_path, pool_config, members=("X", "Y"))
    with pytest.raises(ConfigurationError, match=r"no member of the run .* name another folder: \[run\] folder"):
        recalibrate(config, on(2))


def test_another_configuration_in_the_same_folder_is_refused_before_it_is_asked_whether_it_is_due(
    tmp_path, write_pool, pool_config
):
    """It was told that nothing is to be done, and shown the other pool's run."""
    first = write_pool(tmp_path, pool_config.replace("[run]", '[run]\nfolder = "all"') + MONTHLY)
    run = recalibrate(load(first), on(1)).run
    second = first.rename(first.with_name("other.toml"))
    told = rf"the newest run in .*all, {run.name}, is of the configuration '{first.stem}', this one is 'other'"
    with pytest.raises(ConfigurationError, match=told):
        recalibrate(load(second), on(1, 2))
