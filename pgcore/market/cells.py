"""Cells of a text column, grouped by shape: what all cells of one shape mean is worked out once, then computed for all at once.

The shape of a cell is the cell with every digit replaced by 0: `1,234.50` and `9,876.54` have the shape `0,000.00`. A
column of a million prices or dates has a few dozen shapes, so the rules that read them can be plain Python.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pgcore.market.prices import PriceError

IntArray = NDArray[np.int64]
BLANKS = " \t\u00a0\u2007\u2009\u202f\u3000"
LONGEST_CELL = 80
MOST_SHAPES = 50_000
_TO_SHAPE = np.frombuffer(bytes.maketrans(b"123456789", b"000000000"), np.uint8)


class NeedsChoice(PriceError):
    """The file can be read in more than one way, and only the person knows which.

    `choice` names the field of Choices that settles it, `options` are the values it can take.
    """

    def __init__(self, sentence: str, choice: str, options: Iterable[str]) -> None:
        super().__init__(sentence)
        self.choice = choice
        self.options = tuple(options)


@dataclass(frozen=True, eq=False)
class Cells:
    """T cells of UTF-8 text: their bytes, where each starts [T], and the index of each one's shape [T]."""

    content: NDArray[np.uint8]
    starts: IntArray
    codes: NDArray[np.int32]
    shapes: tuple[str, ...]

    @classmethod
    def of(cls, column: pa.ChunkedArray | pa.StringArray | list[str]) -> "Cells":
        """Cells of a text column that has no nulls. A column of endless variety (no prices, no dates) has no shapes at all."""
        if isinstance(column, list):
            column = pa.array(column, pa.string())
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())
        if not len(column):
            return cls(np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int32), ())
        _, offset_buffer, content_buffer = column.buffers()
        content = np.frombuffer(content_buffer or b"", np.uint8)
        starts = np.frombuffer(offset_buffer, np.int32)[column.offset : column.offset + len(column)].astype(np.int64)
        masked = pa.StringArray.from_buffers(len(column), offset_buffer, pa.py_buffer(_TO_SHAPE[content]), offset=column.offset)
        encoded = masked.dictionary_encode()
        shapes = tuple(encoded.dictionary.to_pylist()) if len(encoded.dictionary) <= MOST_SHAPES else ()
        codes = encoded.indices.to_numpy() if shapes else np.full(len(column), -1, np.int32)
        return cls(content, starts, codes, shapes)

    def __len__(self) -> int:
        return self.starts.size

    def groups(self) -> Iterator[tuple[str, IntArray]]:
        """Each shape with the rows that have it."""
        if len(self.shapes) == 1:
            yield self.shapes[0], np.arange(len(self))
        elif self.shapes:
            order = np.argsort(self.codes, kind="stable")
            ends = np.cumsum(np.bincount(self.codes, minlength=len(self.shapes)))
            yield from zip(self.shapes, np.split(order, ends[:-1]), strict=True)

    def number(self, rows: IntArray, places: Iterable[int]) -> IntArray:
        """The whole number that the digits at these byte places of the cells spell, [rows]."""
        value = np.zeros(rows.size, np.int64)
        starts = self.starts[rows]
        for place in places:
            value = value * 10 + (self.content[starts + place].astype(np.int64) - 48)
        return value

    def text(self, row: int) -> str:
        """One cell as it stands in the file."""
        length = len(self.shapes[self.codes[row]].encode()) if self.codes[row] >= 0 else LONGEST_CELL
        start = self.starts[row]
        return self.content[start : start + length].tobytes().decode(errors="replace")


def shape_of(text: str) -> str:
    """The shape of one cell."""
    return text.translate(_TEXT_TO_SHAPE)


def byte_places(shape: str) -> list[int]:
    """Where in the UTF-8 bytes each character of the shape starts."""
    if shape.isascii():
        return list(range(len(shape)))
    places, place = [], 0
    for character in shape:
        places.append(place)
        place += len(character.encode())
    return places


_TEXT_TO_SHAPE = str.maketrans("123456789", "000000000")
