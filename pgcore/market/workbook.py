"""Excel workbooks (.xlsx) and Parquet files as CSV text, so that the rules for text files read them too."""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree

import pyarrow as pa

from pgcore.market.prices import PriceError

_MOST_CELLS = 10_000_000
_COLUMNS = 16_384


def read_workbook(archive: zipfile.ZipFile) -> tuple[bytes, str]:
    """The first sheet that holds a table as CSV, and a note where there were others to choose from.

    Dates come out as Excel's serial days. Read with the standard library: sizes are bounded by the caller, a cell far off at
    the edge of the sheet costs nothing, and no formula is ever evaluated. Raises PriceError for damaged workbooks.
    """
    try:
        if re.search(rb'date1904="(?:1|true)"', archive.read("xl/workbook.xml")):
            raise PriceError(
                "The workbook counts days from 1904, as old Mac versions of Excel did: save it as CSV and give that."
            )
        names = archive.namelist()
        texts = _shared_texts(archive) if "xl/sharedStrings.xml" in names else []
        sheets = sorted((n for n in names if re.fullmatch(r"xl/worksheets/[^/]+\.xml", n)), key=_number_in)
        tables = [rows for sheet in sheets if len(rows := list(_rows(archive, sheet, texts))) > 1]
    except (ElementTree.ParseError, KeyError, IndexError, ValueError) as error:
        if isinstance(error, PriceError):
            raise
        raise PriceError(f"The workbook is damaged ({error}): save it as CSV and give that file.") from None
    if not tables:
        raise PriceError("The workbook holds no table: none of its sheets has two rows.")
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(tables[0])
    return buffer.getvalue().encode(), f"first of {len(tables)} sheets" if len(tables) > 1 else ""


def _number_in(name: str) -> int:
    return int("".join(re.findall(r"\d", name)) or 0)


def _elements(archive: zipfile.ZipFile, name: str, tag: str) -> Iterator[ElementTree.Element]:
    """Each element of this name, freed after use."""
    with archive.open(name) as stream:
        events = ElementTree.iterparse(stream, events=("start", "end"))
        _, root = next(events)
        for event, element in events:
            if event == "end" and element.tag.rpartition("}")[2] == tag:
                yield element
                root.clear()


def _shared_texts(archive: zipfile.ZipFile) -> list[str]:
    return [_text(element) for element in _elements(archive, "xl/sharedStrings.xml", "si")]


def _text(element: ElementTree.Element) -> str:
    """The text of a cell, its phonetic guides left out."""
    parts = [part for part in element if part.tag.rpartition("}")[2] != "rPh"]
    found = [node.text or "" for part in parts for node in part.iter() if node.tag.rpartition("}")[2] == "t"]
    return " ".join("".join(found).split())


def _rows(archive: zipfile.ZipFile, sheet: str, texts: list[str]) -> Iterator[list[str]]:
    cells = 0
    for row in _elements(archive, sheet, "row"):
        values: list[str] = []
        for cell in row:
            column = _column(cell.get("r", ""), len(values))
            values.extend([""] * (column - len(values)))
            values.append(_value(cell, texts))
        cells += len(values)
        if cells > _MOST_CELLS:
            raise PriceError(f"The workbook has more than {_MOST_CELLS:,} cells: save the sheet with the prices as CSV.")
        if any(values):
            yield values


def _column(reference: str, default: int) -> int:
    letters = re.match("[A-Z]{1,3}", reference)
    if letters is None:
        return default
    number = 0
    for letter in letters[0]:
        number = number * 26 + ord(letter) - 64
    return min(max(number - 1, default), _COLUMNS)


def _value(cell: ElementTree.Element, texts: list[str]) -> str:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return _text(cell)
    value = next((node.text or "" for node in cell if node.tag.rpartition("}")[2] == "v"), "")
    return texts[int(value)] if kind == "s" and value else value


def read_parquet(data: bytes, limit: int) -> bytes:
    """A Parquet file as CSV; its size is checked before it is unpacked. Raises PriceError."""
    import pyarrow.csv
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(pa.py_buffer(data))
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        if (
            sum(group.total_byte_size for group in groups) > limit
            or file.metadata.num_rows * file.metadata.num_columns > 5 * 10**7
        ):
            raise PriceError(f"The Parquet file unpacks to more than {limit // 2**20} MB: cut it to what you need.")
        table = file.read()
        names = ["" if name.startswith("__index_level") else name for name in table.column_names]
        table = table.rename_columns([name or f"index {i}" for i, name in enumerate(names)])
        buffer = io.BytesIO()
        pyarrow.csv.write_csv(table, buffer)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise PriceError(f"The Parquet file cannot be read ({str(error)[:100]}): write the prices as CSV.") from None
    return buffer.getvalue()
