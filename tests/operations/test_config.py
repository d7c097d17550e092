"""What a configuration may say, and what is said when it is wrong."""

import pytest

from calibrate.errors import ConfigurationError
from calibrate.operations.config import load

GOOD = '[data]\nevents = "losses.csv"\n'


def write(tmp_path, text):
    path = tmp_path / "pool.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_and_paths_start_from_the_folder_of_the_file(tmp_path):
    configuration = load(write(tmp_path, GOOD))
    assert configuration.path("losses.csv") == (tmp_path / "losses.csv").resolve()
    assert configuration.runs == (tmp_path / "runs/pool").resolve()
    assert configuration.schedule is None
    assert configuration.data.period == "M"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "[run]\nsed = 3\n", "[run] has no key 'sed'; did you mean 'seed'?"),
        (GOOD + "[rum]\nseed = 3\n", "the file has no key 'rum'; did you mean 'run'?"),
        (GOOD + '[run]\nseed = "three"\n', "[run] seed = 'three', expected a valid integer"),
        (GOOD + "[run]\nn_scenarios = 0\n", "[run] n_scenarios = 0, expected greater than or equal to 1"),
        (
            GOOD + "[uncertainty]\nreplicates = 3\n",
            "[uncertainty] has no key 'replicates'; did you mean 'replications'?",
        ),
        (
            GOOD + "[uncertainty]\nreplications = 1\n",
            "[uncertainty] replications = 1, expected greater than or equal to 2",
        ),
        (GOOD + '[schedule]\nevery = "fortnight"\n', "[schedule] every = 'fortnight', expected 'day', 'week', 'month'"),
        (GOOD + "[schedule]\n", "[schedule] needs the key 'every'"),
        ("[run]\nseed = 1\n", "[data] is missing"),
        ("[data]\n", "[data] needs exactly one of 'dataset', 'events' and 'panel', found none"),
        ('[data]\npanel = "a.csv"\nexposure_prices = "b.csv"\n', "exposure_prices needs prices"),
        ('[data]\nevents = "a.csv"\npanel = "b.csv"\n', "found events and panel"),
        ('[data]\ndataset = "crypto-venue"\nmember = "who"\n', "[data] member has no meaning together with 'dataset'"),
        (
            '[data]\npanel = "a.csv"\nmember = "who"\n',
            "a long panel needs the columns of date, member and loss; missing: date, loss",
        ),
        (GOOD + "[program]\nminimize = []\n", "[program] has no key 'minimize'; did you mean 'minimise'?"),
        ("[data\n", "is not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(tmp_path, text, words):
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, text))
    assert words in str(caught.value)
    assert "pool.toml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, GOOD + "[run]\nsed = 3\nn_scenarios = 0\n"))
    assert "'sed'" in str(caught.value)
    assert "n_scenarios = 0" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"there is no configuration file .*nowhere\.toml"):
        load(tmp_path / "nowhere.toml")


def test_a_name_that_no_file_can_have_is_no_path(tmp_path):
    file = tmp_path / "pool.toml"
    file.write_text('[data]\nevents = "a\\u0000b.csv"\ndate = "d"\nmember = "m"\nloss = "l"\n')
    with pytest.raises(ConfigurationError, match=r"'a\\x00b\.csv' is no path"):
        load(file).path("a\0b.csv")


def test_a_folder_of_runs_that_can_have_no_such_name_is_no_path(tmp_path):
    with pytest.raises(ConfigurationError, match=r"'a\\x00b' is no path"):
        _ = load(write(tmp_path, GOOD + '[run]\nfolder = "a\\u0000b"\n')).runs


def test_settings_leave_out_schedule_and_folder(tmp_path):
    plain = load(write(tmp_path, GOOD)).settings
    more = load(write(tmp_path, GOOD + '[run]\nfolder = "elsewhere"\n[schedule]\nevery = "month"\n')).settings
    assert plain == more
    assert load(write(tmp_path, GOOD + "[run]\nseed = 1\n")).settings != plain


def test_uncertainty_is_off_until_asked_for_and_decides_the_run(tmp_path):
    plain = load(write(tmp_path, GOOD))
    assert plain.uncertainty is None
    asked = plain.resampling(50)
    assert asked.uncertainty.model_dump() == {"replications": 50, "seeds": 10, "block": None, "batches": 10}
    assert asked.settings != plain.settings
    assert asked.resampling(0).settings == plain.settings
    blocks = load(write(tmp_path, GOOD + "[uncertainty]\nblock = 6\n"))
    assert blocks.uncertainty.replications == 100
    assert blocks.resampling(7).uncertainty.model_dump() == {"replications": 7, "seeds": 10, "block": 6, "batches": 10}
    with pytest.raises(ConfigurationError, match="1 resampled history has no spread"):
        plain.resampling(1)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    assert load(write(tmp_path, "\ufeff" + GOOD)).data.events == "losses.csv"
