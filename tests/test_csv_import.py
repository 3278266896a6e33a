"""Whatever file of prices a person has reads back as the series it was written from, or is refused with one clear sentence."""

import csv
import gzip
import io
import os
import zipfile
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pgcore.market.cells import Cells
from pgcore.market.csv_import import LIMIT_BYTES, Choices, NeedsChoice, import_prices
from pgcore.market.dates import read_dates
from pgcore.market.numbers import decide_decimal, read_numbers
from pgcore.market.prices import PriceError, PriceSeries, load_sample
from price_files import (
    DIALECTS,
    HTML_ERROR,
    JSON_ERROR,
    Dialect,
    base_series,
    epoch,
    named,
    number,
    serial,
    several_level,
    short,
    strftime,
    unpadded,
    workbook,
    zipped,
)

BASE = base_series()


def write(dialect, series: PriceSeries) -> bytes:
    return dialect.write(series) if isinstance(dialect, Dialect) else dialect(series)


def text(*lines: str) -> bytes:
    return "\n".join(lines).encode()


def same_days(imported: PriceSeries, series: PriceSeries) -> bool:
    return np.array_equal(imported.dates.astype("datetime64[D]"), series.dates.astype("datetime64[D]"))


class TestEveryDialectReadsBackEqual:
    @pytest.mark.parametrize("name", DIALECTS)
    def test_dates_and_closes(self, name):
        dialect = DIALECTS[name]
        filename = dialect.filename if isinstance(dialect, Dialect) else "prices.csv"
        imported = import_prices(write(dialect, BASE), filename).series
        assert same_days(imported, BASE)
        assert np.array_equal(imported.close, BASE.close)

    @pytest.mark.parametrize("name", [name for name, d in DIALECTS.items() if isinstance(d, Dialect) and {*"ohl"} <= {*d.columns}])
    def test_open_high_low(self, name):
        imported = import_prices(write(DIALECTS[name], BASE)).series
        for column in ("open", "high", "low"):
            assert np.array_equal(getattr(imported, column), getattr(BASE, column)), column

    @pytest.mark.parametrize("name", [name for name, d in DIALECTS.items() if isinstance(d, Dialect) and "v" in d.columns])
    def test_volume(self, name):
        assert np.allclose(import_prices(write(DIALECTS[name], BASE)).series.volume, BASE.volume, rtol=1e-12)

    def test_the_samples_read_as_they_are_loaded(self):
        data = text("Date,Open,High,Low,Close,Adj Close,Volume") + b"\n"
        sample = load_sample("sp500")
        data += sample.to_csv().split("\n", 1)[1].encode()
        data = sample.to_csv().encode()
        assert import_prices(data).series == sample


class TestReport:
    def test_says_what_was_taken(self):
        report = import_prices(write(DIALECTS["Germany"], BASE), "kurse.csv").report
        assert report.rows == 60
        assert report.encoding == "cp1252"
        assert report.delimiter == "semicolon"
        assert report.decimal == ","
        assert report.date_order == "day-first"
        assert report.header_line == 1
        assert report.columns == {
            "date": "Datum",
            "open": "Eröffnung",
            "high": "Hoch",
            "low": "Tief",
            "close": "Schluss",
            "volume": "Volumen",
        }
        assert report.repairs == (("rows turned round, the newest stood first", 60),)

    def test_reads_aloud(self):
        lines = import_prices(write(DIALECTS["Germany"], BASE)).report.lines()
        assert lines[0] == "60 rows from 2023-11-20 to 2024-02-09."
        assert lines[1] == "Read as cp1252, separated by semicolon; column names in line 1; decimal comma; dates day-first."
        assert 'close from "Schluss"' in lines[2]

    def test_names_the_series_after_ticker_or_file(self):
        assert import_prices(write(DIALECTS["Stooq"], BASE), "/tmp/aapl.us.csv").series.name == "aapl.us"
        assert import_prices(write(DIALECTS["yfinance download"], BASE), "x.csv").series.name == "AAPL"

    def test_names_the_header_line_below_a_preamble(self):
        assert import_prices(write(DIALECTS["Euronext"], BASE)).report.header_line == 4
        assert import_prices(write(DIALECTS["Binance klines"], BASE)).report.header_line == 0


class TestSeveralTickers:
    LONG = text(
        "date,Name,close",
        *(f"{day},{name},{close * times}" for name, times in (("AAPL", 1), ("MSFT", 2)) for day, close in zip(BASE.dates.astype("M8[D]"), BASE.close, strict=True)),
    )
    WIDE = text("Date,AAPL,MSFT", *(f"{day},{c},{2 * c}" for day, c in zip(BASE.dates.astype("M8[D]"), BASE.close, strict=True)))
    LEVELS = text(
        "Ticker,AAPL,AAPL,MSFT,MSFT",
        "Price,Open,Close,Open,Close",
        "Date,,,,",
        *(f"{day},{o},{c},{2 * o},{2 * c}" for day, o, c in zip(BASE.dates.astype("M8[D]"), BASE.open, BASE.close, strict=True)),
    )
    PREFIXED = LEVELS.replace(
        b"Ticker,AAPL,AAPL,MSFT,MSFT\nPrice,Open,Close,Open,Close\nDate,,,,", b"Date,AAPL Open,AAPL Close,MSFT Open,MSFT Close"
    )
    UNNAMED = LONG.replace(b"date,Name,close", b"date,what,close")

    @pytest.mark.parametrize("data", [LONG, WIDE, LEVELS, PREFIXED, UNNAMED])
    def test_the_person_is_asked_which(self, data):
        with pytest.raises(NeedsChoice, match="AAPL, MSFT") as asked:
            import_prices(data)
        assert asked.value.choice == "ticker"
        assert asked.value.options == ("AAPL", "MSFT")

    @pytest.mark.parametrize("data", [LONG, WIDE, LEVELS, PREFIXED, UNNAMED])
    def test_the_chosen_one_is_read(self, data):
        imported = import_prices(data, choices=Choices(ticker="msft"))
        assert np.array_equal(imported.series.close, 2 * BASE.close)
        assert imported.series.name == imported.report.ticker == "MSFT"
        assert imported.report.tickers == ("AAPL", "MSFT")

    def test_one_that_is_not_there_is_refused(self):
        with pytest.raises(PriceError, match=r"'MSFTX' is not in the file \(did you mean MSFT\?\)"):
            import_prices(self.LONG, choices=Choices(ticker="MSFTX"))

    def test_a_ticker_that_is_a_word_for_a_price(self):
        data = self.WIDE.replace(b"AAPL", b"LOW")
        assert np.array_equal(import_prices(data, choices=Choices(ticker="LOW")).series.close, BASE.close)


class TestAskingInsteadOfGuessing:
    def test_day_or_month(self):
        data = text("Date,Close", "01/02/2024,1.5", "02/03/2024,1.6", "03/04/2024,1.65")
        with pytest.raises(NeedsChoice, match="day-first or month-first") as asked:
            import_prices(data)
        assert (asked.value.choice, asked.value.options) == ("date_order", ("day-first", "month-first"))
        assert str(import_prices(data, choices=Choices(date_order="day-first")).series.dates[0])[:10] == "2024-02-01"
        assert str(import_prices(data, choices=Choices(date_order="month-first")).series.dates[0])[:10] == "2024-01-02"

    def test_the_order_that_is_monotone_is_taken(self):
        data = text("Date,Close", *(f"{day:02}/01/2024,{100 + day}" for day in range(1, 13)))
        with pytest.raises(NeedsChoice):
            import_prices(data)
        data = text("Date,Close", "11/01/2024,1.5", "12/01/2024,1.6", "01/02/2024,1.7")
        assert import_prices(data).report.date_order == "day-first"

    def test_an_order_that_does_not_fit_is_refused(self):
        with pytest.raises(PriceError, match="do not fit month-first: 20/11/2023"):
            import_prices(Dialect(date=strftime("%d/%m/%Y")).write(BASE), choices=Choices(date_order="month-first"))

    @pytest.mark.parametrize("mark", [".", ","])
    def test_decimals_or_thousands(self, mark):
        data = text("Date;Close", *(f"2024-01-{day:02};1{mark}{230 + day}" for day in range(1, 20)))
        with pytest.raises(NeedsChoice, match="decimal") as asked:
            import_prices(data)
        assert (asked.value.choice, asked.value.options) == ("decimal", (".", ","))
        assert import_prices(data, choices=Choices(decimal=mark)).series.close[0] == 1.231
        assert import_prices(data, choices=Choices(decimal=".,".replace(mark, ""))).series.close[0] == 1231

    def test_one_number_anywhere_in_the_file_settles_it(self):
        closes = [f"1,{i}" for i in range(230, 600)]
        data = text("Date;Close", *(f"{np.datetime64('2020-01-01') + i};{close}" for i, close in enumerate(closes)), "2024-01-01;12,5")
        assert import_prices(data).series.close[0] == 1.23

    def test_both_marks_as_decimals(self):
        with pytest.raises(NeedsChoice, match=r"decimal point \(1235.5\) and others a decimal comma \(1234,5\)"):
            import_prices(text("Date;Close", "2024-01-02;1234,5", "2024-01-03;1235.5", "2024-01-04;1236.5"))

    def test_which_column_is_the_price(self):
        with pytest.raises(NeedsChoice, match="choose the close") as asked:
            import_prices(text("2024-01-02,1.5,1000", "2024-01-03,1.7,2000"))
        assert asked.value.options == ("column 2", "column 3")
        assert import_prices(text("2024-01-02,1.5,1000", "2024-01-03,1.7,2000"), choices=Choices(close="column 2")).series.close[0] == 1.5


class TestChoosingColumns:
    DATA = Dialect("Date,Open,High,Low,Close,Adj Close,Volume", ["d", "o", "h", "l", "c", "a", "v"]).write(BASE)

    def test_by_name(self):
        imported = import_prices(self.DATA, choices=Choices(close="Open", open="Close"))
        assert np.array_equal(imported.series.close, BASE.open)
        assert imported.report.columns["close"] == "Open"

    def test_a_column_left_out(self):
        imported = import_prices(self.DATA, choices=Choices(volume="", open=""))
        assert np.isnan(imported.series.volume).all()
        assert "open" not in imported.report.columns

    def test_an_unknown_name_is_refused(self):
        with pytest.raises(PriceError, match=r"no column 'Clos' \(did you mean 'Close'\?\): the file has Date, Open"):
            import_prices(self.DATA, choices=Choices(close="Clos"))

    def test_previous_close_and_52_weeks_never_count(self):
        data = text("date,prev_close,52w close,pre_close,last", "2024-01-02,1,2,3,4.5", "2024-01-03,1,2,3,5.5")
        assert import_prices(data).report.columns["close"] == "last"

    def test_close_before_last_before_price(self):
        data = text("date,price,last,close", "2024-01-02,1.1,2.2,3.3", "2024-01-03,1.2,2.3,3.4")
        assert import_prices(data).report.columns["close"] == "close"

    def test_columns_without_names_are_told_apart_by_their_values(self):
        for columns in ("dohlcv", "dochlv", "dcohlv", "dlhocv"):
            imported = import_prices(Dialect("", columns).write(BASE))
            assert imported.series == BASE, columns
            assert any("told apart by their values" in warning for warning in imported.report.warnings)

    @pytest.mark.parametrize(("field", "value"), [("decimal", ";"), ("date_order", "backwards")])
    def test_choices_that_cannot_be(self, field, value):
        with pytest.raises(PriceError, match="cannot be"):
            Choices(**{field: value})


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
        data = text("Date,Open,High,Low,Close,adjOpen,adjHigh,adjLow,adjClose", "2024-01-02,1,2,1,2,11,13,10,12", "2024-01-03,1,2,1,2,12,14,11,13")
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


class TestRepairs:
    def test_sorted_and_the_last_of_equal_dates_kept(self):
        imported = import_prices(text("Date,Close", "2024-01-03,3.5", "2024-01-02,2.5", "2024-01-03,3.75"))
        assert imported.series.close.tolist() == [2.5, 3.75]
        assert dict(imported.report.repairs)["rows with a date that comes again left out, the last one kept"] == 1

    @pytest.mark.parametrize("mark", ["", "-", "--", "N/A", "null", "None", ".", "#N/A", "NaN", "n.d.", "—", "#DIV/0!"])
    def test_missing_prices_are_left_out_and_never_filled_from_the_future(self, mark):
        data = text("Date,Close", "2024-01-02,2.5", f"2024-01-03,{mark}", "2024-01-04,4.5")
        imported = import_prices(data)
        assert imported.series.close.tolist() == [2.5, 4.5]
        assert imported.report.repairs == (("rows without a price left out", 1),)

    def test_carried_forward_only_on_request(self):
        data = text("Date,Open,High,Low,Close", "2024-01-01,,,,", "2024-01-02,2,3,1,2.5", "2024-01-03,,,,", "2024-01-04,4,5,3,4.5")
        imported = import_prices(data, choices=Choices(fill_gaps=True))
        assert imported.series.close.tolist() == [2.5, 2.5, 4.5]
        assert imported.series.open.tolist() == [2, 2.5, 4]
        assert dict(imported.report.repairs) == {
            "rows before the first price left out": 1,
            "rows without a price given the last close before them": 1,
        }

    def test_a_missing_open_is_the_close_of_its_own_row(self):
        imported = import_prices(text("Date,Open,High,Low,Close", "2024-01-02,2,3,1,2.5", "2024-01-03,-,5,3,4.5", "2024-01-04,6,7,5,6.5"))
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
        data = text("Date,Open,High,Low,Close", *(f"{day},2,{1 if i == 3 else 3},1,{2 + i / 100}" for i, day in enumerate(days)))
        assert import_prices(data).report.warnings == (
            "In 1 row the high is not the highest or the low not the lowest of the day: check that the columns are right.",
            "Longest gap: 41 days after 2024-01-20.",
        )


class TestTimes:
    def test_offsets_of_summer_and_winter_are_dropped(self):
        data = text("Datetime,Close", "2024-03-08 09:30:00-05:00,1.5", "2024-03-11 09:30:00-04:00,1.6")
        assert import_prices(data).series.dates.tolist() == [datetime(2024, 3, 8, 9, 30), datetime(2024, 3, 11, 9, 30)]

    def test_an_hour_that_comes_twice_is_kept_in_utc(self):
        data = text("time,close", "2024-10-27 01:30:00+02:00,1.5", "2024-10-27 02:30:00+02:00,1.6", "2024-10-27 02:30:00+01:00,1.7")
        imported = import_prices(data)
        assert [date.hour for date in imported.series.dates.tolist()] == [23, 0, 1]
        assert any("UTC" in warning for warning in imported.report.warnings)

    def test_minutes(self):
        minutes = base_series(300, step="min", start="2024-01-15 09:30")
        for dialect in (
            Dialect("Date,Open,High,Low,Close,Volume", date=strftime("%Y-%m-%d %H:%M:%S")),
            Dialect("<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<VOL>", "dtohlcv", "\t", strftime("%Y.%m.%d"), strftime("%H:%M:%S")),
            Dialect("<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>", "dtohlcv", ";", strftime("%Y%m%d"), strftime("%H%M%S")),
            Dialect("Date;Time;Open;High;Low;Close;Volume", "dtohlcv", ";", strftime("%d/%m/%Y"), strftime("%-H%M")),
            Dialect("", "dohlcv", ";", strftime("%Y%m%d %H%M%S")),
            Dialect("Date,Open,High,Low,Close,Volume", date=strftime("%m/%d/%Y %I:%M %p"), below="01/31/2024 9:30 AM,1,2,1,2,3\n"),
        ):
            read = import_prices(dialect.write(minutes)).series.between(0, 300)
            assert np.array_equal(read.dates, minutes.dates), dialect.header

    @pytest.mark.parametrize(
        ("cell", "date"),
        [
            ("Jan 02, 2024", "2024-01-02"),
            ("02-Jan-24", "2024-01-02"),
            ("2 janv. 2024", "2024-01-02"),
            ("mar. 2 janv. 2024", "2024-01-02"),
            ("2 de enero de 2024", "2024-01-02"),
            ("5 Şubat 2024", "2024-02-05"),
            ("14 Ağustos 2024", "2024-08-14"),
            ("2 января 2024 г.", "2024-01-02"),
            ("2024년 1월 2일 오후 3:30", "2024-01-02T15:30"),
            ("2024年1月2日火曜日", "2024-01-02"),
            ("112/11/20", "2023-11-20"),
            ("Tue Jan 02 09:30:00 2024", "2024-01-02T09:30"),
            ("2024-01-02T09:30-05:00[America/New_York]", "2024-01-02T09:30"),
            ("20240102093000", "2024-01-02T09:30"),
            ("2024-01-02 24:00", "2024-01-03"),
            ("01/13/2024 12:05 AM", "2024-01-13T00:05"),
            ("13.01.2024 17:35 Uhr", "2024-01-13T17:35"),
            ("45293.395833333336", "2024-01-02T09:30"),
            ("1704205800.5", "2024-01-02T14:30:00.5"),
            ("-252460800", "1962-01-01"),
            ("915408000", "1999-01-04"),
            ("202401", "2024-01-01"),
            ("Dec 2024", "2024-12-01"),
        ],
    )
    def test_ways_to_write_a_date(self, cell, date):
        assert read_dates(Cells.of([cell])).values[0] == np.datetime64(date)

    @pytest.mark.parametrize("cell", ["2024-13-45", "2024-02-30", "Total", "191.38", "12:30", "Downloaded as of 12-13-2024 04:30pm CST"])
    def test_what_is_no_date(self, cell):
        assert np.isnat(read_dates(Cells.of([cell])).values[0])


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

    @pytest.mark.parametrize("cell", ["0.25 Dividend", "1.2.3", "12,34", "abc", "1-2", "2024-01-02"])
    def test_what_is_no_number(self, cell):
        read = read_numbers(Cells.of([cell]), ".")
        assert np.isnan(read.values[0])
        assert (read.unreadable, read.example) == (1, cell)

    @given(st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=20))
    def test_any_float_comes_back_exactly(self, values):
        read = read_numbers(Cells.of([repr(value) for value in values]), ".")
        assert read.values.tolist() == values

    @pytest.mark.parametrize(
        ("cells", "mark"),
        [(["1,234", "12.5"], "."), (["1.234.567", "1.234"], ","), (["0,123", "1,234"], ","), (["1234,567"], ","), (["12", "13"], ".")],
    )
    def test_the_decimal_mark_by_its_use(self, cells, mark):
        assert decide_decimal([[Cells.of(cells)]]) == mark


class TestBadInput:
    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            (b"", "The file is empty"),
            (b" \n\n ", "The file is empty"),
            (b"\xef\xbb\xbf", "The file is empty"),
            (bytes(range(256)) * 20, "not text: it holds binary data"),
            (b"\0" * 10_000, "not text: it holds binary data"),
            (b"\x89PNG\r\n\x1a\n" + bytes(range(200)), "It is a picture"),
            (b"\xd0\xcf\x11\xe0" + bytes(500), r"old binary Excel file \(.xls\): open it in a spreadsheet and save it as .xlsx or CSV"),
            (b"PK\x03\x04" + bytes(100), "packed file .* cannot be unpacked"),
            (b"\x1f\x8b" + bytes(100), "packed file is damaged"),
            (gzip.compress(Dialect().write(BASE))[:-30], "cut off"),
            (JSON_ERROR, 'JSON that says "The standard API rate limit is 25 requests per day."'),
            (HTML_ERROR, 'web page that says "503 Service Unavailable Try later"'),
            (b"No data", 'no table of dates and prices, only "No data"'),
            (b"Brak danych", 'only "Brak danych"'),
            (b"Date,Open,High,Low,Close,Volume\n", "column names .* but no rows"),
            (b"Open,High,Low,Close\n1.5,2.5,1.2,2\n1.6,2.4,1.1,2.2\n", "numbers but no dates"),
            (b"Date,Name\n2024-01-02,a\n2024-01-03,b\n", "dates but no prices"),
            (b"Date,Close\n2024-01-02,\n2024-01-03,\n", "dates but no prices"),
            (b"Date,Close\n2024-01-02,1.5\n", "1 usable row; at least 2 are needed"),
            (b"Date,Close\n2024-01-02,1.5\n2024-01-03,1.5\n", "All 2 closes are 1.5"),
            (b"Date,Close\n2024-01-02,-1.5\n2024-01-03,1.5\n", r"close holds negative prices, first -1.5 on 2024-01-02 \(1 in all\)"),
            (b"Date,Open,Close\n2024-01-02,0,1.5\n2024-01-03,1,1.6\n", "open holds zero prices, .* leave the open column out"),
            (b"Date,Close\nfoo,1.5\nbar,1.6\n", '"foo" is no date'),
            (b"Date,Close\n2024-13-45,1.5\n2024-14-45,1.6\n", '"2024-13-45" is no date'),
            (b"Date,Close\n2024-01-02,1.5\n2024-02-30,1.6\n2024-03-04,1.7\n", '1 of 3 dates cannot be read, the first is "2024-02-30"'),
            (b"Date,Open,Close\n2024-01-02,1,5,1,6\n2024-01-03,1,7,1,8\n", "rows have 5 cells but only 3 columns are named"),
            (b",".join([b"a"] * 1_000_000) + b"\n", "more than 20,000 columns"),
            (b"Date," + b",".join(b"t%d" % i for i in range(50_000)) + b"\n", "50,001 columns"),
            (b"x" * 50_000_000, "longer than 1 MB"),
            (Dialect().write(BASE) + b"y" * 50_000_000, "longer than 1 MB"),
            (b"1" * (LIMIT_BYTES + 1), "larger than 200 MB"),
            (gzip.compress(b"0" * 300_000_000), "unpacks to more than"),
            (zipped(b"0" * 250_000_000), "unpacks to more than"),
            (zipped(gzip.compress(b"a")), "packed file inside a packed file"),
            (b"PAR1" + bytes(100), "Parquet file cannot be read"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_is_refused_with_its_own_sentence(self, data, sentence):
        with pytest.raises(PriceError, match=sentence) as refused:
            import_prices(data)
        assert len(str(refused.value)) < 400

    def test_fewer_rows_than_needed(self):
        with pytest.raises(PriceError, match="60 usable rows; at least 100 are needed"):
            import_prices(Dialect().write(BASE), least_rows=100)

    def test_a_workbook_with_a_cell_far_off_costs_nothing(self):
        content = io.BytesIO(workbook([["Date", "Close"], *([45293 + i, 1.5 + i] for i in range(5))]))
        with zipfile.ZipFile(content) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        sheet = files["xl/worksheets/sheet1.xml"].replace(b"</row></sheetData>", b'<c r="XFD1048576"><v>1</v></c></row></sheetData>')
        files["xl/worksheets/sheet1.xml"] = sheet
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        assert import_prices(packed.getvalue()).series.close.tolist() == [1.5, 2.5, 3.5, 4.5]

    def test_a_workbook_that_counts_from_1904(self):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("xl/workbook.xml", '<workbook><workbookPr date1904="1"/></workbook>')
        with pytest.raises(PriceError, match="1904"):
            import_prices(packed.getvalue())


MONTHS = ["Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc."]
DATES = {
    "iso": strftime("%Y-%m-%d"),
    "slashes": strftime("%Y/%m/%d"),
    "digits": strftime("%Y%m%d"),
    "day": strftime("%d.%m.%Y"),
    "month": strftime("%m/%d/%Y"),
    "short": strftime("%d/%m/%y"),
    "bare": unpadded("{d}-{m}-{y}"),
    "english": named("{b} {d:02}, {y}", MONTHS[0]),
    "french": named("{d} {b} {y}", MONTHS[1]),
    "chinese": unpadded("{y}年{m}月{d}日"),
    "seconds": epoch(1),
    "milliseconds": epoch(1000),
    "serial": serial,
    "time": strftime("%Y-%m-%dT%H:%M:%SZ"),
}
HEADERS = {
    "english": "Date Open High Low Close Volume".split(),
    "german": "Datum Eröffnung Hoch Tief Schluss Volumen".split(),
    "polish": "Data Otwarcie Najwyższy Najniższy Zamknięcie Wolumen".split(),
    "russian": "Дата Открытие Максимум Минимум Закрытие Объем".split(),
    "chinese": "日期 开盘 最高 最低 收盘 成交量".split(),
    "japanese": "日付 始値 高値 安値 終値 出来高".split(),
    "korean": "일자 시가 고가 저가 종가 거래량".split(),
    "none": [],
}
ENCODINGS = {
    "english": ["ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-le"],
    "german": ["cp1252", "utf-8", "utf-16"],
    "polish": ["cp1250", "utf-8"],
    "russian": ["cp1251", "utf-8", "utf-16-le"],
    "chinese": ["gb18030", "utf-8", "utf-8-sig"],
    "japanese": ["cp932", "utf-8"],
    "korean": ["cp949", "utf-8"],
    "none": ["utf-8", "utf-16"],
}


@st.composite
def files(draw):
    """A series and the bytes of a file it is written in, in any mix of conventions."""
    decimals = draw(st.integers(0, 4))
    series = base_series(draw(st.integers(5, 40)), draw(st.integers(0, 99)), str(draw(st.dates(datetime(1990, 1, 1).date(), datetime(2030, 1, 1).date()))), decimals)
    language = draw(st.sampled_from(list(HEADERS)))
    decimal, thousands = draw(st.sampled_from([(".", ""), (".", ","), (".", " "), (".", "'"), (",", ""), (",", "."), (",", "\u00a0")]))
    sign = draw(st.sampled_from(["", "", "$", "€"]))
    plain = [short] if decimal == "." else []
    form = draw(st.sampled_from([*plain, number(decimal, thousands, sign, "", decimals), number(decimal, thousands, "", sign and " " + sign, decimals)]))
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    dialect = Dialect(
        HEADERS[language],
        "dohlcv",
        delimiter,
        DATES[draw(st.sampled_from(list(DATES)))],
        price=form,
        volume=draw(st.sampled_from([number(decimals=0), number(thousands=thousands, decimals=0)])),
        encoding=draw(st.sampled_from(ENCODINGS[language])),
        newline=draw(st.sampled_from(["\n", "\r\n"])),
        newest_first=draw(st.booleans()),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        above=draw(st.sampled_from(["", "ACME\n\n", "# prices\n"])) if language != "none" else "",
    )
    missing = draw(st.sampled_from([None, "", "-", "N/A", "null", "--"]))
    if missing is not None:
        dialect = replace(dialect, below=delimiter.join([dialect.date(datetime(2031, 1, 2)), *[missing] * 5]) + "\n")
        assume(not dialect.newest_first)
    try:
        return series, dialect.write(series)
    except UnicodeEncodeError:
        assume(False)


class TestAnyMix:
    @settings(max_examples=150, deadline=None)
    @given(files())
    def test_reads_back_equal_or_asks(self, written):
        series, data = written
        try:
            imported = import_prices(data).series
        except NeedsChoice as asked:
            assert asked.choice in ("date_order", "decimal")
            return
        assert np.array_equal(imported.dates, series.dates)
        for column in ("open", "high", "low", "close", "volume"):
            assert np.array_equal(getattr(imported, column), getattr(series, column)), column

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=3000))
    def test_random_bytes_raise_nothing_but_the_importers_own_error(self, data):
        try:
            import_prices(data)
        except PriceError as refused:
            assert str(refused)

    @settings(max_examples=150, deadline=None)
    @given(st.text(st.sampled_from('0123456789.,;-/:\t\n" \'eE+%$€DateCloseOpnHighLwJan年月日'), max_size=400))
    def test_random_tables_raise_nothing_but_the_importers_own_error(self, content):
        try:
            import_prices(content.encode())
        except PriceError as refused:
            assert str(refused)

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from(list(DIALECTS)), st.randoms(use_true_random=False))
    def test_a_damaged_file_raises_nothing_but_the_importers_own_error(self, name, random):
        data = bytearray(write(DIALECTS[name], BASE))
        for _ in range(random.randrange(1, 20)):
            data[random.randrange(len(data))] = random.randrange(256)
        try:
            import_prices(bytes(data[: random.randrange(len(data))]))
        except PriceError as refused:
            assert str(refused)

    def test_a_megabyte_of_noise(self):
        for data in (os.urandom(2**20), bytes(32 + byte % 95 for byte in os.urandom(2**20))):
            with pytest.raises(PriceError):
                import_prices(data)
