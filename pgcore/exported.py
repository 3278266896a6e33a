"""What `export` wrote, as bytes again: out of a folder or a zip, within bounds, and never from outside of it."""

import io
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
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
MAX_RATIO = 200  # of all files together to the whole zip, beyond what does no harm: returns alone, all alike, pack better
HARMLESS = 32_000_000
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


def too_large(sizes: Mapping[str, int], zip_size: int | None = None) -> str | None:
    """In words, why files of such sizes, in a zip of so many bytes, are not taken in; None where they are."""
    sizes = {name: size for name, size in sizes.items() if name in LIMITS}
    for name, size in sizes.items():
        if size > LIMITS[name]:
            return f"{name} is larger than {LIMITS[name] // 1_000_000:,} MB"
    if zip_size is not None and sum(sizes.values()) > max(HARMLESS, MAX_RATIO * zip_size):
        return f"it unpacks to more than {HARMLESS // 1_000_000:,} MB and {MAX_RATIO} times its size"
    return None


def _entries(source: str | Path | bytes, wanted: Collection[str]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and stream of each, once it is known not to be too large."""
    if not isinstance(source, bytes) and Path(source).is_dir():
        for path in (Path(source) / name for name in wanted):
            if path.is_symlink():
                raise BadInput(f"{path.name} is a link to another place: give the folder that export wrote.")
            if path.is_file():
                size = path.stat().st_size
                _check({path.name: size})
                with path.open("rb") as file:
                    yield path.name, size, file
        return
    zip_size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
        sizes: dict[str, int] = {}
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
                sizes[inside.name] = sizes.get(inside.name, 0) + entry.file_size
                _check(sizes, zip_size)
                with archive.open(entry) as file:
                    yield inside.name, entry.file_size, file  # not more than this is read, whatever is there


def _check(sizes: Mapping[str, int], zip_size: int | None = None) -> None:
    if reason := too_large(sizes, zip_size):
        raise BadInput(f"The exported run is not taken in: {reason}.")
