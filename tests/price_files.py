"""One base series written as every price file people have: what tests of the importer read back."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from pgcore.market.prices import PriceSeries

DateFormat = Callable[[datetime], str]
NumberFormat = Callable[[float], str]


def base_series(rows: int = 60, seed: int = 0, start: str = "2023-11-20", decimals: int = 2, step: str = "B") -> PriceSeries:
    """Business days with prices of two decimals, of which each is a valid open, high, low, close."""
    import pandas as pd

    random = np.random.default_rng(seed)
    close = np.round(1100 * np.exp(np.cumsum(random.normal(0, 0.02, rows))), decimals)
    open_ = np.round(np.concatenate([close[:1], close[:-1]]) * (1 + random.normal(0, 0.004, rows)), decimals)
    high = np.round(np.maximum(open_, close) * (1 + random.uniform(0.001, 0.01, rows)), decimals)
    low = np.round(np.minimum(open_, close) * (1 - random.uniform(0.001, 0.01, rows)), decimals)
    volume = random.integers(1_000, 200_000, rows) * 100.0
    dates = pd.date_range(start, periods=rows, freq=step).to_numpy()
    return PriceSeries(dates, open_, high, low, close, volume)


def strftime(form: str) -> DateFormat:
    return lambda moment: moment.strftime(form)


def unpadded(form: str) -> DateFormat:
    """A format with {d}, {m}, {y}."""
    return lambda moment: form.format(d=moment.day, m=moment.month, y=moment.year)


def named(form: str, months: str) -> DateFormat:
    """A format with {d}, {b}, {y}, where b is one of twelve names."""
    return lambda moment: form.format(d=moment.day, b=months.split()[moment.month - 1], y=moment.year, y2=moment.year % 100)


def epoch(unit: int) -> DateFormat:
    """Whole units since 1970, so many a second."""
    return lambda moment: str(int((moment - datetime(1970, 1, 1)).total_seconds()) * unit)


def serial(moment: datetime) -> str:
    return str((moment - datetime(1899, 12, 30)).days)


def number(decimal: str = ".", thousands: str = "", before: str = "", after: str = "", decimals: int = 2) -> NumberFormat:
    def form(value: float) -> str:
        text = f"{value:,.{decimals}f}".replace(",", "\0").replace(".", decimal).replace("\0", thousands)
        return before + text + after

    return form


def short(value: float) -> str:
    """As str() prints it: no zeros at the end."""
    return f"{value:.10g}"


def millions(decimal: str = ".", after: str = "M") -> NumberFormat:
    return lambda value: f"{value / 1e6:.4f}".replace(".", decimal) + after


ISO, CLOCK = strftime("%Y-%m-%d"), strftime("%H:%M:%S")
WHOLE = number(decimals=0)


@dataclass(frozen=True)
class Dialect:
    """How a file is written. `columns` lists what stands in each column: d date, t time, o h l c prices, a adjusted close,
    v volume, a part of the date for strftime, or a constant text. `header` has one name a column, or none."""

    header: str | Sequence[str] = "Date,Open,High,Low,Close,Volume"
    columns: str | Sequence[str] = "dohlcv"
    delimiter: str = ","
    date: DateFormat = ISO
    time: DateFormat = CLOCK
    price: NumberFormat = short
    volume: NumberFormat = WHOLE
    encoding: str = "utf-8"
    newline: str = "\n"
    newest_first: bool = False
    quoting: int = csv.QUOTE_MINIMAL
    above: str = ""
    below: str = ""
    filename: str = "prices.csv"
    packed: Callable[[bytes], bytes] = field(default=lambda content: content)

    def write(self, series: PriceSeries) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, quoting=self.quoting, lineterminator="\n")
        if self.header:
            writer.writerow(self.header.split(self.delimiter) if isinstance(self.header, str) else self.header)
        order = range(len(series))
        for i in reversed(order) if self.newest_first else order:
            writer.writerow([self._cell(series, i, column) for column in self.columns])
        content = (self.above + text.getvalue() + self.below).replace("\n", self.newline)
        return self.packed(content.encode(self.encoding))

    def _cell(self, series: PriceSeries, row: int, column: str) -> str:
        moment = series.dates[row].astype(datetime)
        prices = {"o": series.open, "h": series.high, "l": series.low, "c": series.close, "a": series.close}
        if column in prices:
            return self.price(prices[column][row])
        if column == "v":
            return self.volume(series.volume[row])
        if column.startswith("%"):
            return moment.strftime(column) if len(column) == 2 else column
        return {"d": self.date, "t": self.time}[column](moment) if column in ("d", "t") else column


def several_level(levels: Sequence[str]) -> Callable[[PriceSeries], bytes]:
    """yfinance's headers of several rows over columns date, close, high, low, open, volume."""

    def write(series: PriceSeries) -> bytes:
        body = Dialect(header="", columns="dchlov").write(series).decode()
        return ("\n".join(levels) + "\n" + body).encode()

    return write


def workbook(rows: Sequence[Sequence[object]]) -> bytes:
    """A minimal .xlsx: texts shared, numbers as numbers."""
    texts: list[str] = []
    lines = []
    for number_, row in enumerate(rows, 1):
        cells = []
        for index, value in enumerate(row):
            place = f"{chr(65 + index)}{number_}"
            if isinstance(value, str):
                texts.append(value)
                cells.append(f'<c r="{place}" t="s"><v>{len(texts) - 1}</v></c>')
            elif value is not None:
                cells.append(f'<c r="{place}"><v>{value!r}</v></c>')
        lines.append(f'<row r="{number_}">{"".join(cells)}</row>')
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    shared = "".join(f"<si><t>{text}</t></si>" for text in texts)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", f"<workbook {space}/>")
        archive.writestr("xl/sharedStrings.xml", f"<sst {space}>{shared}</sst>")
        archive.writestr("xl/worksheets/sheet1.xml", f"<worksheet {space}><sheetData>{''.join(lines)}</sheetData></worksheet>")
    return buffer.getvalue()


def excel(series: PriceSeries) -> bytes:
    days = ((series.dates - np.datetime64("1899-12-30")) / np.timedelta64(1, "D")).astype(int)
    columns = (
        days.tolist(),
        series.open.tolist(),
        series.high.tolist(),
        series.low.tolist(),
        series.close.tolist(),
        series.volume.tolist(),
    )
    title = ["ACME Corporation", None, None, None, None, None]
    return workbook([title, ["Date", "Open", "High", "Low", "Close", "Volume"], *zip(*columns, strict=True)])


def parquet(series: PriceSeries) -> bytes:
    buffer = io.BytesIO()
    series.frame().to_parquet(buffer)
    return buffer.getvalue()


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("prices.csv", content)
    return buffer.getvalue()


def write(dialect: Dialect | Callable[[PriceSeries], bytes], series: PriceSeries) -> bytes:
    """The bytes of a file in this dialect."""
    return dialect.write(series) if isinstance(dialect, Dialect) else dialect(series)


def text(*lines: str) -> bytes:
    """The bytes of a file of these lines."""
    return "\n".join(lines).encode()


def aligned(series: PriceSeries) -> bytes:
    """Columns filled up with spaces."""
    lines = [f"{'Date':<12}{'Open':>10}{'High':>10}{'Low':>10}{'Close':>10}{'Volume':>12}"]
    for i in range(len(series)):
        prices = "".join(f"{column[i]:>10.2f}" for column in (series.open, series.high, series.low, series.close))
        lines.append(f"{str(series.dates[i])[:10]:<12}{prices}{series.volume[i]:>12.0f}")
    return "\n".join(lines).encode()


def fred(series: PriceSeries) -> bytes:
    """Closes only, with a point for a missing value."""
    lines = ["observation_date,SP500", "2023-11-19,."]
    return "\n".join(lines + [f"{str(d)[:10]},{c:.2f}" for d, c in zip(series.dates, series.close, strict=True)]).encode()


def mixed_offsets(series: PriceSeries) -> bytes:
    """yfinance's Ticker.history: the offset changes with daylight saving time."""
    body = Dialect(
        header="Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
        columns=[*"dohlcv", "0.0", "0.0"],
        date=lambda m: m.strftime("%Y-%m-%d 00:00:00") + ("-05:00" if m.month in (11, 12, 1, 2) else "-04:00"),
    )
    return body.write(series)


JSON_ERROR = json.dumps({"Information": "The standard API rate limit is 25 requests per day."}).encode()
HTML_ERROR = b"<!DOCTYPE html><html><head><title>503 Service Unavailable</title></head><body>Try later</body></html>"
