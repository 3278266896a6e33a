"""Columns of a table out of its text, at full speed: numbers that are plain come as floats, the rest as text."""

import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from pgcore.market.file_text import LONGEST_LINE
from pgcore.market.header import kind
from pgcore.market.layout import Layout, split
from pgcore.market.numbers import MISSING_MARKS, is_missing
from pgcore.market.prices import PriceError

_PLAIN = {mark: re.compile(rf"\s*-?\d+(?:{re.escape(mark)}\d*)?(?:[eE][-+]?\d+)?\s*") for mark in ".,"}
_EPOCH = re.compile(r"\d{10}|\d{13}|\d{16}|\d{19}")
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?")
ReadColumns = dict[int, Any]  # by column: a NumPy array of values, or a pyarrow ChunkedArray of text
_MOST_SKIPPED = 1000
_NUMPY = {pa.float64(): "f8", pa.int64(): "i8", pa.timestamp("us"): "M8[us]"}


@dataclass(frozen=True, eq=False)
class Columns:
    """What was read: arrays [T] for what is plain, else text; and lines left out."""

    read: ReadColumns
    left_out: tuple[str, ...] = ()


def _is_plain(sample: Collection[str], decimal: str) -> bool:
    """Whether cells are numbers that need no cleaning."""
    return all(_PLAIN[decimal].fullmatch(cell) or is_missing(cell) for cell in sample)


def read_columns(
    layout: Layout, texts: Collection[int], date: int | None = None, numbers: Collection[int] = (), decimal: str | None = None
) -> Columns:
    """These columns of all rows: `texts` as text; `date` and `numbers` as values where the sample shows that they are plain.

    A plain date is an ISO date, or a whole number that counts seconds or parts of them. No number is read as a value unless
    `decimal` is known. Rows with fewer cells than the header are filled up, rows with more are left out. Raises PriceError.
    """
    rewritten = not (layout.regular and layout.quoted and layout.delimiter.strip(" "))
    layout = _rewritten(layout) if rewritten else layout
    columns = dict.fromkeys((*texts, *(() if date is None else (date,)), *numbers), pa.string())
    types = dict(columns)
    if date is not None and all(_ISO.fullmatch(cell) for cell in layout.sample_of(date)):
        types[date] = pa.timestamp("us")
    elif date is not None and all(_EPOCH.fullmatch(cell) for cell in layout.sample_of(date)):
        types[date] = pa.int64()
    if decimal is not None:
        types |= {column: pa.float64() for column in numbers if _is_plain(layout.sample_of(column), decimal)}
    for attempt in (types, columns):
        try:
            found = _stream(layout, attempt, decimal or ".")
            break
        except pa.ArrowInvalid as error:
            problem = error
    else:
        if "straddl" in str(problem):
            raise PriceError(f"A line of the file is longer than {LONGEST_LINE // 2**20} MB: it is no price table.") from None
        if rewritten:
            raise PriceError("The rows of the file cannot be told apart: check its quotation marks.") from None
        return read_columns(replace(layout, regular=False), texts, date, numbers, decimal)
    if not rewritten and any(_has_date(line, layout) for line in found.left_out):
        return read_columns(replace(layout, regular=False), texts, date, numbers, decimal)
    return found


def _stream(layout: Layout, types: dict[int, pa.DataType], decimal: str) -> Columns:
    """One pass in batches of about a megabyte, so that the table never stands in memory twice."""
    left_out: list[str] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        if len(left_out) < _MOST_SKIPPED:
            left_out.append(row.text)
        return "skip"

    names = [str(i) for i in range(layout.width)]
    reader = pyarrow.csv.open_csv(
        pa.py_buffer(layout.data),
        read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=LONGEST_LINE),
        parse_options=pyarrow.csv.ParseOptions(delimiter=layout.delimiter, invalid_row_handler=skip),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={str(column): type_ for column, type_ in types.items()},
            include_columns=[str(column) for column in types],
            null_values=["", *MISSING_MARKS],
            decimal_point=decimal,
        ),
        memory_pool=pa.system_memory_pool(),
    )
    expected = _likely_lines(layout.data)
    texts: dict[int, list[pa.Array]] = {column: [] for column, type_ in types.items() if type_ == pa.string()}
    values = {column: np.empty(expected, _NUMPY[type_]) for column, type_ in types.items() if type_ in _NUMPY}
    rows = 0
    for batch in reader:
        for column in texts:
            texts[column].append(batch.column(str(column)))
        for column, array in values.items():
            if array.dtype.kind == "i" and batch.column(str(column)).null_count:
                raise pa.ArrowInvalid("a whole number is missing")
            if rows + len(batch) > len(array):
                values[column] = np.concatenate([array, np.empty(rows // 4 + len(batch), array.dtype)])
            values[column][rows : rows + len(batch)] = batch.column(str(column)).to_numpy(zero_copy_only=False)
        rows += len(batch)
    read: ReadColumns = {column: pa.chunked_array(pieces, pa.string()) for column, pieces in texts.items()}
    return Columns(read | {column: array[:rows] for column, array in values.items()}, tuple(left_out))


def _likely_lines(data: memoryview) -> int:
    """About how many lines the text has, rather too many than too few, from its beginning."""
    head = bytes(data[: LONGEST_LINE // 4])
    ends = max(head.count(b"\n"), head.count(b"\r")) + 1
    return int(1.03 * ends * len(data) / max(len(head), 1)) + 100


def _has_date(line: str, layout: Layout) -> bool:
    row = next((row for row, _ in split([line], layout.delimiter)), [])
    at = layout.date
    return len(row) > max(at) and kind(" ".join(row[i] for i in at)) == "date" and kind(row[0]) != "word"


def _rewritten(layout: Layout) -> Layout:
    """The same table as tab-separated text of even width, each line read on its own."""
    buffer = io.BytesIO()
    for lines in _lines(layout.data):
        text = io.StringIO()
        writer = csv.writer(text, delimiter="\t", lineterminator="\n")
        for row, _ in split(lines, layout.delimiter, layout.quoted):
            kept = row[: layout.width] if not any(row[layout.width :]) else row
            if len(kept) > 1 or layout.width == 1:
                writer.writerow(kept + [""] * (layout.width - len(kept)))
        buffer.write(text.getvalue().encode())
    return replace(layout, data=memoryview(buffer.getvalue()), delimiter="\t", quoted=True, regular=True)


def _lines(data: memoryview) -> Iterator[list[str]]:
    stream = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace", newline=None)
    while lines := stream.readlines(LONGEST_LINE):
        yield [line.rstrip("\n") for line in lines]
