"""What `export` wrote, as bytes again: out of a folder or a zip, within bounds, and never from outside of it."""

import io
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from pgcore.errors import BadInput

POLICY = "policy.safetensors"
# Bytes that are taken in of each file that is: more than a run comes to that trains for weeks on the longest prices.
LIMITS = {
    "config.json": 1_000_000,
    "run.json": 128_000_000,
    "records.csv": 2_000_000_000,
    "episodes.csv": 2_000_000_000,
    POLICY: 1_000_000_000,
    "evaluation.json": 256_000_000,
    "prices.csv": 2_000_000_000,
}
MAX_RATIO = 200  # of a file's size to that of the whole zip, beyond what does no harm: returns alone, all alike, pack better
HARMLESS = 128_000_000
MAX_ENTRIES = 100


def read_exported(source: str | Path | bytes, wanted: Collection[str] = LIMITS.keys()) -> dict[str, bytes]:
    """Name -> content of the wanted files in an exported folder, a zip file or the bytes of one; no other is unpacked.

    Raises BadInput for what cannot be read, is too large, or points outside its folder.
    """
    files: dict[str, bytes] = {}
    try:
        for name, size, stream in _entries(source, wanted):
            if name in files:
                raise BadInput(f"The exported run holds {name} twice: export it again.")
            files[name] = stream.read(size)
    except BadInput:
        raise
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise BadInput(f"This cannot be read as an exported run ({error}): give the folder or zip that export wrote.") from None
    return files


def too_large(name: str, size: int, zip_size: int | None = None) -> str | None:
    """In words, why a file of that size, in a zip of so many bytes, is not taken in; None where it is."""
    limit = LIMITS.get(name, size)
    if size > limit:
        return f"{name} is larger than {limit // 1_000_000:,} MB"
    if zip_size is not None and name in LIMITS and size > max(HARMLESS, MAX_RATIO * zip_size):
        return f"{name} is larger than {HARMLESS // 1_000_000:,} MB and more than {MAX_RATIO} times the whole zip"
    return None


def _entries(source: str | Path | bytes, wanted: Collection[str]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and stream of each, once it is known not to be too large."""
    if not isinstance(source, bytes) and Path(source).is_dir():
        for path in (Path(source) / name for name in wanted):
            if path.is_symlink():
                raise BadInput(f"{path.name} is a link to another place: give the folder that export wrote.")
            if path.is_file():
                with path.open("rb") as file:
                    yield path.name, _checked(path.name, path.stat().st_size), file
        return
    zip_size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
        if len(archive.infolist()) > MAX_ENTRIES:
            raise BadInput(f"The zip holds more than {MAX_ENTRIES} files: give the zip that export wrote.")
        for entry in archive.infolist():
            inside = PurePosixPath(entry.filename)
            is_link = stat.S_ISLNK(entry.external_attr >> 16)
            if inside.is_absolute() or ".." in inside.parts or is_link or any(c in entry.filename for c in "\\:\0"):
                raise BadInput(f"The zip points outside its folder ({entry.filename[:80]!r}): give the zip that export wrote.")
            if inside.name in wanted and len(inside.parts) <= 2 and not entry.is_dir():
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without bounds
                    raise BadInput(
                        "The zip is packed in a way that is not unpacked here: pack it again the ordinary way (deflate)."
                    )
                size = _checked(inside.name, entry.file_size, zip_size)  # not more than this is read, whatever is there
                with archive.open(entry) as file:
                    yield inside.name, size, file


def _checked(name: str, size: int, zip_size: int | None = None) -> int:
    if reason := too_large(name, size, zip_size):
        raise BadInput(f"The exported run is not taken in: {reason}.")
    return size
