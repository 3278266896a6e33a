"""What is no price table is refused quickly, each with its own sentence."""

import gzip
import io
import re
import tracemalloc
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.fuzz import lying_zip
from pgcore.market.csv_import import LIMIT_BYTES, import_prices
from pgcore.market.prices import PriceError
from tests.price_files import HTML_ERROR, JSON_ERROR, Dialect, base_series, workbook, zipped

BASE = base_series()


def _with_a_directory_before_its_beginning(archive):
    """A zip file whose end says that its directory is larger than the file."""
    end = archive.rindex(b"PK\x05\x06")
    return archive[: end + 12] + (1 << 20).to_bytes(4, "little") + archive[end + 16 :]


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
            (
                b"\xd0\xcf\x11\xe0" + bytes(500),
                r"old binary Excel file \(.xls\): open it in a spreadsheet and save it as .xlsx or CSV",
            ),
            (b"PK\x03\x04" + bytes(100), "packed file .* cannot be unpacked"),
            (_with_a_directory_before_its_beginning(zipped(b"Date,Close\n")), "packed file .* cannot be unpacked"),
            (b"\x1f\x8b" + bytes(100), "packed file is damaged"),
            (gzip.compress(Dialect().write(BASE))[:-30], "cut off"),
            (JSON_ERROR, 'JSON that says "The standard API rate limit is 25 requests per day."'),
            (HTML_ERROR, 'web page that says "503 Service Unavailable Try later"'),
            (b"No data", 'no table of dates and prices, only "No data"'),
            (b"Brak danych", 'only "Brak danych"'),
            (b"Date,Open,High,Low,Close,Volume\n", "column names .* but no rows"),
            (b"Open,High,Low,Close\n1.5,2.5,1.2,2\n1.6,2.4,1.1,2.2\n", "numbers but no dates"),
            (b"Open,High,Low,Close\n40000.5,41000,39000,40500\n40500,42000,40000,41000\n", "numbers but no dates"),
            (b"<html>" + b"<" * 60_000, "web page"),
            (b"Date,Name\n2024-01-02,a\n2024-01-03,b\n", "dates but no prices"),
            (b"Date,Close\n2024-01-02,\n2024-01-03,\n", "dates but no prices"),
            (b"Date,Close\n2024-01-02,1.5\n", "1 usable row; at least 2 are needed"),
            (b"Date,Close\n2024-01-02,1.5\n2024-01-03,1.5\n", "All 2 closes are 1.5"),
            (
                b"Date,Close\n2024-01-02,-1.5\n2024-01-03,1.5\n",
                r"close holds negative prices, first -1.5 on 2024-01-02 \(1 in all\)",
            ),
            (b"Date,Open,Close\n2024-01-02,0,1.5\n2024-01-03,1,1.6\n", "open holds zero prices, .* leave the open column out"),
            (b"Date,Close\nfoo,1.5\nbar,1.6\n", '"foo" is no date'),
            (b"Date,Close\n2024-13-45,1.5\n2024-14-45,1.6\n", '"2024-13-45" is no date'),
            (
                b"Date,Close\n2024-01-02,1.5\n2024-02-30,1.6\n2024-03-04,1.7\n",
                '1 of 3 dates cannot be read, the first is "2024-02-30"',
            ),
            (b"Date,Open,Close\n2024-01-02,1,5,1,6\n2024-01-03,1,7,1,8\n", "rows have 5 cells but the header has 3 names"),
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

    def test_a_column_of_endless_variety_is_no_price(self):
        days = np.datetime64("1850-01-01") + np.arange(60_300)
        prices = [f"{1 + i / 7:.3f}" for i in range(300)]
        odd = [f"1{i:016b}".replace("0", "a").replace("1", "b") + "1" for i in range(60_000)]
        rows = [f"{day},{cell}" for day, cell in zip(days, prices + odd, strict=True)]
        with pytest.raises(PriceError, match='60,300 cells of the column "Close" are no numbers'):
            import_prices("\n".join(["Date,Close", *rows]).encode())

    def test_fewer_rows_than_needed(self):
        with pytest.raises(PriceError, match="60 usable rows; at least 100 are needed"):
            import_prices(Dialect().write(BASE), least_rows=100)

    def test_a_workbook_with_a_cell_far_off_costs_nothing(self):
        content = io.BytesIO(workbook([["Date", "Close"], *([45293 + i, 1.5 + i] for i in range(5))]))
        with zipfile.ZipFile(content) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        sheet = files["xl/worksheets/sheet1.xml"].replace(
            b"</row></sheetData>", b'<c r="XFD1048576"><v>1</v></c></row></sheetData>'
        )
        files["xl/worksheets/sheet1.xml"] = sheet
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        assert import_prices(packed.getvalue()).series.close.tolist() == [1.5, 2.5, 3.5, 4.5]

    def test_a_text_that_stands_in_a_million_rows_of_a_parquet_file_is_not_unpacked(self):
        once = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int32)), pa.array(["x" * 100_000]))
        packed = io.BytesIO()
        pq.write_table(pa.table({"Date": once, "Close": np.arange(1_000_000.0)}), packed)
        with pytest.raises(PriceError, match="unpacks to more than 200 MB"):
            import_prices(packed.getvalue())

    @pytest.mark.parametrize(
        ("method", "sentence"),
        [
            (zipfile.ZIP_DEFLATED, r"cannot be unpacked \(Bad CRC"),
            (zipfile.ZIP_BZIP2, r"pack it again the ordinary way \(deflate\)"),
            (zipfile.ZIP_LZMA, r"pack it again the ordinary way \(deflate\)"),
        ],
    )
    @pytest.mark.parametrize("name", ["prices.csv", "xl/workbook.xml"])
    def test_a_zip_that_says_it_is_small_costs_no_more_than_it_says(self, name, method, sentence):
        bomb = lying_zip(name, method)
        tracemalloc.start()
        try:
            with pytest.raises(PriceError, match=sentence):
                import_prices(bomb)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert most < 2_000_000

    def test_a_damaged_zip_packed_by_lzma(self):
        whole = lying_zip("prices.csv", zipfile.ZIP_LZMA)
        with pytest.raises(PriceError, match="pack it again"):
            import_prices(whole[:45] + b"\xff" * 5 + whole[50:])

    def test_a_sheet_that_a_workbook_lists_many_times_is_read_once_or_refused(self):
        packed = io.BytesIO(workbook([["Date", "Close"], *([45293 + i, 1.5 + i] for i in range(5))]))
        with zipfile.ZipFile(packed, "a") as archive:
            archive.infolist().extend(archive.infolist() * 20)
            archive.comment = b"written anew, with its directory"
        try:
            outcome = import_prices(packed.getvalue()).report.encoding
        except PriceError as error:  # Python 3.11.8 and later, and patched earlier ones, do not open it
            outcome = str(error)
        assert re.search("^Excel workbook$|Overlapped entries", outcome)

    def test_a_workbook_that_counts_from_1904(self):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("xl/workbook.xml", '<workbook><workbookPr date1904="1"/></workbook>')
        with pytest.raises(PriceError, match="1904"):
            import_prices(packed.getvalue())
