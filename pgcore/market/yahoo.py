"""Prices of a ticker from Yahoo Finance, with a price cache of our own; every way it can fail has its own sentence.

Yahoo's data are for personal use: they stay in the cache of the person who downloaded them. Adjusted prices change with each
dividend, so the day of the download is kept with them.
"""

import contextlib
import functools
import logging
import os
import re
import threading
import time
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgcore.market.prices import PriceError, PriceSeries
from pgcore.market.repair import Log, repair

if TYPE_CHECKING:
    import pandas as pd

Fetch = Callable[[str, date | None, date | None, str], "pd.DataFrame"]
INTERVALS = {
    "1d": "daily",
    "1wk": "weekly",
    "1mo": "monthly",
    "1h": "hourly, the last two years",
    "30m": "30 minutes, the last 60 days",
    "15m": "15 minutes, the last 60 days",
    "5m": "5 minutes, the last 60 days",
    "1m": "1 minute, the last 8 days",
}
FRESH = timedelta(hours=12)
DEADLINE_S = 9.0
WAKE_EVERY_S = 0.2
_TRIES = 3
_ONE_AT_A_TIME = threading.Lock()
_TICKER = re.compile(r"[A-Z0-9^][A-Z0-9.^=&-]{0,19}")
_ARRAYS = ("dates", "open", "high", "low", "close", "volume")
_INSTEAD = "Meanwhile use a built-in sample, or upload a CSV file."


class DownloadFailed(PriceError):
    """No prices came, for one of the reasons below or one that is not known."""


class RateLimited(DownloadFailed):
    """Yahoo answers no more for a while."""


class NoSuchTicker(DownloadFailed):
    """Yahoo does not know the ticker."""


class Offline(DownloadFailed):
    """Yahoo cannot be reached, or does not answer in time."""


class NothingInRange(DownloadFailed):
    """Yahoo knows the ticker, but has no prices of it in this range and interval."""


@dataclass(frozen=True)
class Downloaded:
    """A history, when it was downloaded (UTC), and what must be said about it: "" unless the copy is an old one."""

    series: PriceSeries
    at: datetime
    notice: str = ""

    @property
    def age(self) -> timedelta:
        return datetime.now(UTC) - self.at


def normalise_ticker(text: str) -> str:
    """The ticker as Yahoo writes it. Raises PriceError for what cannot be one."""
    ticker = unicodedata.normalize("NFKC", text).strip().strip("\"'$").upper()
    if not ticker:
        raise PriceError("No ticker is given: write one as Yahoo does, such as AAPL, BRK-B, ^GSPC, EURUSD=X or 7203.T.")
    if ":" in ticker:
        raise PriceError(
            f"{_shown(ticker)} names an exchange before the ticker: write it as Yahoo does, such as AAPL or 7203.T."
        )
    if not _TICKER.fullmatch(ticker):
        odd = next((c for c in ticker if not re.fullmatch(r"[A-Z0-9.^=&-]", c)), None)
        why = (
            "is too long or begins oddly" if odd is None else "holds a space" if odd == " " else f"holds the character {odd!r}"
        )
        raise PriceError(
            f"{_shown(ticker)} {why}: tickers have up to 20 letters, digits and the marks . - ^ = &, such as BRK-B."
        )
    return ticker


def _shown(ticker: str) -> str:
    return '"' + "".join(c for c in ticker[:24] if c.isalnum() or c in " .:-^=&") + '"'


def parse_tickers(text: str) -> list[str]:
    """Several tickers out of one line, each once. Raises PriceError."""
    return list(dict.fromkeys(normalise_ticker(part) for part in re.split(r"[\s,;]+", text.strip()) if part)) or [
        normalise_ticker("")
    ]


def download(
    ticker: str,
    start: str | date | None = None,
    end: str | date | None = None,
    interval: str = "1d",
    *,
    cache_directory: Path,
    fetch: Fetch | None = None,
    fresh: timedelta = FRESH,
    while_waiting: Callable[[], object] = lambda: None,
) -> Downloaded:
    """Adjusted prices of a ticker from `start` to `end`, both included; None: as far as Yahoo has them.

    A copy younger than `fresh` is taken from the cache. Else Yahoo is asked, up to three times within DEADLINE_S seconds; where
    that fails an older copy is given, with a notice. Raises PriceError for bad input; RateLimited, NoSuchTicker, Offline,
    NothingInRange where there is no copy either. `while_waiting` is called every WAKE_EVERY_S seconds until Yahoo answers, and
    gives the download up by raising. `fetch(ticker, start, end, interval)` stands in for Yahoo in tests.
    """
    ticker = normalise_ticker(ticker)
    first, last = _day(start, "start"), _day(end, "end")
    if interval not in INTERVALS:
        raise PriceError(f"The interval cannot be {interval!r}: choose one of {', '.join(INTERVALS)}.")
    if first and last and first > last:
        raise PriceError(f"The start, {first}, is after the end, {last}: exchange them.")
    cache = _Cache(Path(cache_directory), ticker, interval)
    copy = cache.find(first, last)
    if copy is not None and copy.age < fresh:
        return copy
    try:
        frame = _within_deadline(ticker, first, last, interval, fetch or _ask_yahoo, while_waiting)
        series = _series(ticker, first, last, frame)
    except DownloadFailed as error:
        if copy is None:
            raise
        reason = str(error).removesuffix(_INSTEAD).strip()
        return Downloaded(copy.series, copy.at, f"{reason} These are prices downloaded {spell_age(copy.age)} ago.")
    fresh_copy = Downloaded(series, datetime.now(UTC))
    return (
        fresh_copy
        if cache.save(fresh_copy, first, last)
        else Downloaded(series, fresh_copy.at, "The prices could not be saved.")
    )


def download_all(
    tickers: Iterable[str],
    start: str | date | None = None,
    end: str | date | None = None,
    interval: str = "1d",
    *,
    cache_directory: Path,
    fetch: Fetch | None = None,
    fresh: timedelta = FRESH,
    progress: Callable[[str, int], object] = lambda *_: None,
) -> dict[str, Downloaded | PriceError]:
    """Several tickers in one go: each one's history, or its error. Once Yahoo is out of reach the rest comes from the cache.

    `progress` is told again and again which ticker it is about and how many are done; it gives the download up by raising.
    """
    found: dict[str, Downloaded | PriceError] = {}
    failure: list[PriceError] = []

    def ask(ticker: str, first: date | None, last: date | None, interval: str) -> "pd.DataFrame":
        if failure:
            raise failure[0]
        return (fetch or _ask_yahoo)(ticker, first, last, interval)

    for ticker in tickers:
        tell = functools.partial(progress, ticker, len(found))
        tell()
        try:
            found[ticker] = download(
                ticker, start, end, interval, cache_directory=cache_directory, fetch=ask, fresh=fresh, while_waiting=tell
            )
        except PriceError as error:
            found[ticker] = error
            if isinstance(error, (Offline, RateLimited)) and not failure:
                failure.append(error)
    return found


def spell_age(age: timedelta) -> str:
    """An age in words, to the nearest unit that fits."""
    for unit, seconds in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (count := round(age.total_seconds() / seconds)) >= 1:
            return f"{count} {unit}{'s' * (count > 1)}"
    return "less than a minute"


def _day(given: str | date | None, name: str) -> date | None:
    if given is None or isinstance(given, date):
        return given.date() if isinstance(given, datetime) else given
    try:
        return date.fromisoformat(given.strip()[:10]) if given.strip() else None
    except ValueError:
        raise PriceError(f"The {name} {given[:20]!r} is no date: write it as 2024-01-31.") from None


def _within_deadline(
    ticker: str, first: date | None, last: date | None, interval: str, fetch: Fetch, while_waiting: Callable[[], object]
) -> "pd.DataFrame":
    """The answer of Yahoo, asked again after a jittered wait where that may help; in a thread, because no time-out of a
    connection bounds how long names are looked up and cookies fetched. Once nobody waits for it, it asks no more."""
    import tenacity

    given_up = threading.Event()
    outcome: list[pd.DataFrame | Exception] = []
    retrying = tenacity.Retrying(
        stop=tenacity.stop_any(tenacity.stop_after_attempt(_TRIES), tenacity.stop_when_event_set(given_up)),
        sleep=tenacity.sleep_using_event(given_up),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=2.0),
        retry=tenacity.retry_if_exception_type((RateLimited, Offline)),
        reraise=True,
    )

    def ask() -> "pd.DataFrame":
        if given_up.is_set():
            raise Offline("Nobody waits for the answer any more.")
        return _typed(fetch, ticker, first, last, interval)

    def work() -> None:
        with _ONE_AT_A_TIME:
            try:
                outcome.append(retrying(ask))
            except Exception as error:
                outcome.append(error)

    thread = threading.Thread(target=work, name=f"yahoo {ticker}", daemon=True)
    thread.start()
    end = time.monotonic() + DEADLINE_S
    try:
        while thread.is_alive() and (left := end - time.monotonic()) > 0:
            thread.join(min(left, WAKE_EVERY_S))
            while_waiting()
    finally:
        given_up.set()
    if not outcome:
        raise Offline(f"Yahoo did not answer within {DEADLINE_S:.0f} seconds: check the connection and try again. {_INSTEAD}")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _typed(fetch: Fetch, ticker: str, first: date | None, last: date | None, interval: str) -> "pd.DataFrame":
    """Calls `fetch` and turns what it raises into one of our errors."""
    try:
        return fetch(ticker, first, last, interval)
    except PriceError:
        raise
    except Exception as error:
        raise _our_error(error, ticker) from error


def _our_error(error: Exception, ticker: str) -> DownloadFailed:
    """yfinance's errors are told apart by name, so that it need not be imported to do so."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if "YFRateLimitError" in names:
        return RateLimited(f"Yahoo has been asked too often and answers no more for now: wait some minutes. {_INSTEAD}")
    if "YFPricesMissingError" in names:
        reason = getattr(error, "yahoo_reason", None)
        said = f" (Yahoo: {_plain(reason)})" if reason else ""
        return NothingInRange(f"Yahoo has no prices of {ticker} in this range and interval{said}: choose others. {_INSTEAD}")
    if "YFDataException" in names:
        return Offline(f"Yahoo Finance is out of order at present: try again later. {_INSTEAD}")
    if "YFException" in names:
        dash = f" Yahoo writes {ticker.replace('.', '-')}?" if re.fullmatch(r"[A-Z]+\.[A-Z]", ticker) else ""
        return NoSuchTicker(
            f"Yahoo does not know the ticker {ticker}: check its spelling on finance.yahoo.com.{dash} {_INSTEAD}"
        )
    if isinstance(error, (OSError, TimeoutError)):
        return Offline(f"Yahoo cannot be reached: check the connection. {_INSTEAD}")
    if isinstance(error, (ValueError, KeyError, TypeError, IndexError, AttributeError)):
        return Offline(
            f"Yahoo answered with something that is no price history ({type(error).__name__}): try later. {_INSTEAD}"
        )
    return DownloadFailed(f"The download failed ({type(error).__name__}: {_plain(str(error))}): try later. {_INSTEAD}")


def _plain(text: str) -> str:
    return re.sub(r"[^\w\s.,:=%()/-]", "", str(text))[:120].strip()


def _ask_yahoo(ticker: str, first: date | None, last: date | None, interval: str) -> "pd.DataFrame":
    """One request. Without a start yfinance would give one month before the end, so then all is asked for and cut later."""
    yfinance = _yfinance()
    span = {"period": "max"} if first is None else {"start": first.isoformat()}
    if first is not None and last is not None:
        span["end"] = (last + timedelta(days=1)).isoformat()
    return yfinance.Ticker(ticker).history(interval=interval, auto_adjust=True, timeout=DEADLINE_S / 2, **span)


@functools.lru_cache(maxsize=1)
def _yfinance() -> Any:
    """The module, imported on first use because that takes most of a second, and told not to hide its errors.

    Its cookie, which it would keep as a pickle in the person's home, is asked for anew by each process: no pickle is loaded.
    """
    import yfinance

    yfinance.cache._CookieCacheManager._Cookie_cache = yfinance.cache._CookieCacheDummy()
    yfinance.config.debug.hide_exceptions = False
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    return yfinance


def _series(ticker: str, first: date | None, last: date | None, frame: "pd.DataFrame") -> PriceSeries:
    """yfinance's frame as a PriceSeries in local time of the exchange, cut to the range."""
    import pandas as pd

    if len(frame) == 0 or "Close" not in frame:
        raise NothingInRange(f"Yahoo has no prices of {ticker} in this range: choose another start or end. {_INSTEAD}")
    index = pd.DatetimeIndex(frame.index)
    dates = index.tz_localize(None).to_numpy().astype("datetime64[us]")
    within = _within(dates, first, last)
    columns = {
        name.lower(): frame[name].to_numpy(np.float64)[within]
        for name in ("Open", "High", "Low", "Close", "Volume")
        if name in frame
    }
    if np.count_nonzero(np.isfinite(columns["close"])) < 2:
        raise NothingInRange(
            f"Yahoo has fewer than two prices of {ticker} in this range: choose another start or end. {_INSTEAD}"
        )
    return repair(dates[within], columns, Log(), ticker)


def _within(dates: NDArray[np.datetime64], first: date | None, last: date | None) -> NDArray[np.bool_]:
    """Which dates lie in the range, both days included."""
    within = np.ones(dates.shape, bool)
    if first is not None:
        within &= dates >= np.datetime64(first)
    if last is not None:
        within &= dates < np.datetime64(last + timedelta(days=1))
    return within


@dataclass(frozen=True)
class _Cache:
    """Histories of one ticker and interval in a directory, one file for each range: NumPy arrays and the time of download."""

    directory: Path
    ticker: str
    interval: str

    def find(self, first: date | None, last: date | None) -> Downloaded | None:
        """The youngest copy that covers the range, cut to it. A damaged file counts as none."""
        copies = [self._load(path, first, last) for path in self.directory.glob(f"{self.ticker}_{self.interval}_*.npz")]
        return max((copy for copy in copies if copy is not None), key=lambda copy: copy.at, default=None)

    def _load(self, path: Path, first: date | None, last: date | None) -> Downloaded | None:
        try:
            starts, ends = (None if part == "open" else date.fromisoformat(part) for part in path.stem.split("_")[-2:])
            if (starts and not (first and first >= starts)) or (ends and not (last and last <= ends)):
                return None
            with np.load(path, allow_pickle=False) as stored:
                at = datetime.fromtimestamp(float(stored["at"]), UTC)
                within = _within(stored["dates"], first, last)
                arrays: dict[str, Any] = {name: stored[name][within] for name in _ARRAYS}
            return Downloaded(PriceSeries(**arrays, name=self.ticker), at)
        except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, copy: Downloaded, first: date | None, last: date | None) -> bool:
        """Writes the file as a whole or not at all; False where that was not possible."""
        path = self.directory / f"{self.ticker}_{self.interval}_{first or 'open'}_{last or 'open'}.npz"
        part = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.part")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez_compressed(
                    file, at=np.float64(copy.at.timestamp()), **{name: getattr(copy.series, name) for name in _ARRAYS}
                )
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            return False
        return True
