"""Every repair is counted, nothing comes from the future, adjusted and raw prices are never mixed."""

import numpy as np
import pytest

from pgcore.market.csv_import import Choices, import_prices
from pgcore.market.prices import PriceError, PriceSeries
from tests.price_files import Dialect, base_series, several_level, text

BASE = base_series()


class TestAdjustedAndRawAreNeverMixed:
    ROWS = ("2024-01-02,10,12,8,10,5,100", "2024-01-03,11,13,9,12,6,100", "2024-01-04,12,14,11,13,13,100")

    def test_open_high_low_are_scaled_to_the_adjusted_close(self):
        imported = import_prices(text("Date,Open,High,Low,Close,Adj Close,Volume", *self.ROWS))
        assert imported.series.close.tolist() == [5, 6, 13]
        assert imported.series.open.tolist() == [5, 5.5, 12]
        assert imported.series.high.tolist() == [6, 6.5, 14]
        assert imported.report.repairs == (
            ("rows whose open, high and low were scaled by adjusted close / close, as the close is adjusted", 2),
        )

    def test_a_full_adjusted_set_is_taken_as_it_is(self):
        data = text(
            "Date,Open,High,Low,Close,adjOpen,adjHigh,adjLow,adjClose",
            "2024-01-02,1,2,1,2,11,13,10,12",
            "2024-01-03,1,2,1,2,12,14,11,13",
        )
        series = import_prices(data).series
        assert series.open.tolist() == [11, 12]
        assert series.close.tolist() == [12, 13]

    def test_without_a_raw_close_the_raw_rest_is_left_out(self):
        imported = import_prices(text("Date,Open,High,Low,Adj Close", "2024-01-02,10,12,8,5", "2024-01-03,11,13,9,6"))
        assert imported.series.open.tolist() == imported.series.high.tolist() == [5, 6]
        assert any("left out" in warning for warning in imported.report.warnings)

    def test_the_raw_set_on_request(self):
        imported = import_prices(text("Date,Open,High,Low,Close,Adj Close,Volume", *self.ROWS), choices=Choices(close="Close"))
        assert imported.series.close.tolist() == [10, 12, 13]
        assert imported.series.open.tolist() == [10, 11, 12]


class TestPricesStayAsTheyAre:
    def test_what_was_read_cannot_be_changed(self):
        series = import_prices(Dialect().write(BASE)).series
        for column in (series.open, series.high, series.low, series.close, series.volume):
            with pytest.raises(ValueError, match="read-only"):
                column[0] = 1.0

    def test_an_array_that_may_still_change_is_copied(self):
        close = np.array([1.5, 1.6])
        series = PriceSeries.from_close(np.array(["2024-01-02", "2024-01-03"], "M8[D]"), close)
        close[0] = 9.0
        assert series.close[0] == 1.5


class TestRepairs:
    def test_sorted_and_the_last_of_equal_dates_kept(self):
        imported = import_prices(text("Date,Close", "2024-01-03,3.5", "2024-01-02,2.5", "2024-01-03,3.75"))
        assert imported.series.close.tolist() == [2.5, 3.75]
        assert dict(imported.report.repairs)["rows with a date that comes again left out, the last one kept"] == 1

    def test_many_dates_that_come_again_with_another_price_are_refused(self):
        rows = [f"2024-01-{day:02},{day}.{i}" for day in range(1, 20) for i in range(1, 4)]
        with pytest.raises(PriceError, match=r"38 of 57 rows .* as 2024-01-01: .* no column tells apart"):
            import_prices(text("Date,Close", *rows))

    def test_a_file_written_twice_into_one(self):
        lines = Dialect().write(BASE).decode().splitlines()
        imported = import_prices(text(*lines, *lines[1:]))
        assert imported.series == BASE
        assert dict(imported.report.repairs)["rows with a date that comes again left out, the last one kept"] == len(BASE)

    @pytest.mark.parametrize("mark", ["", "-", "--", "N/A", "null", "None", ".", "#N/A", "NaN", "n.d.", "—", "#DIV/0!"])
    def test_missing_prices_are_left_out_and_never_filled_from_the_future(self, mark):
        data = text("Date,Close", "2024-01-02,2.5", f"2024-01-03,{mark}", "2024-01-04,4.5")
        imported = import_prices(data)
        assert imported.series.close.tolist() == [2.5, 4.5]
        assert imported.report.repairs == (("rows without a price left out", 1),)

    def test_carried_forward_only_on_request(self):
        data = text(
            "Date,Open,High,Low,Close", "2024-01-01,,,,", "2024-01-02,2,3,1,2.5", "2024-01-03,,,,", "2024-01-04,4,5,3,4.5"
        )
        imported = import_prices(data, choices=Choices(fill_gaps=True))
        assert imported.series.close.tolist() == [2.5, 2.5, 4.5]
        assert imported.series.open.tolist() == [2, 2.5, 4]
        assert dict(imported.report.repairs) == {
            "rows before the first price left out": 1,
            "rows without a price given the last close before them": 1,
        }

    def test_a_missing_open_is_the_close_of_its_own_row(self):
        imported = import_prices(
            text("Date,Open,High,Low,Close", "2024-01-02,2,3,1,2.5", "2024-01-03,-,5,3,4.5", "2024-01-04,6,7,5,6.5")
        )
        assert imported.series.open.tolist() == [2, 4.5, 6]
        assert imported.report.repairs == (("rows in which the close stands for a missing open, high or low", 1),)

    def test_closes_only(self):
        imported = import_prices(text("Date,Close", "2024-01-02,2.5", "2024-01-03,3.5"))
        assert imported.series.low.tolist() == imported.series.high.tolist() == [2.5, 3.5]
        assert imported.report.warnings == ("The file has no open, high and low: the close stands for them.",)

    def test_negative_volume_is_unknown(self):
        imported = import_prices(text("Date,Close,Volume", "2024-01-02,2.5,100", "2024-01-03,3.5,-1"))
        assert imported.series.volume[0] == 100
        assert np.isnan(imported.series.volume[1])
        assert dict(imported.report.repairs)["negative volumes taken as unknown"] == 1

    def test_repeated_headers_and_footers(self):
        lines = Dialect().write(BASE).decode().splitlines()
        data = text(*lines[:31], lines[0], *lines[31:], "Total,,,,,99", "Source: somewhere")
        imported = import_prices(data)
        assert imported.series == BASE
        assert dict(imported.report.repairs)['rows without a readable date left out, as "Date"'] == 1
        assert dict(imported.report.repairs)["lines below the table left out"] == 1

    @pytest.mark.parametrize("names", ["Ex-Date,Dividend", "Date,Split"])
    @pytest.mark.parametrize("header", ["Date,Open,High,Low,Close,Volume", "Date,Close"])
    @pytest.mark.parametrize("between", ["", "\n", "\nDividends\n"])
    def test_a_second_table_below_the_first(self, names, header, between):
        columns = "dohlcv" if "Open" in header else "dc"
        data = Dialect(header, columns, below=f"{between}{names}\n2023-11-21,0.24\n2024-03-01,0.25\n").write(BASE)
        imported = import_prices(data)
        assert np.array_equal(imported.series.close, BASE.close)
        assert dict(imported.report.repairs)["lines of a second table below left out"] == 3

    def test_files_with_headers_of_several_rows_put_together(self):
        half = several_level(["Price,Close,High,Low,Open,Volume", "Ticker,AAPL,AAPL,AAPL,AAPL,AAPL", "Date,,,,,"])
        imported = import_prices(half(BASE.between(0, 30)) + half(BASE.between(30, 60)))
        assert imported.series == BASE

    def test_ragged_rows(self):
        lines = Dialect().write(BASE).decode().splitlines()
        lines[5] = lines[5].rsplit(",", 1)[0]
        imported = import_prices(text(*lines))
        assert np.array_equal(imported.series.close, BASE.close)
        assert np.isnan(imported.series.volume[4])

    def test_a_quotation_mark_that_never_closes(self):
        lines = Dialect().write(BASE).decode().splitlines()
        lines[3] = '"' + lines[3]
        assert import_prices(text(*lines)).series == BASE

    @pytest.mark.parametrize(
        ("closes", "warning"),
        [
            ([100, 101, 50, 51], r"moves by -50 % in one row on 2024-01-03: an unadjusted split\?"),
            ([100] + [101] * 12 + [102], r"stays the same for 12 rows from 2024-01-02: stale prices\?"),
        ],
    )
    def test_odd_prices_are_pointed_out_not_changed(self, closes, warning):
        data = text("Date,Close", *(f"2024-01-{i:02},{close}" for i, close in enumerate(closes, 1)))
        imported = import_prices(data)
        assert imported.series.close.tolist() == closes
        with pytest.raises(AssertionError, match=warning):
            raise AssertionError(" ".join(imported.report.warnings))

    def test_gaps_and_crossed_highs_are_pointed_out(self):
        days = [np.datetime64("2024-01-01") + i for i in range(20)] + [np.datetime64("2024-03-01")]
        data = text(
            "Date,Open,High,Low,Close", *(f"{day},2,{1 if i == 3 else 3},1,{2 + i / 100}" for i, day in enumerate(days))
        )
        assert import_prices(data).report.warnings == (
            "In 1 row the high is not the highest or the low not the lowest of the day: check that the columns are right.",
            "Longest gap: 41 days after 2024-01-20.",
        )
