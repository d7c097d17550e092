"""Members of one segment whose losses have unlike forms: told, named, and not seen where there is nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate import JointLossModel, LossHistory
from calibrate.models.doubts_of_forms import form_flags
from calibrate.models.forms import Scatter
from calibrate.models.frequency import Poisson
from calibrate.models.severity import LogNormal

MEMBERS = ["m0", "m1", "m2", "m3", "m4", "m5"]


def history(deviations, rng, each=60, **named):
    """Lognormal losses of the same median, `each` a member, on days of ten years, and their segments."""
    owner = np.repeat(np.arange(6), each)
    loss = np.exp(10 + np.asarray(deviations)[owner] * rng.standard_normal(owner.size))
    date = pd.Timestamp("2010-01-01") + pd.to_timedelta(rng.integers(3650, size=owner.size), unit="D")
    frame = pd.DataFrame({"date": date, "member": np.array(MEMBERS)[owner], "loss": loss})
    frame = frame.assign(**{name: by(owner) for name, by in named.items()})
    columns = {"date": "date", "member": "member", "loss": "loss"} | {name: name for name in named}
    return LossHistory.from_events(frame, period="Y", start="2010", end="2019", **columns)


def told(events):
    model = JointLossModel(severity=LogNormal(), frequency=Poisson()).fit(events)
    return [flag for flag in model.flags_ if "scatter unlike each other" in flag]


def test_members_whose_losses_scatter_unlike_each_other_are_named():
    """Deviations of .6 and 1.4."""
    rng, unlike = np.random.default_rng(3), [0.6, 0.6, 0.6, 1.4, 1.4, 1.4]
    (flag,) = told(history(unlike, rng))
    most, least = flag.split("(deviation of the log ")[1].split("); the law")[0].split("; ")
    for part, names, truth in ((most, MEMBERS[3:], 1.4), (least, MEMBERS[:3], 0.6)):
        found = dict(reversed(each.split(" for ")) for each in part.split(", "))
        assert sorted(name.strip("'") for name in found) == names
        assert [float(number) for number in found.values()] == pytest.approx([truth] * 3, rel=0.3)
    apart = history(unlike, rng, segment=lambda owner: np.where(owner < 3, "light", "heavy"))
    assert told(apart) == []
    assert told(history(unlike, rng, at_least=lambda owner: np.arange(owner.size) % 9 == 0)) == []
    assert told(history([0.6] * 6, rng)) == []


class Seen:
    """What is asked of events, in one segment and forty periods."""

    segments = ("all",)

    def __init__(self, logs, owner, rng):
        self.losses, self.owner, self.when = np.exp(logs), owner, rng.integers(40, size=owner.size)
        self.segment, self.at_least = np.zeros(owner.size, dtype=int), np.zeros(owner.size, dtype=bool)


@pytest.mark.parametrize(
    "law", [stats.norm(), stats.expon(), stats.t(3), stats.loggamma(0.3)], ids=["lognormal", "pareto", "t", "gamma"]
)
def test_equal_forms_are_called_unlike_in_less_than_one_history_in_a_hundred(law):
    """Of 26,000 histories of six designs and five laws 13, of 5,200 with levels of a member and period of its own 21.

    Deviations that are a factor of 1.5 apart are told in 85 of 100 with 6 to 200 lognormal losses of ten members.
    """
    rng, owner = np.random.default_rng(5), np.repeat(np.arange(6), [12, 15, 20, 30, 60, 100])
    seen = [Seen(law.rvs(owner.size, random_state=rng), owner, rng) for _ in range(200)]
    assert sum(len(form_flags(each, MEMBERS)) for each in seen) < 2
    unlike = [Seen(law.rvs(owner.size, random_state=rng) * (1 + 2 * (owner % 2)), owner, rng) for _ in range(20)]
    assert sum(len(form_flags(each, MEMBERS)) for each in unlike) > 10


def test_the_test_is_that_of_brown_and_forsythe():
    """Their p-value by scipy, where members have as many losses and no two lie in one period."""
    rng, owner = np.random.default_rng(1), np.repeat([0, 2, 3], 21)
    logs = rng.standard_normal(63) * (1 + owner / 5)
    scatter = Scatter.of(logs, owner, np.arange(63))
    expected = stats.levene(*(logs[owner == i] for i in (0, 2, 3)), center="median").pvalue
    assert scatter.between(scatter.distances)[0] == pytest.approx(expected, rel=1e-10)
    assert scatter.members.tolist() == [0, 2, 3]
    doubled = Scatter.of(np.repeat(logs, 2), np.repeat(owner, 2), np.repeat(np.arange(63), 2))
    assert doubled.between(doubled.distances)[0] > 0.5 * expected  # every loss twice in its period tells nothing new
    assert Scatter.of(logs[:30], owner[:30], np.arange(30)) is None  # nine losses of the second are too few
