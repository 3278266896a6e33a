"""A run as files: exported as a folder or a zip, imported elsewhere. Nothing that is read is trusted, nothing unpickled."""

import io
import json
import logging
import math
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from pgcore.acting import read_actor
from pgcore.config import SETTINGS, TrainConfig
from pgcore.errors import BadInput
from pgcore.exported import read_exported, too_large
from pgcore.market.features import FEATURES
from pgcore.market.parts import split
from pgcore.market.prices import SAMPLES, PriceSeries, load_sample
from pgcore.record import UpdateRecord
from pgcore.runs import formats
from pgcore.runs.data import Snapshot
from pgcore.runs.results import check_results
from pgcore.runs.run import ENDED, Run
from pgcore.runs.store import RunStore, resolve_prices
from pgcore.runs.versions import versions
from pgcore.tasks import TASKS, make_environment

FORMAT = 1
NEEDED = ("config.json", "run.json", "records.csv", "episodes.csv")
MAX_TEXT = 20_000
DISCRETE, CONTINUOUS = ("categorical", "values"), ("gaussian",)
LOG = logging.getLogger(__name__)


def export_run(store: RunStore, run_id: str, target: str | Path, say: Callable[[str], object] = LOG.warning) -> list[str]:
    """Write a run into a new folder, or into a new file that ends in .zip; the names of what was written.

    config.json, run.json (state, counters, events, library versions, hash of the prices), records.csv, episodes.csv and,
    where there are such, policy.safetensors, evaluation.json, trades.csv and prices.csv. Raises BadInput where the target
    exists or cannot be written; then nothing is left behind. `say` is told first what `import_run` will not take back.
    """
    target = Path(target)
    files = run_files(store, run_id)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as unfinished:
            whole = Path(unfinished) / "whole"
            if target.suffix.lower() == ".zip":
                write_zip(files, whole, say)
                os.link(whole, target)  # refuses where there is a file, which a renaming would replace
            else:
                whole.mkdir()
                _say_if_too_large(say, files)
                for name, content in files.items():
                    (whole / name).write_bytes(content)
                whole.rename(target)  # refuses but where there is an empty folder
    except OSError as error:
        reason = "it exists already" if target.exists() else error.strerror
        raise BadInput(f"The run cannot be exported to {target} ({reason}): name a new folder or a new .zip file.") from None
    return list(files)


def export_zip(store: RunStore, run_id: str) -> bytes:
    """The same files as the bytes of a zip."""
    return zipped(run_files(store, run_id))


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    write_zip(files, buffer)
    return buffer.getvalue()


def write_zip(files: dict[str, bytes], target: Path | IO[bytes], say: Callable[[str], object] = LOG.warning) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        zip_size = sum(entry.compress_size for entry in archive.infolist())
    _say_if_too_large(say, files, zip_size)


def _say_if_too_large(say: Callable[[str], object], files: Mapping[str, bytes], zip_size: int | None = None) -> None:
    sizes = {name: len(content) for name, content in files.items()}
    if reason := too_large(sizes, zip_size):
        instead = "" if too_large(sizes) else " Export it into a folder instead."
        say(f"This export cannot be imported again: {reason}.{instead}")


def run_files(store: RunStore, run_id: str) -> dict[str, bytes]:
    """File name -> content of all that is known of a run."""
    run = store.run(run_id)
    records = store.records(run_id)
    results = {kind: store.evaluation(run_id, kind) for kind in store.evaluations(run_id)}
    prices = resolve_prices(store, run.prices) if run.prices else None
    files = {
        "config.json": formats.to_json(json.loads(run.config_json)),
        "run.json": formats.to_json(_about(store, run, prices)),
        "records.csv": formats.records_csv(records, run.task),
        "episodes.csv": formats.episodes_csv(records),
        "policy.safetensors": store.policy_bytes(run_id),
        "evaluation.json": formats.to_json(results) if results else None,
        "prices.csv": formats.prices_csv(prices) if prices is not None else None,
        "trades.csv": formats.trades_csv(run.config, prices, results.get("final") or {}) if prices is not None else None,
    }
    return {name: content for name, content in files.items() if content is not None}


def _about(store: RunStore, run: Run, prices: PriceSeries | None) -> dict[str, Any]:
    events = store.events(run.id)
    about: dict[str, Any] = {
        "format": FORMAT,
        **{name: getattr(run, name) for name in ("id", "name", "tags", "group", "status", "task", "estimator", "error")},
        **{name: str(getattr(run, name) or "") for name in ("created", "started", "ended")},
        **{name: getattr(run, name) for name in ("env_steps", "updates", "episodes", "return_mean", "solved")},
        "trained_with": [event.message for event in events if event.kind == "attempt"],
        "exported_with": versions(),
        "events": [[str(event.at), event.kind, event.message] for event in events],
    }
    if prices is not None:
        about["prices"] = {"name": prices.name, "sha256": prices.digest, "rows": len(prices)}
    return about


def import_run(store: RunStore, source: str | Path | bytes, *, owner: str = "") -> str:
    """Take in an exported run, from a folder, a zip file or the bytes of one; its id here.

    Raises BadInput, and keeps nothing, for what is no exported run, is too large, tries to leave its folder, or holds
    prices that are not those the run was trained on.
    """
    files = read_exported(source)
    missing = [name for name in NEEDED if name not in files]
    if missing:
        raise BadInput(f"This is no exported run, it has no {missing[0]}: give the folder or zip that export wrote.")
    about = formats.read_object(files["run.json"], "run.json")
    if about.get("format") != FORMAT:
        raise BadInput(f"The exported run has format {about.get('format')!r}, this version reads {FORMAT}: update the program.")
    config = _config(formats.read_object(files["config.json"], "config.json"))
    rows = formats.read_records(files.pop("records.csv"), files.pop("episodes.csv"))  # read once, and then let go
    results = formats.read_object(files.get("evaluation.json", b"{}"), "evaluation.json")
    policy = _checked_policy(files.get("policy.safetensors"), config)
    prices = _read_prices(files, about) if config.task == "stocks" else None
    check_results(results, _decisions(config, prices))
    status = about.get("status")
    with store.transaction(durable=True) as together:
        if prices is not None:
            config = config.replace(prices=_key(prices) or together.save_prices(prices, owner))
        run_id = together.create_run(
            config, name=_text(about, "name"), group=_text(about, "group"), owner=owner, tags=_texts(about.get("tags"))
        )
        together.append_records(run_id, rows)
        if policy is not None:
            together.save_policies(run_id, [Snapshot(*_after(results, rows), policy)])
        for kind, result in results.items():
            together.save_evaluation(run_id, kind, result)
        together.set_status(
            run_id,
            status if status in ENDED else "stopped",
            error=_text(about, "error"),
            solved=about.get("solved") is True,
        )
        for attempt in _texts(about.get("trained_with")):
            together.add_event(run_id, "attempt", attempt)
        together.add_event(run_id, "imported", f"It was run {_text(about, 'id')[:36]} where it was trained.")
    return run_id


def _config(given: dict[str, Any]) -> TrainConfig:
    unknown = [name for name in given if name not in SETTINGS]
    if unknown:
        raise BadInput(f"config.json has a setting {unknown[0][:40]!r} that this version does not know: update the program.")
    if ":" in str(given.get("task")):  # Gymnasium imports the module of module:Name-v0
        raise BadInput("config.json names a task of another package, which a file may not bring in: train it here instead.")
    return TrainConfig(**given)


def _checked_policy(data: bytes | None, config: TrainConfig) -> bytes | None:
    """A policy that can be asked what it would do in the run's task. Raises BadInput."""
    if data is None:
        return None
    seen, done, kinds = _spaces(config)
    try:
        actor = read_actor(data)
        inputs, outputs = {np.shape(actor.mean), np.shape(actor.scale)}, actor.outputs(np.zeros((1, seen), dtype=np.float32))
    except (BadInput, TypeError, ValueError, AttributeError, IndexError, RecursionError, MemoryError) as error:
        raise BadInput(f"policy.safetensors of the exported run is damaged ({error}): export it again.") from None
    if actor.kind not in kinds or inputs != {(seen,)} or outputs.shape != (1, done):
        raise BadInput(f"policy.safetensors of the exported run is no policy for {config.task}: export it again.")
    return data


def _spaces(config: TrainConfig) -> tuple[int, int, tuple[str, ...]]:
    """Numbers in an observation and in a policy's answer, and the kinds of policy there can be. Raises BadInput."""
    if config.task == "stocks":
        return len(FEATURES[config.features].names), len(TASKS["stocks"].actions), DISCRETE
    env = make_environment(config, None, num_envs=1)
    seen, done = env.single_observation_space.shape or (), env.single_action_space
    env.close()
    choices = getattr(done, "n", None)
    if choices is None:
        return math.prod(seen), math.prod(done.shape or ()), CONTINUOUS
    return math.prod(seen), int(choices), DISCRETE


def _after(results: dict[str, Any], rows: Sequence[UpdateRecord]) -> tuple[int, int]:
    """The update and step after which the run's own policy was: those of the checkpoint that was judged, or the last."""
    last = (rows[-1].update, rows[-1].env_steps) if rows else (0, 0)
    final = results.get("final")
    checkpoint = final.get("checkpoint") if isinstance(final, dict) else None
    if not isinstance(checkpoint, dict):
        return last
    chosen = (checkpoint.get("update"), checkpoint.get("env_steps"))
    return chosen if all(type(x) is int and 0 <= x <= end for x, end in zip(chosen, last, strict=True)) else last  # type: ignore[return-value]


def _read_prices(files: dict[str, bytes], about: dict[str, Any]) -> PriceSeries:
    described = about.get("prices")
    if "prices.csv" not in files or not isinstance(described, dict):
        raise BadInput("This exported run has no prices.csv, though it trades: export it again.")
    series = formats.read_prices(files["prices.csv"], _text(described, "name") or "prices")
    if series.digest != described.get("sha256"):
        raise BadInput("prices.csv is not what the run was trained on (its hash differs from run.json): export it again.")
    return series


def _decisions(config: TrainConfig, prices: PriceSeries | None) -> dict[str, int]:
    """How many there are on each part of the prices; none where the run could not have been trained on them."""
    if prices is None:
        return {}
    try:
        return {part.name: len(part) - 1 for part in split(config, prices).parts}
    except BadInput:
        return {}


def _key(prices: PriceSeries) -> str | None:
    """The sample they are, if any."""
    return next((key for key in SAMPLES if load_sample(key).digest == prices.digest), None)


def _text(about: dict[str, Any], name: str) -> str:
    return "".join(_texts([about.get(name)]))


def _texts(value: object) -> list[str]:
    """The texts in a list, as a database takes them."""
    texts = [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
    return [text[:MAX_TEXT].replace("\0", "").encode(errors="replace").decode() for text in texts]
