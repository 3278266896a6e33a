"""What `export` wrote, as bytes again: out of a folder or a zip, within bounds, and never from outside of it."""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from pgcore.errors import BadInput

POLICY = "policy.safetensors"
KNOWN = (
    "config.json",
    "run.json",
    "records.csv",
    "episodes.csv",
    POLICY,
    "evaluation.json",
    "trades.csv",
    "prices.csv",
)
MAX_BYTES = 128_000_000
MAX_ENTRIES = 100


def read_exported(source: str | Path | bytes) -> dict[str, bytes]:
    """Name -> content of the known files in an exported folder, a zip file or the bytes of one, and of nothing else.

    Raises BadInput for what cannot be read, is too large, or points outside its folder.
    """
    files: dict[str, bytes] = {}
    room = MAX_BYTES
    try:
        for name, stream in _entries(source):
            if name in files:
                raise BadInput(f"The exported run holds {name} twice: export it again.")
            files[name] = stream.read(room + 1)
            room -= len(files[name])
            if room < 0:
                raise BadInput(f"The exported run is larger than {MAX_BYTES // 1_000_000} MB: that is more than is taken in.")
    except BadInput:
        raise
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise BadInput(f"This cannot be read as an exported run ({error}): give the folder or zip that export wrote.") from None
    return files


def _entries(source: str | Path | bytes) -> Iterator[tuple[str, IO[bytes]]]:
    if not isinstance(source, bytes) and Path(source).is_dir():
        for path in (Path(source) / name for name in KNOWN):
            if path.is_symlink():
                raise BadInput(f"{path.name} is a link to another place: give the folder that export wrote.")
            if path.is_file():
                with path.open("rb") as file:
                    yield path.name, file
        return
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
        if len(archive.infolist()) > MAX_ENTRIES:
            raise BadInput(f"The zip holds more than {MAX_ENTRIES} files: give the zip that export wrote.")
        for entry in archive.infolist():
            inside = PurePosixPath(entry.filename)
            is_link = stat.S_ISLNK(entry.external_attr >> 16)
            if inside.is_absolute() or ".." in inside.parts or is_link or any(c in entry.filename for c in "\\:\0"):
                raise BadInput(f"The zip points outside its folder ({entry.filename[:80]!r}): give the zip that export wrote.")
            if inside.name in KNOWN and len(inside.parts) <= 2 and not entry.is_dir():
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without bounds
                    raise BadInput(
                        "The zip is packed in a way that is not unpacked here: pack it again the ordinary way (deflate)."
                    )
                with archive.open(entry) as file:
                    yield inside.name, file
