"""Periods that remember each other are named: against exact permutations, on pools that forget and that remember."""

import itertools
import re
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate import JointLossModel, LossHistory
from calibrate.errors import ModelError
from calibrate.models import severity
from calibrate.models.doubts import alike_flags, alike_neighbours
from calibrate.models.doubts_of_counts import count_flags, together_flags
from calibrate.models.doubts_of_panels import moved_flags, scarcity_flags
from calibrate.models.doubts_of_seasons import ratio_season_flags, season_flags
from calibrate.models.frequency import Drifting, LogLinear, SharedShock
from calibrate.models.frequency.drifting import memory_evidence
from calibrate.models.pool_level import LocalLevel
from calibrate.models.size_trend import told_trends


def test_p_value_is_close_to_that_of_all_permutations():
    """All 40,320 orders of eight periods: the normal approximation is within a hundredth in the lower tail."""
    orders = np.array(list(itertools.permutations(range(8))), dtype=float)
    ratio = (np.diff(orders, axis=1) ** 2).sum(axis=1) / 42.0
    for order in orders[[0, 1, 500, 5000, 20_000]]:
        exact = (ratio <= (np.diff(order) ** 2).sum() / 42.0 + 1e-12).mean()
        assert alike_neighbours(order) == pytest.approx(exact, abs=0.01 if exact < 0.2 else 0.05)


def panel(log_level, seed):
    rng = np.random.default_rng(seed)
    table = np.exp(log_level[:, None] + 0.2 * rng.standard_normal((len(log_level), 5)))
    return LossHistory.from_panel(pd.DataFrame(table, index=range(2000, 2000 + len(log_level)), columns=list("ABCDE")))


def flagged(history):
    return any("remember where they were" in flag for flag in JointLossModel().fit(history).flags_)


@pytest.mark.slow
def test_pools_that_forget_are_hardly_ever_flagged_and_a_wandering_level_is():
    rng = np.random.default_rng(1)
    forget = sum(flagged(panel(0.3 * rng.standard_normal(12), seed)) for seed in range(60))
    remember = sum(flagged(panel(np.cumsum(0.3 * rng.standard_normal(24)), seed)) for seed in range(30))
    assert forget <= 3  # one in a hundred, and luck
    assert remember >= 20  # of 24 periods; of 12 only two in five are seen


def remembered(rates, draws):
    """In how many of so many histories it is said that counts remember; rates (periods, members) of a generator."""
    found = 0
    for seed in range(draws):
        rng = np.random.default_rng([41, seed])
        counts = rng.poisson(rates(rng)).astype(float)
        model, months = SharedShock().fit(counts), pd.period_range("2015-01", periods=len(counts), freq="M")
        flags = count_flags(counts[:, :, None], [model], months, ["all"])
        found += any("remember where they were" in flag for flag in flags)
    return found


def storms(rng):
    """Eight months of ten calm, storms of four months on average with ten times the events."""
    storm = np.zeros(96)
    for t in range(1, 96):
        storm[t] = rng.random() < (0.75 if storm[t - 1] else 0.05)
    return np.outer(0.1 + 0.9 * storm, np.ones(10))


@pytest.mark.slow
def test_counts_that_grow_or_come_in_storms_are_mostly_seen_and_luck_is_not():
    """By the ranks of neighbours alone it was three in five of either."""
    assert remembered(lambda rng: np.outer(0.15 * 4 ** (np.arange(60) / 60), np.ones(10)), 30) >= 22
    assert remembered(storms, 30) >= 22
    exposures = np.geomspace(0.1, 1.0, 60)[:, None] * np.ones(10)
    forgetful = (
        lambda rng: np.full((60, 10), 0.3),
        lambda rng: np.outer(rng.gamma(1.5, 0.2, 60), np.ones(10)),
        lambda rng: np.outer(rng.lognormal(-1.0, 1.2, 60), np.ones(10)),
        lambda rng: np.full((12, 10), 1.0),
    )
    for rates in forgetful:
        assert remembered(rates, 80) <= 4  # of a hundredth, and three standard deviations
    rng = np.random.default_rng(5)
    grown = [rng.poisson(exposures).sum(axis=1).astype(float) for _ in range(150)]
    assert sum(memory_evidence(seen, exposures.sum(axis=1) * seen.sum() / exposures.sum()) > 3.3 for seen in grown) <= 5


def test_evidence_for_memory_is_that_of_the_model_that_remembers():
    counts = np.random.default_rng(2).poisson(np.repeat([0.5, 2.0, 0.4], 12)[:, None] * np.ones(3)).astype(float)
    expected = SharedShock().fit(counts).means_.sum(axis=1)
    assert memory_evidence(counts.sum(axis=1), expected) == pytest.approx(-Drifting().fit(counts).profile_[0.0])


def test_counts_in_waves_are_flagged_with_the_models_that_remember():
    rng = np.random.default_rng(2)
    months = pd.period_range("2020-01", periods=36, freq="M")
    waves = rng.poisson(np.where(np.arange(36) % 24 < 12, 2.0, 12.0))
    calm = rng.poisson(6.0, 36)
    for counts, expected in ((waves, True), (calm, False)):
        dates = months.repeat(counts).to_timestamp()
        frame = pd.DataFrame(
            {"date": dates, "member": rng.choice(["A", "B"], len(dates)), "loss": rng.lognormal(size=len(dates))}
        )
        named = {"date": "date", "member": "member", "loss": "loss", "start": "2020-01", "end": "2022-12"}
        found = " ".join(
            JointLossModel(severity=severity.LogNormal()).fit(LossHistory.from_events(frame, **named)).flags_
        )
        assert ("consider frequency=Drifting(), Trend(...) or Hawkes(resolution=1.0)" in found) is expected


@pytest.mark.skipif(
    find_spec("chainladder") is None, reason="chainladder is not installed: pip install 'calibrate[cas]'"
)
@pytest.mark.slow
def test_medical_malpractice_moves_together_and_rises():
    """14 CAS insurers with premium in ten years: the fitted correlation is that of the ranks, and the rise is said."""
    import chainladder

    lines = chainladder.load_sample("clrd")
    pool = lines[lines["LOB"] == "medmal"]
    tables = [pool[column].latest_diagonal.values[:, 0, :, 0].T for column in ("IncurLoss", "EarnedPremNet")]
    losses, premiums = (pd.DataFrame(table, index=range(1988, 1998), columns=pool.index["GRNAME"]) for table in tables)
    kept = (premiums.fillna(0) > 0).all() & (losses.fillna(0) >= 0).all()
    losses, premiums = losses.loc[:, kept], premiums.loc[:, kept]
    model = JointLossModel().fit(LossHistory.from_panel(losses, exposures=premiums))
    above = np.triu_indices(kept.sum(), 1)
    ranks = stats.spearmanr((losses / premiums).to_numpy()).statistic[above].mean()
    assert kept.sum() == 14
    assert model.correlation_.to_numpy()[above].mean() == pytest.approx(ranks, abs=0.08)
    assert "0.591 in 1988, 1.12 in 1997; 1.15 in the last 3 periods, 0.951 in all" in model.flags_[0]
    assert f"set out from {model.pool_level_.level_:.3g} times the level of the whole history" in model.flags_[0]
    assert model.pool_level_.level_ == pytest.approx(1.15 / 0.951, abs=0.1)


def test_a_mean_that_rests_on_one_loss_is_said():
    """One member, one year ten thousand times the others: the fitted mean is a sixth of what was seen."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(0.9, 1.1, (10, 3)), index=range(2000, 2010), columns=list("ABC"))
    calm = JointLossModel().fit(LossHistory.from_panel(table))
    table.iloc[-1, 0] = 1e4
    hit = JointLossModel().fit(LossHistory.from_panel(table))
    assert calm.flags_ == ()
    assert "times what the history cost at these exposures; the largest loss of one member" in hit.flags_[-1]
    assert "is 100% of all" in hit.flags_[-1]
    ratio = hit.summary_["expected_loss"].sum() / hit.pool_level_.level_ / table.sum(axis=1).mean()
    assert f"are {ratio:.2g} times" in hit.flags_[-1]


def test_two_periods_are_answered_and_flagged():
    table = pd.DataFrame([[1.0, 2.0], [1.5, 1.2]], index=[2022, 2023], columns=["A", "B"])
    assert "2 periods are few" in JointLossModel().fit(LossHistory.from_panel(table)).flags_[0]


def test_a_tail_without_a_mean_says_how_little_is_known_of_it():
    """240 losses of a law without a mean: the refusal shows on how many losses it rests."""
    rng = np.random.default_rng(3)
    losses = severity.GeneralizedPareto().fit(rng.pareto(0.8, 500)).sample(240, 4)
    dates = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(240) * 4, "D")
    frame = pd.DataFrame({"date": dates, "member": np.tile(["A", "B"], 120), "loss": losses})
    history = LossHistory.from_events(frame, date="date", member="member", loss="loss")
    rests_on = r"mean is infinite.*of \d+ losses; 95 % interval of the shape \d\.\d\d to \d\.\d\d"
    with pytest.raises(ModelError, match=rests_on):
        JointLossModel().fit(history)


def events(losses, years, members=None, **more):
    """Flags of a yearly history of these losses, 1980 and on."""
    dates = pd.to_datetime([f"{1980 + year}-07-01" for year in years])
    who = ["A"] * len(losses) if members is None else members
    frame = pd.DataFrame({"date": dates, "member": who, "loss": losses, "id": range(len(losses))})
    named = {"date": "date", "member": "member", "loss": "loss", "period": "Y", "confirm_unit_jumps": sorted(set(who))}
    exposures = more.pop("exposures", None)
    model = JointLossModel(severity=severity.LogNormal(), **more)
    return " ".join(model.fit(LossHistory.from_events(frame, exposures=exposures, **named)).flags_)


def test_members_who_come_late_with_large_losses_are_no_trend():
    rng = np.random.default_rng(1)
    years = np.repeat(np.arange(20), 4)
    late = years >= 10
    who = np.where(late & (np.arange(80) % 2 == 0), "B", "A")
    losses = rng.lognormal(5, 1, 80) * np.where(who == "B", 100.0, 1.0)
    by_year = np.log(losses).reshape(20, 4).mean(axis=1)
    assert stats.kendalltau(np.arange(20), by_year).pvalue < 0.001  # all members together grow
    assert "with time" not in events(losses, years, list(who))


def test_a_year_mistyped_by_decades_is_said():
    """20 events in ten years, and one of 2061: chance leaves half of the time empty once in 50,000."""
    rng = np.random.default_rng(2)
    years = np.append(np.repeat(np.arange(10), 2), 81)
    said = events(rng.lognormal(5, 1, 21), years)
    assert "71 of 82 periods on end have no event, 1990 to 2060" in said
    assert "no event" not in events(rng.lognormal(5, 1, 20), years[:20])


def test_few_events_leave_gaps_by_chance():
    assert "no event" not in events(np.array([5.0, 9.0, 7.0]), np.array([0, 2, 9]))


def test_years_in_which_nobody_was_exposed_are_no_silence():
    rng = np.random.default_rng(3)
    years = np.append(np.repeat(np.arange(10), 2), 40)
    exposures = pd.DataFrame({"A": 1.0}, index=range(1980, 2021))
    assert "30 of 41 periods on end have no event" in events(rng.lognormal(5, 1, 21), years, exposures=exposures)
    exposures.loc[1990:2019] = 0.0
    assert "no event" not in events(rng.lognormal(5, 1, 21), years, exposures=exposures)


def test_a_history_of_one_period_is_said():
    """Losses of zero at both ends say how long the history is."""
    losses, years = np.zeros(7), np.array([0, 18, 18, 18, 18, 18, 36])
    losses[1:6] = np.random.default_rng(6).lognormal(5, 1, 5)
    assert "all 5 losses lie in 1998, one of 37 periods" in events(losses, years)
    assert "losses lie in" not in events(losses, np.append(years[:-2], [19, 36]))


def test_losses_above_the_cap_are_said():
    losses, years = np.array([1.0, 2.0, 30.0, 4.0, 12.0]), np.arange(5)
    said = events(losses, years, exposures={"A": 2.0}, exposure_cap=5.0)
    assert "2 of 5 losses are above exposure_cap times the exposure, the largest 3 times it" in said
    assert "exposure_cap" not in events(losses, years, exposures={"A": 2.0}, exposure_cap=15.0)


def test_few_periods_of_events_are_said():
    rng = np.random.default_rng(4)
    losses = rng.lognormal(5, 1, 24)
    said = "6 periods are few: scenarios scatter by what they leave open of rates, of shocks"
    assert said in events(losses, np.repeat(np.arange(6), 4))
    assert "periods are few" not in events(losses, np.repeat(np.arange(12), 2))


def sized(seed, common):
    """Losses of 8 members over 60 months, busy and quiet ones, sizes moved by a factor that a month has for all."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(1.5 * rng.gamma(2, 0.5, (60, 1)) * np.ones(8))
    when, owner = (np.repeat(place, counts[np.nonzero(counts)]) for place in np.nonzero(counts))
    logs = rng.normal(size=8)[owner] + common * rng.normal(size=60)[when] + 0.7 * rng.normal(size=when.size)
    return {0: "all"}, np.exp(logs), np.zeros(when.size, dtype=int), owner, when


def test_sizes_that_go_with_the_period_are_told():
    told = [alike_flags(*sized(seed, 0.8)) for seed in range(20)]
    assert all("losses of one period are alike in size" in flag for (flag,) in told)
    shares = [int(re.search(r"; (\d+)% of the scatter", flag).group(1)) for (flag,) in told]
    assert np.mean(shares) == pytest.approx(100 * 0.8**2 / (0.8**2 + 0.7**2), abs=5)
    chance = [alike_flags(*sized(seed, 0.0)) for seed in range(200)]
    assert sum(map(len, chance)) <= 6  # one in a hundred, and three standard deviations


def years_of(table):
    rows, columns = np.shape(table)
    frame = pd.DataFrame(table, index=range(2000, 2000 + rows), columns=[f"M{j}" for j in range(columns)])
    return LossHistory.from_panel(frame)


def test_a_panel_of_four_losses_is_said_and_one_of_eleven_years_is_not():
    rng = np.random.default_rng(5)
    table = np.zeros((10, 3))
    table[[1, 4, 5, 8], [0, 0, 1, 2]] = rng.lognormal(0, 1, 4)
    flags = JointLossModel().fit(years_of(table)).flags_
    assert any("4 of 30 cells of the panel have a loss, and 1 degrees of freedom tell" in flag for flag in flags)
    table = rng.lognormal(0, 1, (11, 1))
    assert scarcity_flags(table, np.ones_like(table)) == ()
    assert "8 of 8 cells" in scarcity_flags(table[:8], np.ones((8, 1)))[0]


def test_a_panel_in_which_nothing_scatters_is_said():
    exposures = np.outer(np.arange(1.0, 13.0), [1.0, 2.0, 3.0])
    certain = "nothing scatters: each member's losses are the same share of its exposure"
    (said,) = scarcity_flags(0.1 * exposures, exposures)
    assert certain in said
    assert "the risk that is shown is none" in said
    (said,) = scarcity_flags(0.1 * exposures * (np.arange(12) % 3 > 0)[:, None], exposures)
    assert "only who has one is drawn" in said
    flags = JointLossModel().fit(years_of(np.tile([1.0, 2.0, 3.0], (12, 1)))).flags_
    assert any(certain in flag for flag in flags)
    moved = 0.1 * exposures
    moved[0, 0] *= 1.001
    assert scarcity_flags(moved, exposures) == ()


def test_a_level_that_is_moved_far_is_said_with_its_number():
    """One member has everything: ten years that forget, and their latest are high."""
    table = np.zeros((10, 3))
    table[:, 0] = np.random.default_rng(3).lognormal(0, 1, 10)
    model = JointLossModel().fit(years_of(table))
    assert model.pool_level_.level_ > 2
    (said,) = [flag for flag in model.flags_ if "the pool's level ahead is" in flag]
    assert f"is {model.pool_level_.level_:.3g} times that of the whole history" in said
    assert "its latest periods were high" in said
    rng = np.random.default_rng(1)
    drawn = [rng.lognormal(0, 0.5, (10, 1)) * rng.lognormal(0, 0.5, (10, 5)) for _ in range(100)]
    levels = [LocalLevel().fit(table.sum(axis=1)).level_ for table in drawn]
    assert sum(bool(moved_flags(level)) for level in levels) <= 3


MONTHS = pd.period_range("2015-03", periods=60, freq="M")


def season_said(counts, periods=MONTHS):
    counts = np.asarray(counts, dtype=float)[:, None]
    return season_flags(counts, np.full(counts.shape, max(counts.mean(), 1e-9)), periods)


def test_a_season_is_said_with_its_months():
    wave = 1 + 0.8 * np.cos(2 * np.pi * (MONTHS.month.to_numpy() - 7) / 12)
    shocks = [np.random.default_rng(seed).gamma(2, 0.5, 60) for seed in range(40)]
    drawn = [np.random.default_rng(seed).poisson(10 * wave * shock) for seed, shock in enumerate(shocks)]
    assert sum(bool(season_said(counts)) for counts in drawn) >= 30
    (said,) = season_said(np.round(100 * wave))
    assert "July brings 1.8 times the number expected, the most, January brings 0.2 times, the fewest" in said
    assert "and March brings 0.6 times, the part of the year that lies ahead" in said
    quarters = pd.period_range("2015Q1", periods=8, freq="Q")
    assert "quarter 1 brings 0.5 times, the fewest" in season_said([1, 2, 3, 2] * 2, quarters)[0]
    years = pd.period_range("2000", periods=24, freq="Y")
    assert season_said(np.tile([1, 9], 12), years) == ()


@pytest.mark.parametrize(("frequency", "n", "mean"), [("M", 30, 1.0), ("M", 84, 10.0), ("W", 160, 1.0), ("Q", 24, 6.0)])
def test_events_without_a_season_hardly_ever_seem_to_have_one(frequency, n, mean):
    """Overdispersed, half of them at a level that remembers the period before."""
    periods, found = pd.period_range("2015-03", periods=n, freq=frequency), 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        level = rng.standard_normal(n)
        for t in range(1, n if seed % 2 else 1):
            level[t] = 0.8 * level[t - 1] + 0.6 * level[t]
        found += bool(season_said(rng.poisson(mean * np.exp(0.6 * level)), periods))
    assert found <= 6  # one in a hundred, and three standard deviations


def hit(seed, periods=72, members=20, often=0.1):
    """Counts of a pool in which `often` half of the members are hit at once; otherwise few, one by one."""
    rng = np.random.default_rng(seed)
    many = (rng.random((periods, 1)) < often) & (rng.random((periods, members)) < 0.5)
    return (rng.poisson(0.03, (periods, members)) + many).astype(float)


def together(counts):
    model = SharedShock().fit(counts)
    return together_flags("all", counts, model.means_, model.size_)


def test_members_hit_at_once_more_often_than_a_shock_has_it_are_said():
    assert sum(bool(together(hit(seed))) for seed in range(30)) >= 24
    counts = hit(1, periods=120)
    said = re.match(
        r"segment 'all': at least (\d+) of 20 members are hit in (\d+) of 120 periods, and the .* brings (\S+) such",
        together(counts)[0],
    )
    k, seen, expected = int(said.group(1)), int(said.group(2)), float(said.group(3))
    assert seen == ((counts > 0).sum(axis=1) >= k).sum()
    model, rng = SharedShock().fit(counts), np.random.default_rng(0)
    shocks = rng.gamma(model.size_, 1 / model.size_, (100_000, 1))
    drawn = (rng.random((100_000, 20)) < -np.expm1(-shocks * model.means_[0])).sum(axis=1)
    assert 120 * (drawn >= k).mean() == pytest.approx(expected, rel=0.05)


def test_members_that_a_gamma_shock_hits_are_hardly_ever_said_to_be_hit_otherwise():
    """Exposures grow, members differ, shocks are rare or usual."""
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        size, grown = (0.3, 1.0, 3.0, 30.0)[seed % 4], np.linspace(0.5, 2, 72)[:, None]
        rates = 0.15 * rng.lognormal(-0.2, 0.7, 20) * rng.gamma(size, 1 / size, (72, 1))
        counts = rng.poisson(rates * grown).astype(float)
        model = SharedShock().fit(counts, exposure=np.repeat(grown, 20, axis=1))
        found += bool(together_flags("all", counts, model.means_, model.size_))
    assert found <= 6  # one in a hundred, and three standard deviations


def said_of(counts, frequency):
    """Flags of monthly events, but for those of a trend of sizes."""
    rng = np.random.default_rng(6)
    when, who = (np.repeat(place, counts[np.nonzero(counts)].astype(int)) for place in np.nonzero(counts))
    frame = pd.DataFrame({"date": MONTHS[when].to_timestamp(), "member": who.astype(str)})
    frame = frame.assign(loss=rng.lognormal(size=when.size), id=range(when.size))
    named = {"date": "date", "member": "member", "loss": "loss", "start": "2015-03", "end": "2020-02"}
    model = JointLossModel(severity=severity.LogNormal(), frequency=frequency)
    return [flag for flag in model.fit(LossHistory.from_events(frame, **named)).flags_ if "with time" not in flag]


def test_seasons_and_catastrophes_reach_the_flags_of_a_model():
    rng = np.random.default_rng(6)
    angle = 2 * np.pi * np.append(MONTHS.month, 3) / 12
    seasonal = rng.poisson(1.2 * np.exp(np.cos(angle[:60, None])), (60, 4))
    assert any("events have a season" in flag for flag in said_of(seasonal, SharedShock()))
    year = LogLinear(covariates=np.column_stack([np.cos(angle), np.sin(angle)]), base=SharedShock())
    assert said_of(seasonal, year) == []  # the remedy
    assert any("members are hit in" in flag for flag in said_of(hit(0, 60), SharedShock()))
    assert said_of(rng.poisson(1.5, (60, 4)), SharedShock()) == []


def rare(seed: int, **window: object) -> LossHistory:
    """About seven losses in ten years of months."""
    rng = np.random.default_rng(seed)
    months = pd.period_range("2010-01", "2019-12", freq="M")[
        np.sort(rng.choice(120, rng.poisson(5) + 2, replace=False))
    ]
    frame = pd.DataFrame({"day": [f"{month}-10" for month in months], "usd": rng.lognormal(0, 1, len(months))})
    frame["who"] = [f"m{k % 3}" for k in range(len(frame))]
    return LossHistory.from_events(frame, date="day", member="who", loss="usd", **window)  # type: ignore[arg-type]


def test_a_history_that_ends_with_its_events_says_that_rates_are_too_high() -> None:
    law = severity.LogNormal()
    (said,) = [flag for flag in JointLossModel(severity=law).fit(rare(1)).flags_ if "begins and ends" in flag]
    n = int(re.search(r"has (\d+) events", said)[1])  # type: ignore[index]
    points = np.random.default_rng(0).random((100_000, n))
    about = 1 / np.mean(points.max(axis=1) - points.min(axis=1))
    assert float(re.search(r"about ([\d.]+) times", said)[1]) == pytest.approx(about, abs=0.06)  # type: ignore[index]
    whole = JointLossModel(severity=law).fit(rare(1, start="2010-01", end="2019-12")).flags_
    assert not any("begins and ends" in flag for flag in whole)


@pytest.mark.parametrize("kind", ["open", "rising limits"])
def test_lower_bounds_that_go_with_time_are_no_trend_of_sizes(kind: str) -> None:
    """Open claims of the last three years, at a part of what they come to; limits that rise by 15 % a year."""
    rng, rows = np.random.default_rng(3), []
    for year, member in itertools.product(range(15), range(8)):
        for loss in np.exp(1.2 * rng.normal(size=rng.poisson(2))):
            limit = 1.15 ** (year - 7) if kind == "rising limits" else np.inf
            cut = kind == "open" and year >= 12
            paid = loss * rng.uniform(0.1, 0.6) if cut else min(loss, limit)
            rows.append((f"{2005 + year}-06-15", f"m{member}", paid, bool(cut or loss >= limit), len(rows)))
    frame = pd.DataFrame(rows, columns=["day", "who", "usd", "bound", "id"])
    named = {"date": "day", "member": "who", "loss": "usd", "period": "Y"}
    trends, said = told_trends(LossHistory.from_events(frame, at_least="bound", **named), None)
    assert not trends
    assert "no trend is taken from that" in said[0]
    taken, _ = told_trends(LossHistory.from_events(frame, **named), None)
    assert taken or kind == "open"


@pytest.mark.parametrize(
    ("freq", "factors"), [("Q", [0.6, 0.8, 1.0, 1.6]), ("M", 1 + 0.6 * np.sin(np.arange(12) / 6 * np.pi))]
)
def test_a_panel_with_a_season_says_so(freq, factors):
    """It passed for a level that moves: the quarter ahead 1.7 times too dear, the year of months a third too cheap."""
    rng, factors = np.random.default_rng(3), np.asarray(factors)
    periods = pd.period_range("2010-01", periods=10 * factors.size if freq == "Q" else 60, freq=freq)
    ratios = np.exp(0.2 * rng.normal(size=(len(periods), 1)) + 0.3 * rng.normal(size=(len(periods), 5)))
    seasonal = ratios * factors[np.arange(len(periods)) % factors.size][:, None]
    found = {}
    for name, losses in (("none", ratios), ("season", seasonal)):
        panel = pd.DataFrame(losses, index=periods, columns=list("ABCDE"))
        found[name] = [flag for flag in JointLossModel().fit(LossHistory.from_panel(panel)).flags_ if "season" in flag]
    assert not found["none"]
    (told,) = found["season"]
    most, least, ahead = ("quarter 4", "quarter 1", "quarter 1") if freq == "Q" else ("A|May|June", "S|O", "January")
    assert re.search(rf"({most})\w* ?.*brings 1\.\d+ times .* the most, ({least})\w* ?.*brings 0?\.\d+ times", told)
    assert f"and {ahead} brings" in told


@pytest.mark.slow
def test_a_level_that_wanders_or_grows_is_no_season():
    rng, alarms = np.random.default_rng(4), 0
    for kind in range(4):
        for _ in range(250):
            logs = 0.3 * rng.normal(size=60) + (np.cumsum(0.2 * rng.normal(size=60)) if kind % 2 else 0.0)
            logs += 0.05 * np.arange(60) if kind > 1 else 0.0
            periods = pd.period_range("2010-01", periods=60, freq="M")
            alarms += bool(ratio_season_flags(np.exp(logs)[:, None], np.ones((60, 1)), periods))
    assert alarms <= 20
