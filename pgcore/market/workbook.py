"""Excel workbooks (.xlsx) and Parquet files as CSV text, so that the rules for text files read them too."""

import csv
import html
import io
import re
import zipfile
from collections.abc import Iterator

import pyarrow as pa

from pgcore.market.prices import PriceError

_MOST_CELLS = 6_000_000
_MOST_PARQUET_CELLS = 30_000_000
_LONGEST_ROW = 2**20
_COLUMNS = 16_384
_PLACE = re.compile(r'\br="([A-Z]{1,3})\d')
_TYPE = re.compile(r'\bt="(\w+)"')
_VALUE = re.compile(r"<(?:\w+:)?v(?:\s[^>]*)?>([^<]*)<")
_TEXT = re.compile(r"<(?:\w+:)?t(?:\s[^>]*)?>([^<]*)<")
_READING_AID = re.compile(r"<(?:\w+:)?rPh\b.*?</(?:\w+:)?rPh>", re.DOTALL)


def unpack(archive: zipfile.ZipFile, name: str) -> bytes:
    """An entry of a zip file, never more of it than the directory says. Raises PriceError where it is not packed by deflate."""
    entry = archive.getinfo(name)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile unpacks all others without bounds
        raise PriceError(
            "The file is packed in a way that is not unpacked here: pack it again the ordinary way (deflate), or unpack it."
        )
    with archive.open(entry) as file:
        return file.read(entry.file_size)  # told no size, zipfile unpacks up to 2 GB before it looks at what the directory says


def read_workbook(archive: zipfile.ZipFile) -> tuple[bytes, str]:
    """The first sheet that holds a table as CSV, and a note where there were others to choose from.

    Dates come out as Excel's serial days. The few parts of the XML that hold values are picked out as text: that takes no
    dependency and a tenth of the time of an XML parser; no formula is evaluated, and a cell far off at the edge of the sheet
    costs nothing. The caller bounds what is unpacked. Raises PriceError for damaged workbooks.
    """
    try:
        if re.search(rb'date1904="(?:1|true)"', unpack(archive, "xl/workbook.xml")):
            raise PriceError(
                "The workbook counts days from 1904, as old Mac versions of Excel did: save it as CSV and give that."
            )
        names = dict.fromkeys(archive.namelist())  # one name may stand there many times
        texts = _shared_texts(archive) if "xl/sharedStrings.xml" in names else []
        sheets = sorted((name for name in names if re.fullmatch(r"xl/worksheets/[^/]+\.xml", name)), key=_number_in)
        tables = [rows for sheet in sheets if len(rows := list(_rows(archive, sheet, texts))) > 1]
    except PriceError:
        raise
    except (KeyError, IndexError, ValueError) as error:
        raise PriceError(f"The workbook is damaged ({error}): save it as CSV and give that file.") from None
    if not tables:
        raise PriceError("The workbook holds no table: none of its sheets has two rows.")
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(tables[0])
    return buffer.getvalue().encode(), f"first of {len(tables)} sheets" if len(tables) > 1 else ""


def _number_in(name: str) -> int:
    return int("".join(re.findall(r"\d", name)) or 0)


def _pieces(archive: zipfile.ZipFile, name: str, tag: str) -> Iterator[str]:
    """The text up to the end of each element of this name."""
    text = unpack(archive, name).decode()
    prefix = re.search(rf"</(\w+:)?{tag}>", text)
    end = prefix[0] if prefix else f"</{tag}>"
    start = 0
    while (stop := text.find(end, start)) >= 0:
        if stop - start > _LONGEST_ROW:
            raise PriceError("A row of the workbook is longer than 1 MB: it is no price table.")
        yield text[start:stop]
        start = stop + len(end)


def _shared_texts(archive: zipfile.ZipFile) -> list[str]:
    return [_text(_READING_AID.sub("", piece)) for piece in _pieces(archive, "xl/sharedStrings.xml", "si")]


def _text(piece: str) -> str:
    return html.unescape(" ".join("".join(_TEXT.findall(piece)).split()))


def _rows(archive: zipfile.ZipFile, sheet: str, texts: list[str]) -> Iterator[list[str]]:
    """The cells of each row that holds any."""
    cells = 0
    for piece in _pieces(archive, sheet, "row"):
        values: list[str] = []
        for cell in re.split(r"<(?:\w+:)?c\s", piece)[1:]:
            attributes, _, content = cell.partition(">")
            place = _PLACE.search(attributes)
            values.extend([""] * (_column(place[1]) - len(values) if place else 0))
            values.append(_value(attributes, content, texts))
        cells += len(values)
        if cells > _MOST_CELLS:
            raise PriceError(f"The workbook has more than {_MOST_CELLS:,} cells: save the sheet with the prices as CSV.")
        if any(values):
            yield values


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return min(number - 1, _COLUMNS)


def _value(attributes: str, content: str, texts: list[str]) -> str:
    if attributes.endswith("/"):
        return ""
    kind = _TYPE.search(attributes)
    if kind and kind[1] == "inlineStr":
        return _text(content)
    value = _VALUE.search(content)
    if value is None:
        return ""
    return texts[int(value[1])] if kind and kind[1] == "s" else html.unescape(value[1])


def read_parquet(data: bytes, limit: int) -> bytes:
    """A Parquet file as CSV. What it unpacks to is bounded before it is unpacked. Raises PriceError."""
    import pyarrow.csv
    import pyarrow.parquet

    too_large = PriceError(f"The Parquet file unpacks to more than {limit // 2**20} MB: cut it to what you need.")
    try:
        texts = [field.name for field in pyarrow.parquet.read_schema(pa.py_buffer(data)) if _is_text(field.type)]
        file = pyarrow.parquet.ParquetFile(pa.py_buffer(data), read_dictionary=texts)
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        cells = file.metadata.num_rows * file.metadata.num_columns
        if sum(group.total_byte_size for group in groups) > limit or cells > _MOST_PARQUET_CELLS:
            raise too_large
        table = file.read([field.name for field in file.schema_arrow if _is_text(field.type) or _is_value(field.type)])
        for i, field in enumerate(table.schema):
            if _is_text(field.type):  # one long text may stand in the dictionary once and in a million rows
                longest = max((len(text or "") for c in table[i].chunks for text in c.dictionary.to_pylist()), default=0)
                if longest * len(table) > limit:
                    raise too_large
                table = table.set_column(i, field.name, table[i].cast(pa.string()))
        table = table.rename_columns(["" if name.startswith("__index_level") else name for name in table.column_names])
        buffer = io.BytesIO()
        pyarrow.csv.write_csv(table, buffer)
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError, MemoryError) as error:
        raise PriceError(f"The Parquet file cannot be read ({str(error)[:100]}): write the prices as CSV.") from None
    return buffer.getvalue()


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_value(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_date, pa.types.is_timestamp)
    )
