"""Any series in any mix of conventions reads back equal or is asked about; any bytes raise no other error."""

import csv
from dataclasses import replace
from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pgcore.market.csv_import import NeedsChoice, import_prices
from pgcore.market.prices import PriceError
from tests.dialects import DIALECTS
from tests.price_files import (
    Dialect,
    base_series,
    epoch,
    named,
    number,
    serial,
    short,
    strftime,
    unpadded,
    write,
)

BASE = base_series()


MONTHS = ["Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc."]
RUSSIAN = "янв фев мар апр май июн июл авг сен окт ноя дек"
POLISH = "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia"
CZECH = "ledna února března dubna května června července srpna září října listopadu prosince"
TURKISH = "Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık"
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
    "english": "Date Open High Low Close Volume",
    "german": "Datum Eröffnung Hoch Tief Schluss Volumen",
    "polish": "Data Otwarcie Najwyższy Najniższy Zamknięcie Wolumen",
    "russian": "Дата Открытие Максимум Минимум Закрытие Объем",
    "chinese": "日期 开盘 最高 最低 收盘 成交量",
    "japanese": "日付 始値 高値 安値 終値 出来高",
    "korean": "일자 시가 고가 저가 종가 거래량",
    "none": "",
}
# What only the cells below a header say about the encoding: encodings, dates, what stands behind a price.
ABROAD = {
    "russian": (["cp1251", "koi8-r", "cp866"], named("{d} {b} {y}", RUSSIAN), " руб."),
    "polish": (["cp1250"], named("{d} {b} {y}", POLISH), " zł"),
    "czech": (["cp1250"], named("{d}. {b} {y}", CZECH), " Kč"),
    "turkish": (["cp1254"], named("{d} {b} {y}", TURKISH), " TL"),
    "japanese": (["cp932", "euc-jp"], DATES["chinese"], "円"),
    "korean": (["cp949"], unpadded("{y}년 {m}월 {d}일"), "원"),
    "chinese": (["gb18030", "big5"], DATES["chinese"], "元"),
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
    start = draw(st.dates(date(1990, 1, 1), date(2030, 1, 1)))
    series = base_series(draw(st.integers(5, 40)), draw(st.integers(0, 99)), str(start), decimals)
    language = draw(st.sampled_from(list(HEADERS)))
    marks = [(".", ""), (".", ","), (".", " "), (".", "'"), (",", ""), (",", "."), (",", "\u00a0")]
    decimal, thousands = draw(st.sampled_from(marks))
    sign = draw(st.sampled_from(["", "", "$", "€"]))
    forms = [number(decimal, thousands, sign, "", decimals), number(decimal, thousands, "", sign and " " + sign, decimals)]
    form = draw(st.sampled_from([*forms, short] if decimal == "." else forms))
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    dialect = Dialect(
        HEADERS[language].split(),
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
    if language in ("english", "none") and draw(st.booleans()):
        encodings, day, unit = ABROAD[draw(st.sampled_from(list(ABROAD)))]
        units = draw(st.sampled_from(["", unit]))
        dialect = replace(
            dialect,
            encoding=draw(st.sampled_from(encodings)),
            date=day,
            price=number(decimal, thousands, after=units, decimals=decimals),
        )
    missing = draw(st.sampled_from([None, "", "-", "N/A", "null", "--"]))
    if missing is not None:
        dialect = replace(dialect, below=delimiter.join([dialect.date(datetime(2031, 1, 2)), *[missing] * 5]) + "\n")
        assume(not dialect.newest_first)
    try:
        return series, dialect.write(series)
    except UnicodeEncodeError:
        assume(False)


def refused(data: bytes) -> str:
    """What the importer says against a file; nothing if it reads it. Any error that is not its own fails the test."""
    try:
        import_prices(data)
    except PriceError as error:
        return str(error)
    return ""


class TestAnyMix:
    @settings(max_examples=150, deadline=None)
    @given(files())
    def test_reads_back_equal_or_asks(self, written):
        series, data = written
        try:
            imported = import_prices(data).series
        except NeedsChoice as asked:
            choice = asked.choice
        else:
            choice = ""
            assert np.array_equal(imported.dates, series.dates)
            for column in ("open", "high", "low", "close", "volume"):
                assert np.array_equal(getattr(imported, column), getattr(series, column)), column
        assert choice in ("", "date_order", "decimal")

    @pytest.mark.parametrize("country", ABROAD)
    @pytest.mark.parametrize("header", ["Date;Close", ""])
    @pytest.mark.parametrize("with_unit", [True, False])
    def test_the_encoding_shows_in_the_cells_where_the_header_is_ascii(self, country, header, with_unit):
        encodings, day, unit = ABROAD[country]
        for encoding in encodings:
            for dates in (day, DATES["iso"]) if with_unit else (day,):
                form = number(",", after=unit if with_unit else "")
                data = Dialect(header, "dc", ";", dates, price=form, encoding=encoding).write(
                    base_series(300, start="2023-01-02")
                )
                assert np.array_equal(import_prices(data).series.close, base_series(300).close), encoding

    @pytest.mark.parametrize("newline", ["\n", "\r"])
    def test_long_text_beyond_the_head_that_is_looked_at(self, newline):
        dialect = Dialect("日期,开盘,最高,最低,收盘,成交量", date=DATES["chinese"], newline=newline)
        series = base_series(4000, start="1990-01-01")
        assert import_prices(dialect.write(series)).report.encoding == "utf-8"
        assert np.array_equal(import_prices(replace(dialect, encoding="gbk").write(series)).series.close, series.close)

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=3000))
    def test_random_bytes_raise_nothing_but_the_importers_own_error(self, data):
        assert len(refused(data)) < 400

    @settings(max_examples=150, deadline=None)
    @given(st.text(st.sampled_from("0123456789.,;-/:\t\n\" 'eE+%$€DateCloseOpnHighLwJan年月日"), max_size=400))
    def test_random_tables_raise_nothing_but_the_importers_own_error(self, content):
        assert len(refused(content.encode())) < 400

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from(list(DIALECTS)), st.randoms(use_true_random=False))
    def test_a_damaged_file_raises_nothing_but_the_importers_own_error(self, name, random):
        data = bytearray(write(DIALECTS[name], BASE))
        for _ in range(random.randrange(1, 20)):
            data[random.randrange(len(data))] = random.randrange(256)
        assert len(refused(bytes(data[: random.randrange(len(data))]))) < 400

    def test_a_megabyte_of_noise(self):
        noise = np.random.default_rng(0).bytes(2**20)
        assert refused(noise)
        assert refused(bytes(32 + byte % 95 for byte in noise))
