"""Links and files that nobody should send, from a seed: for `benchmarks.stress` and the tests."""

import gzip
import io
import random
import zipfile
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

from pgcore.config import SETTINGS
from pgcore.market.synthetic import MARKETS, ROWS, market_key
from tests.dialects import DIALECTS
from tests.price_files import base_series, write, zipped

BAIT = "antigravity"  # a module nobody needs, whose import would be seen
HOSTILE = (
    "",
    " ",
    "\0",
    "%00",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:1/",
    "' OR 1=1 --",
    "'; DROP TABLE runs; --",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "[x](javascript:alert(1)) ![x](http://127.0.0.1:1/x.png)",
    ":red[x] $\\int$ `x` **x** :material/home:",
    "=cmd|'/c calc'!A1",
    "{{7*7}} ${7*7} {0.__class__}",
    f"{BAIT}:Evil-v0",
    f"{BAIT}",
    "-1",
    "0",
    "1e999",
    "-1e999",
    "nan",
    "NaN",
    "inf",
    "9" * 400,
    "1e-400",
    "0x10",
    "१२३",
    "1,2,3,4,5,6,7,8,9",
    "None",
    "null",
    "true",
    "\u202e\u200b\ufeff",
    "\ud7ff\U0010ffff",
    "a" * 2000,
    "{" * 500,
    "0" * 64,
    "f" * 64,
    "00000000-0000-4000-8000-000000000000",
    "%",
    "_" * 8,
)
NAMES = (
    "prices.csv",
    "../../../../tmp/evil.csv",
    "..\\evil.csv",
    "/etc/cron.d/evil",
    "<img src=x onerror=alert(1)>.csv",
    "=cmd|'/c calc'!A1.csv",
    "**bold** [x](javascript:alert(1)).csv",
    "no extension",
    "evil.pkl",
    "prices.xlsx",
    "prices.zip",
    "prices.csv.gz",
    "prices.parquet",
    "\u202efdp.csv",
    "a" * 300 + ".csv",
    ".",
    "CON",
)


def links(seed: int) -> Iterator[tuple[str, str]]:
    """(page, query string) without end: real settings with values bad, odd and good, and names that are none."""
    rng = random.Random(seed)
    while True:
        page = rng.choice(("", "stocks", "runs", "cartpole", rng.choice(HOSTILE).replace("\0", "")))
        names = rng.choices([*SETTINGS, "run", "prices", "task", "estimator"], k=rng.randint(1, 4))
        said = {name: _value(rng, name) for name in names}
        if rng.random() < 0.2:
            said[rng.choice(HOSTILE)] = rng.choice(HOSTILE)
        yield page, urlencode(said, errors="replace")


def _value(rng: random.Random, name: str) -> str:
    if name == "prices" and rng.random() < 0.5:
        kind = rng.choice(list(MARKETS))
        numbers = {each.name: rng.choice((each.low, each.high, each.default)) for each in MARKETS[kind].parameters}
        return _spoiled_text(rng, market_key(kind, rng.randrange(10), rng.choice(ROWS), numbers))
    setting = SETTINGS.get(name)
    good = [str(choice) for choice in setting.choices or ()] if setting else []
    good += [str(bound) for bound in (setting.low, setting.high, setting.default) if bound is not None] if setting else []
    if good and rng.random() < 0.4:
        return rng.choice(good)
    if good and rng.random() < 0.3:
        return _spoiled_text(rng, rng.choice(good))
    return rng.choice(HOSTILE)


def _spoiled_text(rng: random.Random, text: str) -> str:
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice((*HOSTILE[:30], "")) + text[place + rng.randint(0, 3) :]


def files(seed: int) -> Iterator[tuple[str, bytes]]:
    """(name, content) without end: price files of all dialects, cut, flipped, repeated, packed, mixed, or whole."""
    rng = random.Random(seed)
    whole = [write(dialect, base_series()) for dialect in DIALECTS.values()]
    spoil: tuple[Callable[[random.Random, bytes], bytes], ...] = (
        lambda _, data: data,
        _cut,
        _flipped,
        _flipped,
        _with_insertion,
        _with_insertion,
        _repeated,
        _mixed_lines,
        lambda rng, data: gzip.compress(_flipped(rng, data), 1),
        lambda rng, data: _flipped(rng, zipped(data)),
        lambda _, data: zipped(zipped(data)),
        lambda rng, _: lying_zip("prices.csv", rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))),
        lambda rng, _: gzip.compress(b"0" * rng.choice((1_000_000, 40_000_000)), 6),
        lambda rng, _: rng.randbytes(rng.choice((0, 1, 7, 100, 5000))),
    )
    while True:
        data = rng.choice(whole)
        for _ in range(rng.randint(1, 2)):
            data = rng.choice(spoil)(rng, data)[:5_000_000]
        yield rng.choice(NAMES), data


def lying_zip(name: str, method: int) -> bytes:
    """A zip file with one entry of 10 MB, packed by this method of zipfile, that its directory says is of 50 bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, bytes(10_000_000))
    return buffer.getvalue().replace((10_000_000).to_bytes(4, "little"), (50).to_bytes(4, "little"))


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[rng.randrange(len(data) // 2 + 1) : rng.randrange(len(data) // 2, len(data) + 1)]


def _flipped(rng: random.Random, data: bytes) -> bytes:
    spoiled = bytearray(data)
    for _ in range(rng.choice((1, 3, 30))):
        if spoiled:
            spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
    return bytes(spoiled)


def _with_insertion(rng: random.Random, data: bytes) -> bytes:
    for _ in range(rng.choice((1, 5))):
        place = rng.randrange(len(data) + 1)
        data = data[:place] + rng.choice(HOSTILE).encode(errors="replace") + data[place:]
    return data


def _repeated(rng: random.Random, data: bytes) -> bytes:
    place, length = rng.randrange(len(data) + 1), rng.choice((1, 20, 300))
    return data[:place] + data[place : place + length] * rng.choice((2, 50)) + data[place:]


def _mixed_lines(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    rng.shuffle(lines)
    return b"\n".join(lines)
