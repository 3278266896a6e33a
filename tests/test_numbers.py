"""Numbers in every common way of writing them, each read as the nearest float."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgcore.market.cells import Cells
from pgcore.market.numbers import decide_decimal, read_numbers


class TestNumbers:
    @pytest.mark.parametrize(
        ("cell", "decimal", "value"),
        [
            ("1,234.56", ".", 1234.56),
            ("1.234,56 €", ",", 1234.56),
            ("$1,234.56", ".", 1234.56),
            ("R$ 12,5", ",", 12.5),
            ("1\u202f234,5", ",", 1234.5),
            ("1'234.50", ".", 1234.5),
            ("12,34,567.00", ".", 1234567),
            ("190.28M", ".", 190_280_000),
            ("3,2 Mio.", ",", 3_200_000),
            ("1.2万", ".", 12_000),
            ("1.5亿", ".", 150_000_000),
            ("1.5E+08", ".", 150_000_000),
            ("(12.3)", ".", -12.3),
            ("−5", ".", -5),
            ("12.3-", ".", -12.3),
            ('="12.5"', ".", 12.5),
            ("71,500원", ".", 71_500),
            ("191.3800048828125", ".", 191.3800048828125),
            ("100.12345678901234567", ".", 100.12345678901234567),
            (".5", ".", 0.5),
            ("5.", ".", 5),
        ],
    )
    def test_ways_to_write_a_number(self, cell, decimal, value):
        assert read_numbers(Cells.of([cell]), decimal).values[0] == value

    @pytest.mark.parametrize("cell", ["0.25 Dividend", "1.2.3", "12,34", "abc1", "1-2", "2024-01-02"])
    def test_what_is_no_number(self, cell):
        read = read_numbers(Cells.of([cell]), ".")
        assert np.isnan(read.values[0])
        assert (read.unreadable, read.example) == (1, cell)

    def test_words_say_that_there_is_no_value(self):
        read = read_numbers(Cells.of(["closed", "1.5", "n/a"]), ".")
        assert np.isnan(read.values).tolist() == [True, False, True]
        assert read.unreadable == 0

    @given(st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=20))
    def test_any_float_comes_back_exactly(self, values):
        read = read_numbers(Cells.of([repr(value) for value in values]), ".")
        assert read.values.tolist() == values

    @pytest.mark.parametrize(
        ("cells", "mark"),
        [
            (["1,234", "12.5"], "."),
            (["1.234.567", "1.234"], ","),
            (["0,123", "1,234"], ","),
            (["1234,567"], ","),
            (["12", "13"], "."),
        ],
    )
    def test_the_decimal_mark_by_its_use(self, cells, mark):
        assert decide_decimal([[Cells.of(cells)]]) == mark
