"""The waist: what it refuses, that it cannot be changed, and what it says of itself."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from calibrate import Scenarios
from calibrate.errors import CalibrateError, DataError

TWO_BY_TWO = [[0.0, 3.0], [5.0, 0.0]]
MASKED = np.ma.masked_array(np.full((2, 2), 0.5), mask=[[0, 0], [0, 1]])


def test_columns_run_through_the_segments_of_each_member():
    pool = Scenarios(np.arange(12).reshape(2, 6), ["A", "B"], ["x", "y", "z"])
    assert pool.cube.shape == (2, 2, 3)
    assert pool.cube[1, 0, 2] == 8
    assert list(pool.columns) == [("A", "x"), ("A", "y"), ("A", "z"), ("B", "x"), ("B", "y"), ("B", "z")]
    assert pool.columns.names == ["member", "segment"]
    np.testing.assert_array_equal(pool.member_losses, [[3, 12], [21, 30]])
    assert pool.expected_losses.to_dict() == {"A": 12.0, "B": 21.0}
    assert pool.to_frame().loc[1, ("B", "z")] == 11


def test_the_plain_case_has_one_segment_and_numbered_members():
    pool = Scenarios(TWO_BY_TWO)
    assert pool.members == ("member 1", "member 2")
    assert pool.segments == ("all",)
    assert pool.currency == "USD"
    assert len(pool) == 2
    np.testing.assert_array_equal(pool.probabilities, [0.5, 0.5])
    assert list(pool.to_frame().columns) == ["member 1", "member 2"]
    assert "2 x 2 members x 1 segments, USD" in repr(pool)


def test_expected_losses_weigh_by_probability():
    assert Scenarios(TWO_BY_TWO, ["A", "B"], probabilities=[0.75, 0.25]).expected_losses.to_dict() == {
        "A": 1.25,
        "B": 2.25,
    }


def test_frames_and_integers_are_welcome():
    frame = pd.DataFrame({"A": [1, 2], "B": [0, 4]})
    pool = Scenarios(frame, members=frame.columns)
    assert pool.members == ("A", "B")
    assert pool.losses.dtype == np.float64


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Scenarios([1.0, 2.0]), r"losses must be a 2-d array .* got shape \(2,\)"),
        (lambda: Scenarios(np.zeros((0, 3))), r"with at least one .*, got shape \(0, 3\)"),
        (lambda: Scenarios(np.zeros((3, 0))), r"got shape \(3, 0\)"),
        (lambda: Scenarios([["a", "b"]]), "losses must be numbers in a 2-d array"),
        (lambda: Scenarios(MASKED), "losses must be numbers .*: 1 of them masked; give each a number"),
        (lambda: Scenarios(TWO_BY_TWO, collateral=MASKED), "collateral must be numbers .*: 1 of them masked"),
        (lambda: Scenarios(TWO_BY_TWO, probabilities=MASKED[1]), "expected one number for each of 2 scenarios"),
        (lambda: Scenarios(np.array([[1 + 5j, 2]])), "losses must be numbers .*: they are complex; give real ones"),
        (lambda: Scenarios([[10**400]]), "losses must be numbers .*: int too large to convert to float"),
        (lambda: Scenarios(TWO_BY_TWO, probabilities=[10**400, 0]), "expected one number for each of 2 scenarios"),
        (
            lambda: Scenarios([[np.datetime64("2024-01-01")]]),
            "losses must be numbers .*: they are dates or spans of time",
        ),
        (lambda: Scenarios(pd.DataFrame({"A": pd.to_datetime(["2024-01-01"]), "B": [1.0]})), "they are dates or spans"),
        (lambda: Scenarios(TWO_BY_TWO, 5), "members are 5, expected a list of names"),
        (lambda: Scenarios(TWO_BY_TWO, segments=5), "segments are 5, expected a list of names"),
        (lambda: Scenarios(TWO_BY_TWO, ["A", "\ud800"]), "members: '.ud800' has half a character"),
        (lambda: Scenarios(TWO_BY_TWO, segments=["x", "\udfff"]), "segments: '.udfff' has half a character"),
        (lambda: Scenarios([[1.0], [1.0, 2.0]]), "losses must be numbers in a 2-d array"),
        (
            lambda: Scenarios([[1.0, np.nan]], ["A", "B"]),
            "scenario 0, member 'B', segment 'all': loss is nan, expected a finite number >= 0",
        ),
        (lambda: Scenarios([[1.0], [np.inf]], ["A"]), "scenario 1, member 'A', segment 'all': loss is inf"),
        (lambda: Scenarios([[-2.5]], ["A"], ["x"]), r"scenario 0, member 'A', segment 'x': loss is -2\.5"),
        (lambda: Scenarios(TWO_BY_TWO, ["A"]), "2 columns = 2 members x 1 segments, but 1 members are named"),
        (lambda: Scenarios(np.ones((1, 5)), segments=["x", "y"]), "5 columns, which is not a multiple of 2 segments"),
        (lambda: Scenarios(TWO_BY_TWO, ["A", "A"]), "members must be unique, but 'A' occur more than once"),
        (lambda: Scenarios(TWO_BY_TWO, [1, "1"]), "members must be unique, but '1'"),
        (lambda: Scenarios(TWO_BY_TWO, segments=["x", "x"]), "segments must be unique, but 'x'"),
        (lambda: Scenarios(TWO_BY_TWO, segments=[]), "segments must not be empty"),
        (lambda: Scenarios(TWO_BY_TWO, probabilities=[1.0]), r"probabilities must have shape \(2,\).* got \(1,\)"),
        (lambda: Scenarios(TWO_BY_TWO, probabilities=[0.5, 0.6]), r"sum to 1\.1, expected 1; divide .* by their sum"),
        (
            lambda: Scenarios(TWO_BY_TWO, probabilities=[1.5, -0.5]),
            r"scenario 1: probability is -0\.5, expected a finite",
        ),
        (lambda: Scenarios(TWO_BY_TWO, probabilities=[np.nan, 1.0]), "scenario 0: probability is nan"),
        (
            lambda: Scenarios(TWO_BY_TWO, collateral=np.ones((2, 3))),
            r"collateral must have shape \(2, 2\).* got \(2, 3\)",
        ),
        (
            lambda: Scenarios(TWO_BY_TWO, ["A", "B"], collateral=[[1, 1], [1, 1.5]]),
            r"scenario 1, member 'B': collateral value is 1\.5, expected a finite number between 0 and 1",
        ),
    ],
)
def test_what_is_wrong_is_refused_at_the_door_in_words(make, words):
    with pytest.raises(DataError, match=words) as caught:
        make()
    assert isinstance(caught.value, CalibrateError)
    assert caught.value.exit_code == 2


def test_a_mask_is_seen_on_an_array_that_is_taken_as_it_is():
    losses = np.ma.masked_array(np.ones((2, 2)), mask=[[0, 1], [0, 0]])
    losses.flags.writeable = False
    with pytest.raises(DataError, match="1 of them masked"):
        Scenarios(losses)
    assert Scenarios(np.ma.masked_array(np.ones((2, 2)))).losses.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_a_frame_names_its_members():
    """Labels of a frame are not dropped: members in another order than its columns would have each other's losses."""
    frame = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["B", "C", "A"])
    assert Scenarios(frame).members == ("B", "C", "A")
    assert Scenarios(frame, members=["B", "C", "A"]).expected_losses["A"] == 3.0
    with pytest.raises(DataError, match=r"columns name the members B, C, A, and members says A, B, C: put its columns"):
        Scenarios(frame, members=["A", "B", "C"])
    assert Scenarios(frame.set_axis(pd.MultiIndex.from_arrays([["B", "C", "A"]]), axis=1)).members == ("B", "C", "A")
    pairs = pd.MultiIndex.from_product([["B", "A"], ["fire", "flood"]])
    cells = Scenarios(pd.DataFrame([[1.0, 2.0, 3.0, 4.0]], columns=pairs))
    assert (cells.members, cells.segments) == (("B", "A"), ("fire", "flood"))
    assert cells.to_frame()[("A", "flood")].item() == 4.0
    with pytest.raises(DataError, match="all segments of each member side by side"):
        Scenarios(pd.DataFrame([[1.0, 2.0, 3.0, 4.0]], columns=pairs[[0, 2, 1, 3]]))
    assert Scenarios(pd.DataFrame([[1.0, 2.0]]), members=["A", "B"]).members == ("A", "B")
    assert Scenarios(cells.to_frame()).members == cells.members


STORMS = pd.DataFrame(
    [[5.0, 1.0], [0.0, 2.0], [3.0, 0.0]], index=pd.date_range("2024-01-01", periods=3), columns=["A", "B"]
)
WORTH = pd.DataFrame([[1.0, 0.5], [0.25, 1.0], [0.0, 0.75]], index=STORMS.index, columns=STORMS.columns)
LIKELY = pd.Series([0.2, 0.3, 0.5], index=STORMS.index)


def test_labels_beside_labels_are_put_in_their_order():
    """The columns of a frame, or its days, in another order would be the collateral or the chance of another."""
    told = Scenarios(STORMS, collateral=WORTH, probabilities=LIKELY)
    assert Scenarios(STORMS, collateral=WORTH[["B", "A"]][::-1], probabilities=LIKELY[::-1]).digest == told.digest
    named = Scenarios(STORMS.to_numpy(), ["A", "B"], collateral=WORTH[["B", "A"]], probabilities=LIKELY)
    assert named.digest == told.digest
    plain, worth = pd.DataFrame(STORMS.to_numpy()), pd.DataFrame(WORTH.to_numpy())
    for other in (worth[[1, 0]], worth.iloc[[2, 0, 1]]):  # the numbers that pandas gives are labels as well
        assert Scenarios(plain, collateral=other).digest == Scenarios(plain, collateral=worth).digest
    numbers = STORMS.set_axis([7, 8], axis=1)
    assert Scenarios(numbers, collateral=WORTH.set_axis(["8", "7"], axis=1)).collateral[0].tolist() == [0.5, 1.0]
    one_level = WORTH[["B", "A"]].set_axis(pd.MultiIndex.from_arrays([["B", "A"]]), axis=1)
    assert Scenarios(STORMS, collateral=one_level).digest == Scenarios(STORMS, collateral=WORTH).digest


def test_where_one_side_has_no_labels_all_is_taken_by_position():
    expected = Scenarios(STORMS, collateral=WORTH.to_numpy(), probabilities=LIKELY.to_numpy()).digest
    plain = WORTH.reset_index(drop=True).set_axis(pd.RangeIndex(2), axis=1)
    assert Scenarios(STORMS, collateral=plain, probabilities=LIKELY.reset_index(drop=True)).digest == expected
    later = LIKELY.set_axis(pd.RangeIndex(10, 13))
    assert Scenarios(STORMS.to_numpy(), ["A", "B"], collateral=WORTH, probabilities=later).digest == expected
    twice = STORMS.index[[0, 0, 1]]
    assert Scenarios(STORMS.set_axis(twice), probabilities=LIKELY.set_axis(twice)).probabilities[2] == 0.5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: Scenarios(STORMS, collateral=WORTH.set_axis(["A", "C"], axis=1)),
            "collateral: the columns name unknown 'C', leave out 'B'; label them as the members of the losses are, "
            "or give an array, which is taken in its order",
        ),
        (lambda: Scenarios(STORMS, collateral=WORTH[["A"]]), "collateral: the columns leave out 'B'; label them"),
        (lambda: Scenarios(STORMS, collateral=WORTH[["A", "B", "B"]]), "the columns do not tell apart 'B'; label them"),
        (
            lambda: Scenarios(TWO_BY_TWO, ["A", "C"], collateral=WORTH[:2]),
            "the columns name unknown 'B', leave out 'C'",
        ),
        (
            lambda: Scenarios(STORMS, probabilities=LIKELY.set_axis(LIKELY.index + pd.Timedelta(days=1))),
            "probabilities: the rows name unknown '2024-01-04 00:00:00', leave out '2024-01-01 00:00:00'; label them "
            "as the scenarios of the losses are",
        ),
        (
            lambda: Scenarios(STORMS, collateral=WORTH.set_axis(STORMS.index[[0, 1, 1]])),
            "collateral: the rows leave out '2024-01-03 00:00:00', do not tell apart '2024-01-02 00:00:00'",
        ),
        (
            lambda: Scenarios(STORMS, probabilities=LIKELY.set_axis(["x", "y", "z"])),
            "unknown 'x', 'y', 'z', leave out",
        ),
        (
            lambda: Scenarios(TWO_BY_TWO, {"A", "B"}),
            "members are a set, which has no order, expected a list in the order",
        ),
        (
            lambda: Scenarios(STORMS, probabilities=LIKELY.set_axis(pd.MultiIndex.from_product([["x"], [1, 2, 3]]))),
            r"the rows name unknown \"\('x', 1\)\", .* leave out '2024-01-01 00:00:00'",
        ),
        (lambda: Scenarios(TWO_BY_TWO, segments=frozenset({"A", "B"})), "segments are a set, which has no order"),
    ],
)
def test_labels_that_do_not_match_are_refused(make, words):
    with pytest.raises(DataError, match=words):
        make()


def test_every_wrong_entry_is_listed_at_once_up_to_twenty():
    losses = np.ones((6, 5))
    losses[1, 2], losses[4, 0] = np.nan, -1
    with pytest.raises(DataError, match="2 problems in the data") as caught:
        Scenarios(losses, list("ABCDE"))
    assert [text.split(":")[0] for text in caught.value.problems] == [
        "scenario 1, member 'C', segment 'all'",
        "scenario 4, member 'A', segment 'all'",
    ]
    with pytest.raises(DataError, match="and 10 more"):
        Scenarios(np.full((6, 5), -1.0))


def test_nothing_can_be_changed_afterwards():
    losses, p, worth = np.array(TWO_BY_TWO), np.array([0.5, 0.5]), np.ones((2, 2))
    pool = Scenarios(losses, probabilities=p, collateral=worth)
    digest = pool.digest
    for given in (losses, p, worth):
        given[:] = 7.0  # what the caller holds is the caller's
    assert pool.digest == digest
    for array in (pool.losses, pool.probabilities, pool.collateral, pool.cube, pool.member_losses):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        pool.losses = losses
    assert np.array_equal(Scenarios(pool.losses).losses, TWO_BY_TWO)  # read-only arrays are welcome


def test_probabilities_that_sum_to_one_up_to_rounding_are_made_to():
    pool = Scenarios(np.ones((3, 1)), probabilities=[1 / 3 + 3e-10, 1 / 3, 1 / 3])
    assert pool.probabilities.sum() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    "other",
    [
        Scenarios([[0.0, 3.0], [5.0, 1e-300]]),
        Scenarios(TWO_BY_TWO, ["A", "B"]),
        Scenarios(TWO_BY_TWO, probabilities=[0.25, 0.75]),
        Scenarios(TWO_BY_TWO, collateral=np.ones((2, 2))),
        Scenarios(TWO_BY_TWO, currency="EUR"),
        Scenarios(TWO_BY_TWO, segments=["x"]),
    ],
)
def test_the_digest_tells_pools_apart(other):
    assert other.digest != Scenarios(TWO_BY_TWO).digest


def test_the_digest_is_of_the_content():
    assert Scenarios(TWO_BY_TWO).digest == Scenarios(np.asfortranarray(TWO_BY_TWO)).digest
    assert len(Scenarios(TWO_BY_TWO).digest) == 64


@pytest.mark.parametrize("name", ["", " ", "=cmd()", "<script>", "日本", "a,b", 'quo"te', "new\nline", "💥"])
def test_names_may_hold_anything(name):
    pool = Scenarios(TWO_BY_TWO, [name, "other"])
    assert pool.members[0] == name
    assert pool.expected_losses[name] == 2.5


def test_a_digest_is_of_the_order_in_which_it_is_told():
    one = Scenarios([[1.0, 2.0], [3.0, 4.0]])
    first = one.digest
    other = one.rearranged(np.array([1, 0]), np.array([0, 1]), np.array([0]))
    assert other.digest == Scenarios([[3.0, 4.0], [1.0, 2.0]], other.members).digest != first
    assert one.digest == first


def test_what_stands_beside_a_frame_may_be_labelled_in_other_ways():
    """Cells of names of their own, members of one segment, rows of one level, and numbers that nobody gave."""
    cells = pd.DataFrame(np.arange(8.0).reshape(2, 4), columns=["A-x", "A-y", "B-x", "B-y"])
    worth = pd.DataFrame([[0.5, 1.0], [1.0, 0.25]], columns=["A", "B"])
    assert Scenarios(cells, segments=["x", "y"], collateral=worth).collateral.tolist() == worth.to_numpy().tolist()
    one = pd.MultiIndex.from_product([["A", "B"], ["all"]])
    both = Scenarios(STORMS.set_axis(one, axis=1), collateral=WORTH.set_axis(one, axis=1))
    assert both.collateral.tolist() == WORTH.to_numpy().tolist()
    rows = pd.MultiIndex.from_arrays([STORMS.index[::-1]])
    assert Scenarios(STORMS, probabilities=LIKELY[::-1].set_axis(rows)).probabilities.tolist() == LIKELY.to_list()
    turned = pd.DataFrame(TWO_BY_TWO)[::-1]
    assert Scenarios(turned, probabilities=pd.Series([0.75, 0.25])).probabilities.tolist() == [0.75, 0.25]


def test_what_is_written_later_into_what_was_given_is_not_in_the_scenarios():
    """A frame, a view of one and a memory view shared their numbers with the frozen scenarios."""
    frame, table = pd.DataFrame(np.ones((2, 2)), columns=["A", "B"]), np.ones((2, 2))
    worth, likely = pd.DataFrame(np.ones((2, 2)), columns=["A", "B"]), pd.Series([0.5, 0.5])
    pools = [Scenarios(frame, collateral=worth, probabilities=likely), Scenarios(memoryview(table)), Scenarios(table)]
    frame.iloc[0, 0] = worth.iloc[0, 0] = likely.iloc[0] = table[0, 0] = 0.25
    for pool in pools:
        assert pool.losses.tolist() == [[1.0, 1.0], [1.0, 1.0]]
        assert pool.probabilities.tolist() == [0.5, 0.5]
    assert pools[0].collateral.tolist() == [[1.0, 1.0], [1.0, 1.0]]
