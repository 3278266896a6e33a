"""Bad input: links and files that nobody should send, and all that the server does meanwhile."""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fuzz import BAIT, files, links
from benchmarks.processes import ROOT, Served, await_healthy, complaints, ended, serve
from benchmarks.streamlit_client import Session
from pgcore.runs.worker import AUTOGROUP

SEED = 7


def fuzzing(requests: int) -> dict[str, Any]:
    """Links and uploads that nobody should send; half of the requests each."""
    with tempfile.TemporaryDirectory() as everything:
        home, scratch, person = (Path(everything) / name for name in ("home", "scratch", "person"))
        for directory in (home, scratch, person):
            directory.mkdir()
        audit = Path(everything) / "audit.jsonl"
        environment = {
            "PGLAB_AUDIT": str(audit),
            "PGLAB_AUDIT_MODULES": BAIT,
            "PYTHONPATH": str(ROOT / "benchmarks" / "audit"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(scratch),
            "HOME": str(person),
        }
        with ended(serve(home, environment)) as app:
            await_healthy(app)
            found = asyncio.run(_send_all(app, requests))
            found["noted"] = audit.read_text().count("\n")
            found["alive"] = app.process.poll() is None
            found["log"] = complaints(app)
            found["outside"] = _outside(audit, (home, scratch)) + [str(p) for p in person.rglob("*")]
            found["left_in_scratch"] = sorted(path.name for path in scratch.rglob("*"))
            found["in_home"] = sorted({path.relative_to(home).parts[0] for path in home.rglob("*")})
        return found


async def _send_all(app: Served, requests: int, lanes: int = 4) -> dict[str, Any]:
    seen: dict[str, Any] = {"links": 0, "uploads": 0, "refused": 0, "tracebacks": [], "hangs": [], "took": []}
    half = requests // 2

    async def follow(queue: Iterator[tuple[str, str]]) -> None:
        for page, query in queue:
            began = time.monotonic()
            try:
                session = await Session.open(app.address, page, query)
                _note(seen, session, f"/{page}?{query}")
                await session.close()
            except TimeoutError:
                seen["hangs"].append(f"/{page}?{query}"[:300])
            seen["links"] += 1
            seen["took"].append(time.monotonic() - began)

    async def send(queue: Iterator[tuple[str, bytes]]) -> None:
        session = None
        for i, (name, content) in enumerate(queue):
            began = time.monotonic()
            try:
                if session is None or i % 50 == 0:
                    session = await _uploader(app)
                await session.upload("stocks.file", name, content)
                await session.run()
                _note(seen, session, name)
                session.states.pop(session.widget("stocks.file"))
            except TimeoutError:
                seen["hangs"].append(f"{name[:60]} {content[:200]!r}")
                session = None
            seen["uploads"] += 1
            seen["took"].append(time.monotonic() - began)

    await asyncio.gather(*(follow(islice(links(SEED + lane), half // lanes)) for lane in range(lanes)))
    await asyncio.gather(*(send(islice(files(SEED + lane), half // lanes)) for lane in range(lanes)))
    took = seen.pop("took")
    return seen | {"median_ms": 1000 * median(took), "longest_ms": 1000 * max(took)}


async def _uploader(app: Served) -> Session:
    session = await Session.open(app.address, "stocks")
    session.choose("stocks.source", "Upload")
    await session.run()
    return session


def _note(seen: dict[str, Any], session: Session, what: str) -> None:
    texts = [*session.shown.errors, *session.shown.warnings, *session.shown.texts]
    if session.shown.exceptions or any("Traceback" in text or "encountered an error" in text for text in texts):
        seen["tracebacks"].append([what[:300], [*session.shown.exceptions, *texts][:2]])
    seen["refused"] += bool(session.shown.errors or session.shown.warnings)


def _outside(audit: Path, allowed: tuple[Path, ...]) -> list[str]:
    """What was written, or done, that a server of this app has no business with."""
    found = set()
    for line in audit.read_text().splitlines():
        event, *told = json.loads(line)
        if event == "import" or (event in ("os.system", "os.exec")):
            found.add(f"{event} {told}")
        elif event == "subprocess.Popen":
            if "pgcore.runs.worker" not in told[0]:
                found.add(f"{event} {told}")
        else:
            paths = [Path(os.path.abspath(path)) for path in told]
            within = (*allowed, Path("/dev"), AUTOGROUP)  # with the last a worker tells the kernel to let others go first
            bad = [path for path in paths if not any(path.is_relative_to(each) for each in within)]
            found |= {f"{event} {path}" for path in bad}
    return sorted(found)
