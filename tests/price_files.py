"""One base series written as every price file people have: what tests of the importer read back."""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True)
class Dialect:
    """How a file is written. `columns` lists what stands in each column: d date, t time, o h l c prices, a adjusted close,
    v volume, or a constant text in quotation marks. `header` has one name a column, or none."""

    header: str | Sequence[str] = "Date,Open,High,Low,Close,Volume"
    columns: str | Sequence[str] = "dohlcv"
    delimiter: str = ","
    date: DateFormat = strftime("%Y-%m-%d")
    time: DateFormat = strftime("%H:%M:%S")
    price: NumberFormat = short
    volume: NumberFormat = number(decimals=0)
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
    columns = (days.tolist(), series.open.tolist(), series.high.tolist(), series.low.tolist(), series.close.tolist(), series.volume.tolist())
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


_FR = "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc."
_EN = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_ES = "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
_RU = "января февраля марта апреля мая июня июля августа сентября октября ноября декабря"
_TR = "Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık"
_DE = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
_PL = "sty lut mar kwi maj cze lip sie wrz paź lis gru"
_CRLF = "\r\n"
_INVESTING = Dialect(newest_first=True, encoding="utf-8-sig", quoting=csv.QUOTE_ALL, columns=[*"dcohlv", "0.35%"], volume=millions())
_COMMA = number(",", ".")

DIALECTS: dict[str, Dialect | Callable[[PriceSeries], bytes]] = {
    "Yahoo web export": Dialect("Date,Open,High,Low,Close,Adj Close,Volume", "dohlcav", below="2024-02-12,null,null,null,null,null,null\n"),
    "Yahoo page, copied": Dialect(
        "Date\tOpen\tHigh\tLow\tClose*\tAdj Close**\tVolume", "dohlcav", "\t", named("{b} {d:02}, {y}", _EN), price=number(thousands=","),
        volume=number(thousands=",", decimals=0), newest_first=True, below="*Close price adjusted for splits.\n",
    ),
    "yfinance download": several_level(["Price,Close,High,Low,Open,Volume", "Ticker,AAPL,AAPL,AAPL,AAPL,AAPL", "Date,,,,,"]),
    "yfinance by ticker": several_level(["Ticker,AAPL,AAPL,AAPL,AAPL,AAPL", "Price,Close,High,Low,Open,Volume", "Date,,,,,"]),
    "yfinance without index": several_level(["Date,Close,High,Low,Open,Volume", ",AAPL,AAPL,AAPL,AAPL,AAPL"]),
    "yfinance tuples": several_level(["Date,\"('Close', 'AAPL')\",\"('High', 'AAPL')\",\"('Low', 'AAPL')\",\"('Open', 'AAPL')\",\"('Volume', 'AAPL')\""]),
    "yfinance history": mixed_offsets,
    "Stooq": Dialect(newline=_CRLF),
    "Stooq in Polish": Dialect("Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen", newline=_CRLF),
    "Stooq, semicolons": Dialect("Data;Otwarcie;Najwyższy;Najniższy;Zamknięcie;Wolumen", delimiter=";", price=number(","), encoding="cp1250"),
    "Stooq bulk": Dialect(
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>", ["AAPL.US", "D", *"dtohlcv", "0"],
        date=strftime("%Y%m%d"), time=strftime("%H%M%S"), filename="aapl.us.txt",
    ),
    "Finam": Dialect(
        "<TICKER>;<PER>;<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>", ["SBER", "D", *"dtohlcv"], ";", strftime("%Y%m%d"), lambda _: "0",
    ),
    "MetaStock": Dialect("<TICKER>,<DTYYYYMMDD>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>", ["KGHM", *"dohlcv"], date=strftime("%Y%m%d")),
    "Alpha Vantage": Dialect("timestamp,open,high,low,close,volume", newest_first=True, newline=_CRLF, price=number(decimals=4)),
    "Alpha Vantage adjusted": Dialect(
        "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient", [*"dohlcav", "0.0000", "1.0"], newest_first=True
    ),
    "Nasdaq.com": Dialect(
        "Date,Close/Last,Volume,Open,High,Low", "dcvohl", date=strftime("%m/%d/%Y"), price=number(before="$"), newest_first=True,
        below="10/03/2023,N/A,N/A,N/A,N/A,N/A\n",
    ),
    "Investing.com": replace(
        _INVESTING, header=["Date", "Price", "Open", "High", "Low", "Vol.", "Change %"], date=strftime("%m/%d/%Y"), price=number(thousands=",")
    ),
    "Investing.com in Spanish": replace(
        _INVESTING, header=["Fecha", "Último", "Apertura", "Máximo", "Mínimo", "Vol.", "% var."], date=strftime("%d.%m.%Y"), price=_COMMA,
        volume=millions(","), columns=[*"dcohlv", "0,35%"],
    ),
    "Investing.com in Chinese": replace(
        _INVESTING, header=["日期", "收盘", "开盘", "高", "低", "交易量", "涨跌幅"], date=unpadded("{y}年{m}月{d}日"), price=number(thousands=",")
    ),
    "Investing.com in German": replace(
        _INVESTING, header=["Datum", "Zuletzt", "Eröffn.", "Hoch", "Tief", "Vol.", "+/- %"], date=strftime("%d.%m.%Y"), price=_COMMA,
        volume=millions(","), columns=[*"dcohlv", "0,35%"],
    ),
    "Investing.com in French": replace(
        _INVESTING, header=["Date", "Dernier", "Ouv.", " Plus Haut", "Plus Bas", "Vol.", "Variation %"], date=strftime("%d/%m/%Y"),
        price=number(",", "."), volume=millions(","), columns=[*"dcohlv", "0,35%"],
    ),
    "Investing.com in Italian": replace(
        _INVESTING, header=["Data", "Ultimo", "Apertura", "Massimo", "Minimo", "Vol.", "Var. %"], date=strftime("%d.%m.%Y"), price=_COMMA,
        volume=millions(","), columns=[*"dcohlv", "0,35%"],
    ),
    "Investing.com in Portuguese": replace(
        _INVESTING, header=["Data", "Último", "Abertura", "Máxima", "Mínima", "Vol.", "Var%"], date=strftime("%d.%m.%Y"), price=_COMMA,
        volume=millions(","), columns=[*"dcohlv", "0,35%"],
    ),
    "Investing.com in Russian": replace(
        _INVESTING, header=["Дата", "Цена", "Откр.", "Макс.", "Мин.", "Объём", "Изм. %"], date=strftime("%d.%m.%Y"), price=_COMMA,
        volume=millions(","), columns=[*"dcohlv", "0,35%"],
    ),
    "Investing.com in Turkish": replace(
        _INVESTING, header=["Tarih", "Şimdi", "Açılış", "Yüksek", "Düşük", "Hac.", "Fark %"], date=strftime("%d.%m.%Y"), price=_COMMA,
        volume=millions(","), columns=[*"dcohlv", "0,35%"],
    ),
    "Investing.com in Japanese": replace(
        _INVESTING, header=["日付", "終値", "始値", "高値", "安値", "出来高", "変化率 %"], date=strftime("%Y年%m月%d日"), price=number(thousands=","),
        columns=[*"dcohlv", "0.35%"],
    ),
    "Investing.com in Korean": replace(
        _INVESTING, header=["날짜", "종가", "시가", "고가", "저가", "거래량", "변동 %"], date=strftime("%Y- %m- %d"), price=number(thousands=",")
    ),
    "Investing.com in Polish": replace(
        _INVESTING, header=["Data", "Ostatnio", "Otwarcie", "Max.", "Min.", "Wol.", "Zmiana%"], date=strftime("%d.%m.%Y"), price=_COMMA,
        volume=millions(","), columns=[*"dcohlv", "0,35%"],
    ),
    "Investing.com in Dutch": replace(
        _INVESTING, header=["Datum", "Laatste", "Open", "Hoog", "Laag", "Vol.", "Verschil %"], date=strftime("%d.%m.%Y"), price=_COMMA,
        volume=millions(","), columns=[*"dcohlv", "0,35%"],
    ),
    "Investing.com in Vietnamese": replace(
        _INVESTING, header=["Ngày", "Lần cuối", "Mở", "Cao", "Thấp", "KL", "% Thay đổi"], date=strftime("%d/%m/%Y"), price=number(thousands=",")
    ),
    "Binance klines": Dialect(
        "", [*"dohlcv", "1700524799999", "123456.78", "1234", "500.5", "61728.39", "0"], date=epoch(1000), price=number(decimals=8),
        volume=number(decimals=8),
    ),
    "Binance klines since 2025": Dialect(
        "", [*"dohlcv", "1700524799999999", "123456.78", "1234", "500.5", "61728.39", "0"], date=epoch(1_000_000), price=number(decimals=8)
    ),
    "Binance futures": Dialect(
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore",
        [*"dohlcv", "1700524799999", "123456.78", "1234", "500.5", "61728.39", "0"], date=epoch(1000),
    ),
    "Coinbase": Dialect("time,low,high,open,close,volume", "dlhocv", date=epoch(1), newest_first=True),
    "Kraken": Dialect("time,open,high,low,close,vwap,volume,count", ["d", "o", "h", "l", "c", "1100.1", "v", "25"], date=epoch(1)),
    "CryptoDataDownload": Dialect(
        "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
        ["1700524799000", "d", "BTC/USD", *"ohlcv", "1.5"], date=strftime("%Y-%m-%d %H:%M:%S"), newest_first=True,
        above="https://www.CryptoDataDownload.com\n",
    ),
    "Kaggle": Dialect("Date,High,Low,Open,Close,Volume,Adj Close", "dhlocva"),
    "Kaggle, one name": Dialect("date,open,high,low,close,volume,Name", [*"dohlcv", "AAL"]),
    "GOOGLEFINANCE": Dialect("Date,Close", "dc", date=lambda m: f"{m.month}/{m.day}/{m.year} 16:00:00", below="#N/A,#N/A\n"),
    "Interactive Brokers": Dialect(
        "date,open,high,low,close,volume,average,barCount", [*"dohlcv", "1100.1", "25"], date=strftime("%Y%m%d %H:%M:%S"),
    ),
    "Interactive Brokers with zone": Dialect(
        "date,open,high,low,close,volume,average,barCount", [*"dohlcv", "1100.1", "25"], date=strftime("%Y%m%d  %H:%M:%S US/Eastern"),
    ),
    "MetaTrader 5": Dialect(
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>", [*"dtohlc", "123", "v", "5"], "\t", strftime("%Y.%m.%d"),
        encoding="utf-16",
    ),
    "MetaTrader 4": Dialect("", "dtohlcv", date=strftime("%Y.%m.%d"), time=strftime("%H:%M"), newline=_CRLF),
    "TradingView": Dialect("time,open,high,low,close,Volume,MA,MA", [*"dohlcv", "1100.5", "NaN"], date=epoch(1)),
    "TradingView, ISO": Dialect("time,open,high,low,close,Volume,Volume", [*"dohlcv", "7"], date=strftime("%Y-%m-%dT%H:%M:%SZ")),
    "akshare": Dialect(
        "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率",
        ["d", "000001", "o", "c", "h", "l", "v", "1234567.0", "2.1", "-0.5", "-0.1", "0.9"], encoding="utf-8-sig",
    ),
    "akshare in GBK": Dialect(
        "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率",
        ["d", "000001", "o", "c", "h", "l", "v", "1234567.0", "2.1", "-0.5", "-0.1", "0.9"], encoding="gbk",
    ),
    "同花顺": Dialect(
        "时间\t开盘\t最高\t最低\t收盘\t涨幅\t振幅\t总手\t金额\t换手%\t成交次数",
        ["d", "o", "h", "l", "c", "1.2%", "3.4%", "v", "9,876,543", "0.5", "--"], "\t", lambda m: m.strftime("%Y-%m-%d,") + "一二三四五"[m.weekday()],
        volume=number(thousands=",", decimals=0), encoding="gbk", filename="Table.xls", quoting=csv.QUOTE_NONE,
    ),
    "通达信": Dialect(
        "日期\t开盘\t最高\t最低\t收盘\t成交量\t成交额", ["d", "o", "h", "l", "c", "v", "1234567.00"], "\t", strftime("%Y/%m/%d"), price=number(),
        encoding="gbk", above="688019 澜起科技 日线 前复权\n", below="#数据来源:通达信\n", filename="688019.xls",
    ),
    "close only": fred,
    "date and value": Dialect("DATE,VALUE", "dc"),
    "Korea Exchange": Dialect(
        "일자,종가,대비,등락률,시가,고가,저가,거래량,거래대금", ["d", "c", "-5", "-0.10", *"ohlv", "1234567"], date=strftime("%Y/%m/%d"), encoding="cp949",
    ),
    "Japan": Dialect("日付,始値,高値,安値,終値,出来高,終値調整値", "dohlcva", date=unpadded("{y}/{m}/{d}"), encoding="cp932"),
    "Taiwan": Dialect("日期,開盤價,最高價,最低價,收盤價,成交量", date=strftime("%Y/%m/%d"), encoding="big5"),
    "Russia in cp1251": Dialect(
        "Дата;Открытие;Максимум;Минимум;Закрытие;Объём", delimiter=";", date=named("{d} {b} {y} г.", _RU), price=number(","), encoding="cp1251",
    ),
    "Turkey": Dialect("Tarih;Açılış;Yüksek;Düşük;Kapanış;Hacim", delimiter=";", date=named("{d} {b} {y}", _TR), price=_COMMA, encoding="cp1254"),
    "Germany": Dialect(
        "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen", delimiter=";", date=strftime("%d.%m.%Y"), price=_COMMA, volume=_COMMA, encoding="cp1252",
        newest_first=True, newline=_CRLF,
    ),
    "Germany with names": Dialect(
        "Datum;Eröffnungskurs (EUR);Höchstkurs;Tiefstkurs;Schlusskurs in EUR;Stück", delimiter=";", date=named("{d}. {b} {y}", _DE), price=_COMMA,
    ),
    "comdirect": Dialect(
        "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen", delimiter=";", date=strftime("%d.%m.%Y"), price=_COMMA, encoding="cp1252",
        above='"BASF (WKN: BASF11 Börse: Xetra)"\n\n', quoting=csv.QUOTE_ALL,
    ),
    "France": Dialect(
        "Date;Ouverture;Plus haut;Plus bas;Clôture;Volume", delimiter=";", date=named("{d} {b} {y}", _FR), price=number(",", "\u202f", after=" €"),
        volume=number(thousands="\u202f", decimals=0),
    ),
    "Boursorama": Dialect("date\touv\thaut\tbas\tclot\tvol\tdevise", [*"dohlcv", "EUR"], "\t", strftime("%d/%m/%Y 00:00")),
    "Euronext": Dialect(
        "Date;Open;High;Low;Last;Close;Number of Shares;Number of Trades;Turnover;vwap", ["d", "o", "h", "l", "1", "c", "v", "25", "9999.5", "1100"],
        ";", strftime("%d/%m/%Y"), above='"Historical Data"\n"From 2023-11-20 to 2024-02-09"\nFR0000120271\n',
    ),
    "Spain": Dialect("Fecha;Apertura;Máximo;Mínimo;Cierre;Volumen", delimiter=";", date=named("{d} de {b} de {y}", _ES), price=_COMMA, encoding="latin-1"),
    "Italy": Dialect("Data;Apertura;Massimo;Minimo;Chiusura;Volumi", delimiter=";", date=strftime("%d/%m/%Y"), price=number(",")),
    "Brazil": Dialect(
        "Data;Abertura;Máxima;Mínima;Fechamento;Volume", delimiter=";", date=strftime("%d/%m/%Y"), price=number(",", ".", before="R$ "), encoding="latin-1"
    ),
    "Poland with months": Dialect("Data;Otwarcie;Maks.;Min.;Zamknięcie;Wolumen", delimiter=";", date=named("{d} {b} {y}", _PL), price=number(",", "\u00a0")),
    "Sweden": Dialect("Datum;Öppen;Högst;Lägst;Stängning;Volym", delimiter=";", price=number(",", " ")),
    "Switzerland": Dialect("Datum;Eröffnung;Hoch;Tief;Schlusskurs;Volumen", delimiter=";", date=strftime("%d.%m.%Y"), price=number(".", "’", before="CHF ")),
    "India, NSE": Dialect(
        ["Date ", "series ", "OPEN ", "HIGH ", "LOW ", "PREV. CLOSE ", "ltp ", "close ", "vwap ", "52W H", "52W L", "VOLUME ", "VALUE ", "No of trades "],
        ["d", "EQ", *"ohl", "1,000.00", "1,001.00", "c", "1,002.00", "2,000.00", "500.00", "v", "12,34,567.89", "1,234"],
        date=named("{d:02}-{b}-{y}", _EN), price=number(thousands=","), volume=number(thousands=",", decimals=0), newest_first=True, encoding="utf-8-sig",
    ),
    "India, BSE": Dialect(
        "Date,Open Price,High Price,Low Price,Close Price,WAP,No.of Shares,No. of Trades,Total Turnover (Rs.)",
        ["d", *"ohlc", "1100.12345", "v", "25", "12345678.00"], date=named("{d}-{b}-{y}", _EN), newest_first=True,
    ),
    "Wall Street Journal": Dialect("Date, Open, High, Low, Close", "dohlc", date=strftime("%m/%d/%y"), newest_first=True),
    "MarketWatch": Dialect(date=strftime("%m/%d/%Y"), price=number(thousands=","), volume=number(thousands=",", decimals=0), quoting=csv.QUOTE_ALL),
    "Barchart": Dialect(
        "Time,Open,High,Low,Last,Change,%Chg,Volume", ["d", *"ohlc", "-1.5", "-0.12%", "v"], date=strftime("%m/%d/%Y"), newest_first=True,
        below='"Downloaded from Barchart.com as of 02-12-2024 04:30pm CST"\n',
    ),
    "Tiingo": Dialect(
        "date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor",
        ["d", *"chlov", *"chlov", "0.0", "1.0"], date=strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    ),
    "Polygon": Dialect("v,vw,o,c,h,l,t,n", ["v", "1100.1", "o", "c", "h", "l", "d", "25"], date=epoch(1000)),
    "Quandl": Dialect(
        "Date,Open,High,Low,Close,Volume,Ex-Dividend,Split Ratio,Adj. Open,Adj. High,Adj. Low,Adj. Close,Adj. Volume",
        [*"dohlcv", "0.0", "1.0", *"ohlcv"],
    ),
    "Bloomberg": Dialect("Date,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME", date=strftime("%m/%d/%Y"), above="Security,AAPL US Equity\nCurrency,USD\n\n"),
    "Dukascopy": Dialect("Gmt time,Open,High,Low,Close,Volume", date=strftime("%d.%m.%Y %H:%M:%S.000"), price=number(decimals=5)),
    "R quantmod": Dialect(
        ["", "AAPL.Open", "AAPL.High", "AAPL.Low", "AAPL.Close", "AAPL.Volume", "AAPL.Adjusted"], "dohlcva", quoting=csv.QUOTE_NONNUMERIC
    ),
    "R write.table": Dialect(["Open", "High", "Low", "Close", "Volume"], "dohlcv", delimiter=" "),
    "pandas with row numbers": Dialect(",Date,Open,High,Low,Close,Volume", ["7", *"dohlcv"]),
    "Excel, sep line": Dialect(delimiter=";", header="Date;Open;High;Low;Close;Volume", above="sep=;\n", price=number(",")),
    "Excel, serial days": Dialect(date=serial),
    "Excel workbook": excel,
    "Parquet": parquet,
    "aligned with spaces": aligned,
    "spaces": Dialect(delimiter=" ", header="Date Open High Low Close Volume"),
    "vertical bars": Dialect(delimiter="|", header="Date|Open|High|Low|Close|Volume"),
    "Markdown": lambda s: ("| Date | Close |\n|---|---:|\n" + "".join(f"| {str(d)[:10]} | {c} |\n" for d, c in zip(s.dates, s.close, strict=True))).encode(),
    "comments": Dialect(above="# prices of ACME\n# currency: USD\n", below="# end of file\n"),
    "comment as header": Dialect("# Date,Open,High,Low,Close,Volume"),
    "blank lines": Dialect(above="\n\n", below="\n\n,,,,,\n"),
    "trailing delimiter": lambda s: Dialect().write(s).replace(b"\n", b",\n"),
    "delimiter behind rows only": lambda s: Dialect().write(s).replace(b"\n", b",\n").replace(b"Volume,", b"Volume", 1),
    "totals below": Dialect(below="Total,,,,,123456789\nAverage,1.0,2.0,0.5,1.5,7\n"),
    "units in names": Dialect("Date,Open ($),High ($),Low ($),Close ($),Volume (shares)", price=number(before="$")),
    "units in a row": Dialect(above="", header="Date,Open,High,Low,Close,Volume\n,USD,USD,USD,USD,shares".split("\n")[0].split(",")),
    "lists of Alpha Vantage": Dialect("date,1. open,2. high,3. low,4. close,5. volume"),
    "Bid and offer named close": Dialect("date,open,high,low,close,volume,prev_close,change,52w_high", [*"dohlcv", "1.0", "2.0", "9999.0"]),
    "spread over date and time": Dialect("Date;Time;Open;High;Low;Close;Volume", "dtohlcv", ";", strftime("%d.%m.%Y"), price=number(",")),
    "with a.m. and p.m.": Dialect("Date,Close", "dc", date=strftime("%m/%d/%Y %I:%M:%S %p")),
    "with weekday": Dialect(date=strftime("%a, %d %b %Y")),
    "JavaScript": Dialect(date=strftime("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)")),
    "epoch in nanoseconds": Dialect("timestamp,open,high,low,close,volume", date=epoch(1_000_000_000)),
    "currency behind": Dialect("Date;Close", "dc", ";", price=number(",", ".", after=" €")),
    "brackets round volume": Dialect(volume=number(decimals=0)),
    "UTF-16 without mark": Dialect(encoding="utf-16-le"),
    "UTF-16, big end first": Dialect(encoding="utf-16-be"),
    "old Mac": Dialect(newline="\r"),
    "gzip": Dialect(packed=gzip.compress, filename="prices.csv.gz"),
    "zip": Dialect(packed=zipped, filename="prices.zip"),
    "full width": lambda s: Dialect().write(s).decode().translate({0x30 + i: 0xFF10 + i for i in range(10)}).encode(),
    "our own export": lambda s: s.to_csv().encode(),
    "whole thousands": Dialect(price=number(thousands=","), volume=number(thousands=",", decimals=0)),
    "apostrophes": Dialect(price=number(thousands="'"), volume=number(thousands="'", decimals=0), delimiter="\t", header="Date\tOpen\tHigh\tLow\tClose\tVolume"),
    "as text for Excel": Dialect(price=number(before='="', after='"'), quoting=csv.QUOTE_ALL),
    "unknown tongue": Dialect("Deita,Ouvre,Montu,Bassu,Kloz,Kwantita"),
}  # fmt: skip

JSON_ERROR = json.dumps({"Information": "The standard API rate limit is 25 requests per day."}).encode()
HTML_ERROR = b"<!DOCTYPE html><html><head><title>503 Service Unavailable</title></head><body>Try later</body></html>"
