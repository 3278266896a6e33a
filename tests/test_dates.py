"""Dates and times in every common way of writing them."""

from datetime import datetime

import numpy as np
import pytest

from pgcore.market.cells import Cells
from pgcore.market.csv_import import import_prices
from pgcore.market.dates import read_dates
from pgcore.market.prices import PriceError
from tests.price_files import Dialect, base_series, strftime, text


class TestTimes:
    def test_offsets_of_summer_and_winter_are_dropped(self):
        data = text("Datetime,Close", "2024-03-08 09:30:00-05:00,1.5", "2024-03-11 09:30:00-04:00,1.6")
        assert import_prices(data).series.dates.tolist() == [datetime(2024, 3, 8, 9, 30), datetime(2024, 3, 11, 9, 30)]

    def test_an_hour_that_comes_twice_is_kept_in_utc(self):
        data = text(
            "time,close", "2024-10-27 01:30:00+02:00,1.5", "2024-10-27 02:30:00+02:00,1.6", "2024-10-27 02:30:00+01:00,1.7"
        )
        imported = import_prices(data)
        assert [date.hour for date in imported.series.dates.tolist()] == [23, 0, 1]
        assert any("UTC" in warning for warning in imported.report.warnings)

    def test_minutes(self):
        minutes = base_series(300, step="min", start="2024-01-15 09:30")
        for dialect in (
            Dialect("Date,Open,High,Low,Close,Volume", date=strftime("%Y-%m-%d %H:%M:%S")),
            Dialect(
                "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<VOL>",
                "dtohlcv",
                "\t",
                strftime("%Y.%m.%d"),
                strftime("%H:%M:%S"),
            ),
            Dialect("<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>", "dtohlcv", ";", strftime("%Y%m%d"), strftime("%H%M%S")),
            Dialect("Date;Time;Open;High;Low;Close;Volume", "dtohlcv", ";", strftime("%d/%m/%Y"), strftime("%-H%M")),
            Dialect("", "dohlcv", ";", strftime("%Y%m%d %H%M%S")),
            Dialect(
                "Date,Open,High,Low,Close,Volume", date=strftime("%m/%d/%Y %I:%M %p"), below="01/31/2024 9:30 AM,1,2,1,2,3\n"
            ),
        ):
            read = import_prices(dialect.write(minutes)).series.between(0, 300)
            assert np.array_equal(read.dates, minutes.dates), dialect.header

    @pytest.mark.parametrize("first", [0, 1])
    def test_bare_hours(self, first):
        hours = np.datetime64("2024-02-01T00", "h") + first + np.arange(72)
        days = np.datetime64("2024-02-01") + np.arange(72) // 24
        rows = [f"{day},{first + i % 24},{50 + i}" for i, day in enumerate(days)]
        assert np.array_equal(import_prices(text("Date,Hour,Price", *rows)).series.dates, hours)

    def test_minutes_after_midnight_are_no_hours(self):
        rows = [f"2024-02-01,{minute},{50 + minute}" for minute in range(0, 130, 10) if minute % 100 < 60]
        imported = import_prices(text("Date,Time,Price", *rows))
        assert imported.series.dates[1] == np.datetime64("2024-02-01T00:10")
        assert imported.series.dates[-1] == np.datetime64("2024-02-01T01:20")

    def test_fractions_of_seconds_are_written_as_they_are_read(self):
        data = text("time,close", "2024-01-02T09:30:00.123,1.5", "2024-01-02T09:30:00.456,1.6", "2024-01-02T09:30:01,1.7")
        series = import_prices(data).series
        assert import_prices(series.to_csv().encode()).series == series
        assert ".123" in series.to_csv()

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

    @pytest.mark.parametrize(
        "cell", ["2024-13-45", "2024-02-30", "Total", "191.38", "12:30", "Downloaded as of 12-13-2024 04:30pm CST"]
    )
    def test_what_is_no_date(self, cell):
        assert np.isnat(read_dates(Cells.of([cell])).values[0])


class TestEpochsOfSeveralUnits:
    DAYS = ("2024-12-30", "2024-12-31", "2025-01-01", "2025-01-02")

    def written(self, *units: int) -> list[str]:
        seconds = np.array(self.DAYS, "M8[s]").astype(int).tolist()
        return [str(second * unit) for second, unit in zip(seconds, units, strict=True)]

    @pytest.mark.parametrize("units", [(1, 1, 1000, 1000), (1000, 1000, 10**6, 10**6), (1000, 10**6, 10**6, 10**9)])
    @pytest.mark.parametrize("turned", [False, True])
    def test_each_is_read_by_its_own_length(self, units, turned):
        rows = [f"{time},1.{i}" for i, time in enumerate(self.written(*units), 1)]
        imported = import_prices(text("time,close", *(reversed(rows) if turned else rows)))
        assert [str(date)[:10] for date in imported.series.dates] == list(self.DAYS)
        assert any("numbers of different lengths" in warning for warning in imported.report.warnings)

    def test_also_where_the_unit_changes_far_down_the_file(self):
        seconds = np.datetime64("2020-01-01", "s").astype(int) + 3600 * np.arange(3000)
        times = [second * (10**3 if i < 2000 else 10**6) for i, second in enumerate(seconds.tolist())]
        rows = [f"{time},1.45,1.61,1.29,1.{3000 + i},10,{time + 1}" for i, time in enumerate(times)]
        data = text("open_time,open,high,low,close,volume,close_time", *rows)
        assert np.array_equal(import_prices(data).series.dates.astype("M8[s]").astype(int), seconds)

    def test_those_that_do_not_follow_one_another_are_refused(self):
        rows = [f"{time},1.{i}" for i, time in enumerate(self.written(1, 1000, 1, 1000)[::-1], 1)]
        rows[0], rows[1] = rows[1], rows[0]
        with pytest.raises(PriceError, match=r"numbers of different lengths, as 17.* write them all in one unit"):
            import_prices(text("time,close", *rows))

    def test_a_history_from_before_1970_has_one_unit(self):
        days = np.arange(np.datetime64("1965-01-01"), np.datetime64("1980-01-01"))
        days = days[days != np.datetime64("1970-01-01")]  # a mere 0 is taken for no date
        milliseconds = days.astype("M8[ms]").astype(int)
        imported = import_prices(text("time,close", *(f"{time},{i + 1}.5" for i, time in enumerate(milliseconds))))
        assert np.array_equal(imported.series.dates.astype("M8[D]"), days)


class TestEpochsInScientificNotation:
    DAYS = np.arange(np.datetime64("2023-11-20"), np.datetime64("2024-02-20"))

    @pytest.mark.parametrize(("unit", "form"), [("ms", "{:.5E}"), ("ms", "{!r}"), ("s", "{:.5E}"), ("us", "{:.6e}")])
    def test_days(self, unit, form):
        times = self.DAYS.astype(f"M8[{unit}]").astype(float).tolist()
        rows = [f"{form.format(time)},{100 + i}.5" for i, time in enumerate(times)]
        assert np.array_equal(import_prices(text("time,close", *rows)).series.dates.astype("M8[D]"), self.DAYS)

    def test_minutes_are_said_to_be_rounded(self):
        times = (1.7004384e12 + 60_000 * np.arange(20)).tolist()
        imported = import_prices(text("time,close", *(f"{time:.8E},{100 + i}.5" for i, time in enumerate(times))))
        assert str(imported.series.dates[1])[:16] == "2023-11-20T00:01"
        assert any("rounded in the file" in warning for warning in imported.report.warnings)


class TestWhichDate:
    @pytest.mark.parametrize("header", ["Settlement Date,Trade Date,Close", "Settle Date,Date,Close", "Expiry Date,Date,Close"])
    def test_that_of_the_trade(self, header):
        data = text(header, "2024-01-04,2024-01-02,1.5", "2024-01-05,2024-01-03,1.6")
        assert [str(date)[:10] for date in import_prices(data).series.dates] == ["2024-01-02", "2024-01-03"]

    def test_the_only_one_there_is(self):
        data = text("Settlement Date,Close", "2024-01-04,1.5", "2024-01-05,1.6")
        assert import_prices(data).report.columns["date"] == "Settlement Date"
