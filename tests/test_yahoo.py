"""Prices of a ticker come from Yahoo, from our cache, or with one sentence that says why they do not."""

import socket
import threading
import time
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from pgcore.market import yahoo
from pgcore.market.prices import PriceError
from pgcore.market.yahoo import (
    DownloadFailed,
    NoSuchTicker,
    NothingInRange,
    Offline,
    RateLimited,
    download,
    download_all,
    normalise_ticker,
    parse_tickers,
    spell_age,
)


def frame(start="2024-01-02", rows=10, zone="America/New_York"):
    """What yfinance's history() gives."""
    close = 100.0 + np.arange(rows)
    index = pd.date_range(start, periods=rows, freq="B", tz=zone, name="Date")
    columns = {"Open": close - 0.5, "High": close + 1, "Low": close - 1, "Close": close, "Volume": np.arange(rows) * 100}
    return pd.DataFrame(columns | {"Dividends": 0.0, "Stock Splits": 0.0}, index=index)


class Yahoo:
    """Stands in for Yahoo: answers in turn, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, ticker, first, last, interval):
        self.asked.append((ticker, first, last, interval))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def error_of_yfinance(name, **attributes):
    from yfinance import exceptions

    kind = getattr(exceptions, name)
    return {
        "YFRateLimitError": lambda: kind(),
        "YFTzMissingError": lambda: kind("X"),
        "YFPricesMissingError": lambda: kind("X", "", **attributes),
        "YFDataException": lambda: kind("down"),
    }[name]()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "prices"


def make_old(monkeypatch, days):
    """Lets that many days go by."""

    class Later(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.now(zone) + timedelta(days=days)

    monkeypatch.setattr(yahoo, "datetime", Later)


class TestDownload:
    def test_prices_in_local_time_of_the_exchange(self, cache):
        got = download("aapl ", cache_directory=cache, fetch=Yahoo(frame()))
        assert got.series.name == "AAPL"
        assert got.series.dates[0] == np.datetime64("2024-01-02")
        assert got.series.close.tolist() == [100.0 + i for i in range(10)]
        assert got.notice == ""
        assert got.age < timedelta(minutes=1)

    def test_start_and_end_are_both_included(self, cache):
        asked = Yahoo(frame())
        series = download("AAPL", "2024-01-03", date(2024, 1, 5), "1d", cache_directory=cache, fetch=asked).series
        assert asked.asked == [("AAPL", date(2024, 1, 3), date(2024, 1, 5), "1d")]
        assert series.dates.astype("datetime64[D]").tolist() == [date(2024, 1, 3), date(2024, 1, 4), date(2024, 1, 5)]

    def test_rows_without_a_price_are_left_out(self, cache):
        gaps = frame()
        gaps.iloc[3, :5] = np.nan
        assert len(download("AAPL", cache_directory=cache, fetch=Yahoo(gaps)).series) == 9

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ({"start": "02/01/2024"}, "start '02/01/2024' is no date"),
            ({"start": "2024-02-01", "end": "2024-01-01"}, "after the end"),
            ({"interval": "7d"}, "choose one of 1d, 1wk"),
        ],
    )
    def test_bad_input_never_reaches_yahoo(self, cache, arguments, sentence):
        asked = Yahoo(frame())
        with pytest.raises(PriceError, match=sentence):
            download("AAPL", cache_directory=cache, fetch=asked, **arguments)
        assert asked.asked == []


class TestCache:
    def test_a_fresh_copy_is_not_asked_for_again(self, cache):
        first = download("AAPL", cache_directory=cache, fetch=Yahoo(frame()))
        again = download("AAPL", cache_directory=cache, fetch=Yahoo(AssertionError()))
        assert again.series == first.series
        assert abs(again.at - first.at) < timedelta(seconds=1)

    def test_a_copy_that_covers_the_range_is_cut_to_it(self, cache):
        download("AAPL", cache_directory=cache, fetch=Yahoo(frame()))
        part = download("AAPL", "2024-01-03", "2024-01-05", cache_directory=cache, fetch=Yahoo(AssertionError()))
        assert len(part.series) == 3

    def test_a_copy_of_another_range_or_interval_does_not_serve(self, cache):
        download("AAPL", "2024-01-03", "2024-01-05", cache_directory=cache, fetch=Yahoo(frame()))
        asked = Yahoo(frame())
        download("AAPL", "2024-01-02", "2024-01-05", cache_directory=cache, fetch=asked)
        download("AAPL", "2024-01-03", "2024-01-05", "1wk", cache_directory=cache, fetch=asked)
        assert len(asked.asked) == 2

    def test_an_old_copy_is_renewed(self, cache, monkeypatch):
        download("AAPL", cache_directory=cache, fetch=Yahoo(frame()))
        make_old(monkeypatch, 1)
        asked = Yahoo(frame(rows=12))
        assert len(download("AAPL", cache_directory=cache, fetch=asked).series) == 12

    @pytest.mark.parametrize("error", [OSError("no network"), "YFRateLimitError", "YFTzMissingError"])
    def test_an_old_copy_serves_with_a_notice_where_yahoo_fails(self, cache, monkeypatch, error):
        download("AAPL", cache_directory=cache, fetch=Yahoo(frame()))
        make_old(monkeypatch, 3)
        failing = Yahoo(error_of_yfinance(error) if isinstance(error, str) else error)
        got = download("AAPL", cache_directory=cache, fetch=failing)
        assert len(got.series) == 10
        assert got.notice.endswith("These are prices downloaded 3 days ago.")

    def test_errors_and_empty_answers_are_never_kept(self, cache):
        for answer in (OSError(), frame()[:0]):
            with pytest.raises(DownloadFailed):
                download("AAPL", cache_directory=cache, fetch=Yahoo(answer))
        assert not list(cache.glob("*")) if cache.exists() else True

    def test_a_damaged_copy_counts_as_none(self, cache):
        download("AAPL", cache_directory=cache, fetch=Yahoo(frame()))
        (copy,) = cache.iterdir()
        for damage in (b"", b"PK\x03\x04 nonsense", copy.read_bytes()[:200]):
            copy.write_bytes(damage)
            asked = Yahoo(frame())
            download("AAPL", cache_directory=cache, fetch=asked)
            assert len(asked.asked) == 1

    def test_a_directory_that_cannot_be_written_only_costs_the_cache(self, tmp_path):
        blocked = tmp_path / "file"
        blocked.write_text("not a directory")
        got = download("AAPL", cache_directory=blocked / "prices", fetch=Yahoo(frame()))
        assert len(got.series) == 10
        assert "could not be saved" in got.notice

    def test_nothing_but_whole_files_is_left(self, cache):
        download("^GSPC", cache_directory=cache, fetch=Yahoo(frame()))
        assert [path.name for path in cache.iterdir()] == ["^GSPC_1d_open_open.npz"]


class TestFailures:
    @pytest.mark.parametrize(
        ("answer", "kind", "sentence"),
        [
            (OSError("could not resolve host"), Offline, "Yahoo cannot be reached: check the connection"),
            ("YFRateLimitError", RateLimited, "asked too often"),
            ("YFTzMissingError", NoSuchTicker, "does not know the ticker BRK.B: .* Yahoo writes BRK-B"),
            ("YFPricesMissingError", NothingInRange, r"no prices of BRK.B in this range and interval \(Yahoo: out of range\)"),
            ("YFDataException", Offline, "out of order"),
            (ValueError("no JSON"), Offline, "something that is no price history"),
            (RuntimeError("odd"), DownloadFailed, r"failed \(RuntimeError: odd\)"),
            (frame()[:0], NothingInRange, "no prices of BRK.B in this range: choose another start or end"),
            (frame(rows=1), NothingInRange, "fewer than two prices"),
        ],
        ids=str,
    )
    def test_each_has_its_own_error_and_offers_what_else_there_is(self, cache, answer, kind, sentence):
        if isinstance(answer, str):
            attributes = {"yahoo_reason": "<b>out of range</b>".replace("<b>", "").replace("</b>", "")}
            answer = error_of_yfinance(answer, **(attributes if answer == "YFPricesMissingError" else {}))
        with pytest.raises(kind, match=sentence) as failed:
            download("BRK.B", cache_directory=cache, fetch=Yahoo(answer))
        assert type(failed.value) is kind
        assert "use a built-in sample, or upload a CSV file" in str(failed.value)

    def test_asked_three_times_where_that_may_help(self, cache):
        asked = Yahoo(OSError(), error_of_yfinance("YFRateLimitError"), frame())
        assert len(download("AAPL", cache_directory=cache, fetch=asked).series) == 10
        assert len(asked.asked) == 3
        asked = Yahoo(OSError())
        with pytest.raises(Offline):
            download("MSFT", cache_directory=cache, fetch=asked)
        assert len(asked.asked) == 3

    def test_asked_once_where_it_cannot_help(self, cache):
        asked = Yahoo(error_of_yfinance("YFTzMissingError"))
        with pytest.raises(NoSuchTicker):
            download("NONE", cache_directory=cache, fetch=asked)
        assert len(asked.asked) == 1

    def test_silence_is_not_waited_for_longer_than_the_deadline(self, cache, monkeypatch):
        monkeypatch.setattr(yahoo, "DEADLINE_S", 0.2)
        answered = threading.Event()
        with pytest.raises(Offline, match="did not answer"):
            download("AAPL", cache_directory=cache, fetch=lambda *_: answered.wait(30) and frame())
        with pytest.raises(Offline, match="did not answer"):  # the first question still holds the lock
            download("MSFT", cache_directory=cache, fetch=Yahoo(frame()))
        answered.set()

    def test_without_a_network_the_real_yfinance_says_so(self, cache, monkeypatch):
        def unreachable(*_, **__):
            raise OSError("no network in tests")

        monkeypatch.setattr("yfinance.data.YfData.get", unreachable)
        monkeypatch.setattr("yfinance.data.YfData.cache_get", unreachable)
        monkeypatch.setattr(socket, "create_connection", unreachable)
        with pytest.raises(Offline, match="cannot be reached"):
            download("AAPL", "2024-01-02", "2024-02-01", cache_directory=cache)


class TestSeveralTickers:
    def test_one_that_fails_does_not_take_the_others_along(self, cache):
        def fetch(ticker, *_):
            if ticker == "NONE":
                raise error_of_yfinance("YFTzMissingError")
            return frame()

        got = download_all(["AAPL", "NONE", "MSFT"], cache_directory=cache, fetch=fetch)
        assert isinstance(got["NONE"], NoSuchTicker)
        assert got["AAPL"].series.name == "AAPL"
        assert got["MSFT"].series.name == "MSFT"

    def test_out_of_reach_is_found_out_once(self, cache):
        asked = Yahoo(OSError())
        got = download_all(["AAPL", "MSFT", "GOOG"], cache_directory=cache, fetch=asked)
        assert all(isinstance(error, Offline) for error in got.values())
        assert len(asked.asked) == 3

    def test_it_is_told_how_far_it_is_and_given_up_where_that_raises(self, cache, monkeypatch):
        monkeypatch.setattr(yahoo, "WAKE_EVERY_S", 0.01)
        told, asked, answered = [], [], threading.Event()

        class GivenUp(BaseException):
            pass

        def fetch(ticker, *_):
            asked.append(ticker)
            if ticker == "MSFT":
                answered.wait()
            return frame()

        def progress(ticker, done):
            told.append((ticker, done))
            if told.count(("MSFT", 1)) == 3:
                raise GivenUp

        with pytest.raises(GivenUp):
            download_all(["AAPL", "MSFT", "GOOG"], cache_directory=cache, fetch=fetch, progress=progress)
        answered.set()
        assert told[0] == ("AAPL", 0)
        assert asked == ["AAPL", "MSFT"]

    def test_what_was_given_up_asks_no_more_and_keeps_no_one_waiting(self, cache, monkeypatch):
        monkeypatch.setattr(yahoo, "WAKE_EVERY_S", 0.01)
        monkeypatch.setattr("tenacity.wait_random_exponential", lambda **_: lambda _: 60.0)
        asked = Yahoo(OSError())

        class GivenUp(BaseException):
            pass

        def give_up_once_asked():
            if asked.asked:
                raise GivenUp

        with pytest.raises(GivenUp):
            download("AAPL", cache_directory=cache, fetch=asked, while_waiting=give_up_once_asked)
        assert len(download("MSFT", cache_directory=cache, fetch=Yahoo(frame())).series) == 10
        assert len(asked.asked) == 1

    def test_a_line_of_tickers(self):
        assert parse_tickers(" aapl, msft;AAPL  ^gspc ") == ["AAPL", "MSFT", "^GSPC"]
        with pytest.raises(PriceError, match="No ticker is given"):
            parse_tickers(" , ")


class TestTickers:
    @pytest.mark.parametrize(
        ("written", "ticker"),
        [
            ("aapl", "AAPL"),
            (" $tsla ", "TSLA"),
            ("brk-b", "BRK-B"),
            ("^gspc", "^GSPC"),
            ("eurusd=x", "EURUSD=X"),
            ("0700.hk", "0700.HK"),
            ("m&m.ns", "M&M.NS"),
            ("ＡＡＰＬ", "AAPL"),
        ],
    )
    def test_as_yahoo_writes_them(self, written, ticker):
        assert normalise_ticker(written) == ticker

    @pytest.mark.parametrize(
        ("written", "sentence"),
        [
            ("", "No ticker is given"),
            ("../../etc/passwd", "too long or begins oddly|holds the character '/'"),
            ("A/B", "holds the character '/'"),
            ("A\\B", "holds the character"),
            ("<script>alert(1)</script>", "holds the character '<'"),
            ("AAPL MSFT", "holds a space"),
            ("NASDAQ:AAPL", "names an exchange"),
            ("A" * 21, "too long"),
            (".HIDDEN", "begins oddly"),
            ("AAPL\x00", "holds the character"),
            ("苹果", "holds the character"),
        ],
    )
    def test_what_cannot_be_one(self, written, sentence):
        with pytest.raises(PriceError, match=sentence) as refused:
            normalise_ticker(written)
        assert "<" not in str(refused.value).replace("'<'", "")

    @pytest.mark.parametrize(
        ("age", "words"),
        [
            (timedelta(seconds=5), "less than a minute"),
            (timedelta(minutes=5), "5 minutes"),
            (timedelta(hours=1), "1 hour"),
            (timedelta(days=3), "3 days"),
        ],
    )
    def test_ages_in_words(self, age, words):
        assert spell_age(age) == words


def test_the_time_of_download_is_in_utc(cache):
    assert download("AAPL", cache_directory=cache, fetch=Yahoo(frame())).at.tzinfo is UTC


def test_no_pickle_is_kept_or_loaded_for_yahoo():
    module = yahoo._yfinance()
    kept = module.cache.get_cookie_cache()
    kept.store("basic", "a cookie")
    assert kept.lookup("basic") is None
