"""Bytes of any price file into UTF-8 text: unpacking, decoding, and saying what a file is that is no table."""

import codecs
import html
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pgcore.market.column_names import meaning
from pgcore.market.header import kind
from pgcore.market.prices import PriceError
from pgcore.market.workbook import read_parquet, read_workbook, unpack

LIMIT_BYTES = 200 * 2**20
LONGEST_LINE = 2**20
_HEAD = 2**16
_PIECE = 2**20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WESTERN = "cp1252 cp1250 cp1251 cp1254 cp1253 cp1255 cp1256 cp1257 cp874 koi8-r cp866 cp850 mac-roman"
_EASTERN = "gb18030 big5 cp949 cp932 euc-jp"
_EMPTY = codecs.BOM_UTF8 + b" \t\r\n"
_PAGE = re.compile(
    r"<(?:!doctype|html|head|body|\?xml|title|table|div|script|meta|p|h1|pre|center|!--|br|error)\b", re.IGNORECASE
)
_PAGE_HEAD = 8192
_TELLING_LINES, _TELLING_CELLS = 30, 400
_BINARY_DATA = "The file is not text: it holds binary data. Save the prices as CSV and give that file."
# Full-width and other digits and marks as ASCII; marks of writing direction dropped.
_TIDY: dict[int, str | None] = {0xFF01 + i: chr(0x21 + i) for i in range(94)}
_TIDY |= {zero + i: str(i) for zero in (0x660, 0x6F0, 0x966, 0xE50) for i in range(10)}
_TIDY |= {0x66B: ".", 0x66C: ",", 0x2028: "\n"} | dict.fromkeys((0x200E, 0x200F, 0x202A, 0x202C, 0xFEFF))
_OTHER_FORMS = re.compile("[" + "".join(chr(c) for c in _TIDY) + "]+")
_UNPACK = "It is a packed file of a kind that is not unpacked here: unpack it and give the CSV file inside."
_PICTURE = "It is a picture: prices cannot be read out of it."
_BINARY = {
    b"\xd0\xcf\x11\xe0": "It is an old binary Excel file (.xls): open it in a spreadsheet and save it as .xlsx or CSV.",
    b"%PDF": "It is a PDF document: prices cannot be read out of it. Look for a CSV download instead.",
    b"\x89PNG": _PICTURE,
    b"\xff\xd8\xff": _PICTURE,
    b"GIF8": _PICTURE,
    b"7z\xbc\xaf": _UNPACK,
    b"Rar!": _UNPACK,
    b"BZh": _UNPACK,
    b"\xfd7zXZ": _UNPACK,
    b"\x28\xb5\x2f\xfd": _UNPACK,
    b"SQLite format 3": "It is a database: export the prices as CSV.",
    b"\x93NUMPY": "It is a NumPy file: write the prices as CSV.",
    b"\x80\x04\x95": "It is a Python pickle, which is never opened here because it could run code: write the prices as CSV.",
}


@dataclass(frozen=True, eq=False)
class FileText:
    """The text of a file as UTF-8 bytes, the encoding it was in, and what had to be done to get at it.

    `decimal` is "." where the file held true numbers (a workbook, Parquet), so that no mark is left to guess.
    """

    data: bytes | memoryview
    encoding: str
    notes: tuple[str, ...] = ()
    decimal: str | None = None


def open_text(data: bytes, filename: str = "") -> FileText:
    """The text in a file. Raises PriceError for what is empty, too large, binary, or an error page saved as a file."""
    if len(data) > LIMIT_BYTES:
        raise PriceError(f"The file is larger than {LIMIT_BYTES // 2**20} MB: cut it to the years or the ticker you need.")
    if data[:2] == b"\x1f\x8b":
        unpacked = open_text(_gunzip(data), filename.removesuffix(".gz"))
        return FileText(unpacked.data, unpacked.encoding, ("unpacked from gzip", *unpacked.notes), unpacked.decimal)
    if data[:4] == b"PK\x03\x04":
        return _open_zip(data)
    if data[:4] == b"PAR1":
        return FileText(read_parquet(data, LIMIT_BYTES), "Parquet", (), ".")
    for mark, sentence in _BINARY.items():
        if data.startswith(mark):
            raise PriceError(f"The file is not a table of text. {sentence}")
    return _decode(data)


def _gunzip(data: bytes) -> bytes:
    """Unpacks, but stops where no honest text would be packed so small."""
    limit = min(LIMIT_BYTES, 300 * len(data) + _PIECE)
    unpacked = bytearray()
    rest = data
    try:
        while rest[:2] == b"\x1f\x8b":
            stream = zlib.decompressobj(31)
            while not stream.eof:
                piece = stream.decompress(rest, _PIECE)
                if not unpacked and not piece.startswith(tuple(bom for bom, _ in _BOMS)):
                    _refuse_binary(piece[:_HEAD])
                unpacked += piece
                rest = stream.unconsumed_tail
                if len(unpacked) > limit:
                    raise PriceError(f"The packed file unpacks to more than {limit // 2**20} MB: it is too large or no table.")
                if not stream.eof and not rest:
                    raise PriceError("The packed file is cut off: it was not downloaded in full.")
            rest = stream.unused_data
    except zlib.error as error:
        raise PriceError(f"The packed file is damaged ({error}): download it again.") from None
    return bytes(unpacked)


def _open_zip(data: bytes) -> FileText:
    """A workbook, or a zip file with one file in it. Sizes are checked in the directory before anything is unpacked."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        files = [entry for entry in archive.infolist() if not entry.is_dir() and not entry.filename.startswith("__MACOSX")]
        if sum(entry.file_size for entry in files) > min(LIMIT_BYTES, 300 * len(data) + _PIECE):
            raise PriceError(f"The packed file unpacks to more than {LIMIT_BYTES // 2**20} MB: it is too large or no table.")
        names = {entry.filename for entry in files}
        if "xl/workbook.xml" in names:
            text, note = read_workbook(archive)
            return FileText(text, "Excel workbook", (note,) if note else (), ".")
        if "[Content_Types].xml" in names or "mimetype" in names or len(files) != 1:
            listed = ", ".join(sorted(names)[:3]) or "nothing"
            raise PriceError(f"The file is a packed file that holds {listed}: unpack it and give one CSV or .xlsx file.")
        inner = unpack(archive, files[0].filename)
    except PriceError:
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise PriceError(f"The file is a packed file (PK…) that cannot be unpacked ({error}): unpack it yourself.") from None
    if inner[:2] in (b"\x1f\x8b", b"PK"):
        raise PriceError("The file is a packed file inside a packed file: unpack it and give the CSV file inside.")
    opened = open_text(inner, files[0].filename)
    return FileText(opened.data, opened.encoding, (f"unpacked {files[0].filename} from zip", *opened.notes), opened.decimal)


def _decode(data: bytes) -> FileText:
    """Byte-order mark, ASCII, UTF-16 without a mark, then the likeliest of the others."""
    data = data.rstrip(b"\x1a")
    if not data[:4096].strip(_EMPTY) and not data.strip(_EMPTY):
        raise PriceError("The file is empty: there is nothing in it to read.")
    marked = next(((encoding, len(bom)) for bom, encoding in _BOMS if data.startswith(bom)), None)
    unmarked = _wide_encoding(data[:4096])
    if marked is None and not unmarked:
        _refuse_binary(data[:_HEAD])
        if data.isascii():
            _refuse_pages(data[:_HEAD].decode())
            return FileText(data, "ascii")
        for encoding in _likely_encodings(data):
            try:
                return _as_text(data, encoding, 0, encoding)
            except UnicodeDecodeError:
                continue
    encoding, start = marked or (unmarked or "cp1252", 0)
    name = f"{encoding} with byte-order mark" if marked else encoding
    try:
        return _as_text(data, encoding, start, name)
    except UnicodeDecodeError:
        text = data[start:].decode(encoding, errors="replace")
        _refuse_non_text(text[:_HEAD])
        if (broken := text.count("\ufffd")) > 0.01 * len(text) + 1:
            raise PriceError(_BINARY_DATA) from None
        return FileText(text.encode(errors="replace"), name, (f"{broken} broken characters left out",))


def _as_text(data: bytes, encoding: str, start: int, name: str) -> FileText:
    """The text of the file, decoded in pieces so that a large file never stands in memory as a string.

    UTF-8 that needs no tidying is handed on as it is. Raises UnicodeDecodeError.
    """
    if encoding == "utf-8" and not any(_OTHER_FORMS.search(piece) for piece in _decoded(data, encoding, start)):
        _refuse_non_text(memoryview(data)[start : start + _HEAD].tobytes().decode(errors="replace"))
        return FileText(memoryview(data)[start:], name)
    text = bytearray()
    for piece in _decoded(data, encoding, start):
        if not text:
            _refuse_non_text(piece[:_HEAD])
        text += _OTHER_FORMS.sub(lambda found: found[0].translate(_TIDY), piece).encode(errors="replace")
    return FileText(bytes(text), name)


def _decoded(data: bytes, encoding: str, start: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    view = memoryview(data)
    for at in range(start, len(data), _PIECE):
        yield decoder.decode(view[at : at + _PIECE])
    yield decoder.decode(b"", final=True)


def _refuse_non_text(head: str) -> None:
    if "\x00" in head or sum(c < " " and c not in "\t\r\n\x0b\x0c\x1a" for c in head) > 0.001 * len(head) + 1:
        raise PriceError(_BINARY_DATA)
    _refuse_pages(head)


def _refuse_binary(head: bytes) -> None:
    """Tells binary data by its control bytes."""
    controls = len(head) - len(head.translate(None, bytes((*range(9), *range(14, 26), *range(27, 32)))))
    if controls > 0.001 * len(head) + 1 and not _wide_encoding(head[:4096]):
        raise PriceError(_BINARY_DATA)


def _wide_encoding(head: bytes) -> str:
    """UTF-16 or UTF-32 without a mark: every other byte of its digits and marks is zero."""
    if len(head) < 16:
        return ""
    zeros = [head[i::4].count(0) / len(head[i::4]) for i in range(4)]
    if min(zeros[2], zeros[3]) > 0.9 and zeros[1] > 0.5:
        return "utf-32-le"
    if min(zeros[0], zeros[1]) > 0.9 and zeros[2] > 0.5:
        return "utf-32-be"
    even, odd = (zeros[0] + zeros[2]) / 2, (zeros[1] + zeros[3]) / 2
    if odd > 0.5 and even < 0.05:
        return "utf-16-le"
    return "utf-16-be" if even > 0.5 and odd < 0.05 else ""


def _likely_encodings(data: bytes) -> list[str]:
    """Candidate encodings, the one under which most cells of the first lines make sense first.

    Among equals, UTF-8 is first (which fits other text only by chance, as `77Ԫ` for the `77元` of GBK), and Eastern
    encodings come next only where bytes above 127 come in pairs: western accents stand alone.
    """
    head = data[:_HEAD]
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", head)]
    paired = bool(runs) and sum(run == 1 for run in runs) < 0.2 * len(runs)
    order = f"{_EASTERN} {_WESTERN}" if paired else f"{_WESTERN} {_EASTERN}"
    return sorted(f"utf-8 {order}".split(), key=lambda encoding: -_understood(head, encoding))


def _understood(head: bytes, encoding: str) -> float:
    """How many cells that are not ASCII are names, dates or numbers under this encoding; odd characters count against it.

    Names alone would not do: `Date;Close` may stand above `20 ноя 2023;1,5 руб.`.
    """
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)  # the head may end within a character
    except UnicodeDecodeError:
        return -1.0
    telling = [line for line in re.split("[\r\n]+", text) if not line.isascii()][:_TELLING_LINES]
    cells = [cell for cell in re.split(r"[,;\t|\n]| {2,}", "\n".join(telling))[:_TELLING_CELLS] if not cell.isascii()]
    odd = len(re.findall(r"[\x80-\x9f\ue000-\uf8ff]", text))
    return sum(_makes_sense(cell) for cell in cells) - 0.01 * odd


def _makes_sense(cell: str) -> bool:
    looks = kind(cell)
    return looks not in ("word", "odd") or (looks == "word" and bool(meaning(cell).role))


def _refuse_pages(head: str) -> None:
    """An error message saved as a file is shown as what it says."""
    start = head.lstrip("\ufeff \t\r\n")
    if start[:1] == "{" or re.match(r"\[\s*[\[{\"\]]", start):
        said = _quoted(_json_message(start))
        raise PriceError(f"The file is not a table but an answer in JSON{said}. Download the prices as CSV.")
    if _PAGE.match(start):
        text = re.sub(r"(?is)<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", start[:_PAGE_HEAD])
        said = _quoted(" ".join(html.unescape(text).split()))
        raise PriceError(f"The file is not a table but a web page{said}. Download the prices as CSV.")


def _quoted(message: str) -> str:
    message = "".join(c for c in message if c.isprintable())
    return f' that says "{message[:160]}{"…" if len(message) > 160 else ""}"' if message else ""


def _json_message(text: str) -> str:
    """The longest sentence in the JSON, which is what it has to say; the beginning where it cannot be parsed."""
    try:
        pending, sentences = [json.loads(text)], [""]
    except (ValueError, RecursionError):
        return re.sub(r"\s+", " ", text[:160])
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            sentences.append(item)
        elif isinstance(item, dict | list):
            pending.extend(item.values() if isinstance(item, dict) else item)
    return max(sentences, key=len)
