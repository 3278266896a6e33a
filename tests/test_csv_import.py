"""Every dialect of price file reads back as the series it was written from; what the file leaves open is asked."""

import numpy as np
import pytest

from pgcore.market.csv_import import Choices, NeedsChoice, import_prices
from pgcore.market.prices import PriceError, PriceSeries, load_sample
from tests.dialects import DIALECTS
from tests.price_files import Dialect, base_series, strftime, text, write

BASE = base_series()


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

    @pytest.mark.parametrize(
        "name", [name for name, d in DIALECTS.items() if isinstance(d, Dialect) and {*"ohl"} <= {*d.columns}]
    )
    def test_open_high_low(self, name):
        imported = import_prices(write(DIALECTS[name], BASE)).series
        for column in ("open", "high", "low"):
            assert np.array_equal(getattr(imported, column), getattr(BASE, column)), column

    @pytest.mark.parametrize("name", [name for name, d in DIALECTS.items() if isinstance(d, Dialect) and "v" in d.columns])
    def test_volume(self, name):
        assert np.allclose(import_prices(write(DIALECTS[name], BASE)).series.volume, BASE.volume, rtol=1e-12)

    def test_rows_that_become_shorter_further_down(self):
        days = np.datetime64("1900-01-01") + np.arange(40_000)
        closes = [f"{1 + i / 7:.15f}" if i < 12_000 else f"{1 + i % 9}" for i in range(40_000)]
        data = text("Date,Close", *(f"{day},{close}" for day, close in zip(days, closes, strict=True)))
        assert import_prices(data).series.close.tolist() == [float(close) for close in closes]

    def test_a_sample_as_we_export_it(self):
        sample = load_sample("sp500")
        assert import_prices(sample.to_csv().encode()).series == sample


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
        *(
            f"{day},{name},{close * times}"
            for name, times in (("AAPL", 1), ("MSFT", 2))
            for day, close in zip(BASE.dates.astype("M8[D]"), BASE.close, strict=True)
        ),
    )
    WIDE = text(
        "Date,AAPL,MSFT", *(f"{day},{c},{2 * c}" for day, c in zip(BASE.dates.astype("M8[D]"), BASE.close, strict=True))
    )
    LEVELS = text(
        "Ticker,AAPL,AAPL,MSFT,MSFT",
        "Price,Open,Close,Open,Close",
        "Date,,,,",
        *(
            f"{day},{o},{c},{2 * o},{2 * c}"
            for day, o, c in zip(BASE.dates.astype("M8[D]"), BASE.open, BASE.close, strict=True)
        ),
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

    @pytest.mark.parametrize("names", [("AAPL", "MSFT"), ("AAPL",)])
    @pytest.mark.parametrize("words", [("close", "high"), ("NYSE", "LSE")])
    def test_two_columns_tell_the_rows_of_a_date_apart(self, names, words):
        days = BASE.dates.astype("M8[D]").tolist()
        kinds = [(name, word) for name in names for word in words]
        rows = [f"{day},{a},{b},{c + k}" for k, (a, b) in enumerate(kinds) for day, c in zip(days, BASE.close, strict=True)]
        data = text("date,ticker,variable,value", *rows)
        with pytest.raises(NeedsChoice) as asked:
            import_prices(data)
        assert asked.value.options == tuple(" ".join(kind) for kind in kinds)
        for k, kind in enumerate(kinds):
            imported = import_prices(data, choices=Choices(ticker=" ".join(kind)))
            assert imported.series.close.tolist() == [close + k for close in BASE.close]

    def test_one_that_is_not_there_is_refused(self):
        with pytest.raises(PriceError, match=r"'MSFTX' is not in the file \(did you mean MSFT\?\)"):
            import_prices(self.LONG, choices=Choices(ticker="MSFTX"))

    @pytest.mark.parametrize("ticker", ["LOW", "OPEN", "NAV", "V", "C", "MA", "0700.HK", "600519"])
    def test_a_ticker_that_is_also_a_word_or_a_number(self, ticker):
        data = self.WIDE.replace(b"AAPL", ticker.encode()).replace(b"MSFT", b"AXP,XOM").replace(b"\n", b",9.5\n")
        data = data.replace(b"XOM,9.5", b"XOM")
        assert np.array_equal(import_prices(data, choices=Choices(ticker=ticker)).series.close, BASE.close)

    def test_tickers_keep_their_marks(self):
        data = self.PREFIXED.replace(b"AAPL", b"BRK-B").replace(b"MSFT", b"0700.HK")
        with pytest.raises(NeedsChoice) as asked:
            import_prices(data)
        assert asked.value.options == ("BRK-B", "0700.HK")


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
        data = text(
            "Date;Close", *(f"{np.datetime64('2020-01-01') + i};{close}" for i, close in enumerate(closes)), "2024-01-01;12,5"
        )
        assert import_prices(data).series.close[0] == 1.23

    def test_both_marks_as_decimals(self):
        with pytest.raises(NeedsChoice, match=r"decimal point \(1235.5\) and others a decimal comma \(1234,5\)"):
            import_prices(text("Date;Close", "2024-01-02;1234,5", "2024-01-03;1235.5", "2024-01-04;1236.5"))

    def test_which_column_is_the_price(self):
        with pytest.raises(NeedsChoice, match="choose the close") as asked:
            import_prices(text("2024-01-02,1.5,1000", "2024-01-03,1.7,2000"))
        assert asked.value.options == ("column 2", "column 3")
        assert (
            import_prices(text("2024-01-02,1.5,1000", "2024-01-03,1.7,2000"), choices=Choices(close="column 2")).series.close[0]
            == 1.5
        )


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

    @pytest.mark.parametrize(
        "header",
        [
            "Date,Price Open,Price High,Price Low,Price Close",
            "Date,Mid Open,Mid High,Mid Low,Mid Close",
            "Date,Bid Open,Bid High,Bid Low,Bid Close",
            "Data,Kurs otwarcia,Kurs max,Kurs min,Kurs zamknięcia",
            "Data,Cena otwarcia,Cena maksymalna,Cena minimalna,Cena zamknięcia",
            "Дата,Цена открытия,Максимальная цена,Минимальная цена,Цена закрытия",
            "Fecha,Precio de apertura,Precio máximo,Precio mínimo,Precio de cierre",
            "FECHA,PRECIO DE APERTURA,PRECIO MÁXIMO,PRECIO MÍNIMO,PRECIO DE CIERRE",
            "Fecha,Precio apertura,Precio más alto,Precio más bajo,Precio cierre",
            "Data,Preço de abertura,Preço máximo,Preço mínimo,Preço de fechamento",
            "Date,Cours d'ouverture,Cours le plus haut,Cours le plus bas,Cours de clôture",
            "Date,Prix d'ouverture,Prix plus haut,Prix plus bas,Prix de clôture",
            "Data,Prezzo di apertura,Prezzo massimo,Prezzo minimo,Prezzo di chiusura",
            "Datum,Kurs Eröffnung,Kurs Hoch,Kurs Tief,Kurs Schluss",
            "Data,Preț deschidere,Preț maxim,Preț minim,Preț închidere",
            "Tanggal,Harga Pembukaan,Harga Tertinggi,Harga Terendah,Harga Penutupan",
            "Ημερομηνία,Τιμή Ανοίγματος,Τιμή Υψηλή,Τιμή Χαμηλή,Τιμή Κλεισίματος",
            "التاريخ,سعر الافتتاح,أعلى سعر,أدنى سعر,سعر الإغلاق",
            "Date,LOW Open,LOW High,LOW Low,LOW Close",
            "Date,DE Open,DE High,DE Low,DE Close",
        ],
    )
    def test_a_word_for_price_in_front_does_not_hide_which_price_it_is(self, header):
        imported = import_prices(Dialect(header, "dohlc").write(BASE))
        for column in ("open", "high", "low", "close"):
            assert np.array_equal(getattr(imported.series, column), getattr(BASE, column)), column
        assert not imported.report.warnings

    @pytest.mark.parametrize(
        ("header", "columns"),
        [
            ("Date,Gold Price,Open,High,Low", "dcohl"),
            ("Date,Open,High,Low,BTC Close", "dohlc"),
            ("Date,Open,High,Low,Close USD/oz,Volume", "dohlcv"),
            ("Date,Open,High,Low,Close of ACME,Volume", "dohlcv"),
        ],
    )
    def test_only_the_close_says_of_what(self, header, columns):
        imported = import_prices(Dialect(header, columns).write(BASE))
        for column in ("open", "high", "low", "close"):
            assert np.array_equal(getattr(imported.series, column), getattr(BASE, column)), column
        assert not imported.report.warnings
        assert ("volume" in imported.report.columns) == ("v" in columns)

    @pytest.mark.parametrize("ticker", ["DE", "LOW", "NAV"])
    def test_a_ticker_beside_a_price_that_is_also_such_a_word(self, ticker):
        data = text(f"Date,{ticker} Close,MSFT Close", "2024-01-02,1.5,2.5", "2024-01-03,1.6,2.6")
        with pytest.raises(NeedsChoice) as asked:
            import_prices(data)
        assert asked.value.options == (ticker, "MSFT")

    @pytest.mark.parametrize(("field", "value"), [("decimal", ";"), ("date_order", "backwards")])
    def test_choices_that_cannot_be(self, field, value):
        with pytest.raises(PriceError, match="cannot be"):
            Choices(**{field: value})
