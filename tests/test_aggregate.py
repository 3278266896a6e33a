"""Several seeds as one: the interquartile mean and its interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from pgcore import aggregate
from pgcore.aggregate import band, bootstrap_interval, interquartile_mean


def test_the_middle_half_is_averaged():
    assert interquartile_mean(np.array([0.0, 1.0, 2.0, 1000.0])) == 1.5
    np.testing.assert_array_equal(interquartile_mean(np.array([[5.0, 1.0], [7.0, 3.0]])), [6.0, 2.0])


@given(st.integers(1, 10), st.integers(0, 2**32 - 1))
def test_it_is_the_trimmed_mean_where_quarters_are_whole(quarter, seed):
    values = np.random.default_rng(seed).normal(size=4 * quarter)
    assert interquartile_mean(values) == pytest.approx(trim_mean(values, 0.25))


def test_a_value_half_in_the_middle_counts_half():
    """Of five, 1¼ are cut on each side: ¾ of the second and fourth and all of the third remain."""
    assert interquartile_mean(np.array([0.0, 1.0, 2.0, 4.0, 9.0])) == pytest.approx((0.75 * 1 + 2 + 0.75 * 4) / 2.5)


def test_the_interval_holds_the_mean_and_narrows_with_more_seeds():
    rng = np.random.default_rng(1)
    widths = []
    for n in (5, 80):
        values = rng.normal(10.0, 1.0, size=(n, 3))
        low, high = bootstrap_interval(values)
        assert ((low <= interquartile_mean(values)) & (interquartile_mean(values) <= high)).all()
        widths.append((high - low).mean())
    assert widths[1] < widths[0] / 2


def test_an_interval_worked_out_bit_by_bit_is_the_same(monkeypatch):
    values = np.random.default_rng(2).normal(size=(7, 3))
    at_once = bootstrap_interval(values)
    monkeypatch.setattr(aggregate, "MOST_AT_ONCE", 300)
    np.testing.assert_array_equal(bootstrap_interval(values), at_once)


def test_a_band_goes_only_as_far_as_all_of_its_curves():
    x, y = (
        [np.array([1, 2]), np.array([1, 5]), np.array([1, 3])],
        [np.array([0.0, 2.0]), np.array([0.0, 4.0]), np.array([0.0, 2.0])],
    )
    got = band(x, y)
    assert (got.x[0], got.x[-1], got.n) == (1, 2, 3)
    assert got.mean[-1] == pytest.approx(interquartile_mean(np.array([2.0, 1.0, 1.0])))
    assert ((got.low <= got.mean) & (got.mean <= got.high)).all()


def test_curves_without_common_ground_have_no_band():
    got = band([np.array([1, 2]), np.array([3, 5])], [np.array([0.0, 1.0]), np.array([0.0, 4.0])])
    assert (got.x.size, got.mean.size, got.low.size, got.n) == (0, 0, 0, 2)
