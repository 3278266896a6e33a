"""A run as files: what is exported comes back the same elsewhere, and a file that means harm does none."""

import csv
import io
import json
import math
import os
import stat
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from benchmarks.fuzz import lying_zip
from pgcore import exported
from pgcore.__main__ import main
from pgcore.acting import read_actor
from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.evaluate import evaluate
from pgcore.exported import LIMITS, read_exported
from pgcore.market.prices import PriceSeries
from pgcore.policies import Policy, load_policy
from pgcore.record import UpdateRecord
from pgcore.runs.data import Snapshot
from pgcore.runs.files import export_run, export_zip, import_run, run_files, zipped
from pgcore.runs.formats import episodes_csv, neutral, read_prices, read_records, records_csv, table_csv
from pgcore.runs.packing import COLUMNS, pack_record, unpack_records
from pgcore.runs.process import this_process
from pgcore.runs.store import RunStore
from pgcore.runs.worker import train_run
from pgcore.tasks import TASKS
from pgcore.trainer import Trainer

POLICY = Policy(4, 2, hidden=(8,)).to_bytes()
TRADER = Policy(5, 3).to_bytes()


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(f"sqlite:///{tmp_path / 'here' / 'runs.sqlite'}")


@pytest.fixture
def elsewhere(tmp_path: Path) -> RunStore:
    return RunStore(f"sqlite:///{tmp_path / 'elsewhere' / 'runs.sqlite'}")


def records(count: int) -> list[UpdateRecord]:
    odd = [0.1, -0.0, math.inf, -math.inf, 5e-324, 1 / 3, 1e300]
    return [
        UpdateRecord(
            **{name: odd[(u + i) % len(odd)] for i, name in enumerate(COLUMNS)}
            | {"update": u, "env_steps": 64 * u, "episodes": 2 * u}
            | {"episode_returns": tuple(odd[: u % 4]), "action_share": (0.1 * u, -1.5)},
        )
        for u in range(1, count + 1)
    ]


def tea() -> PriceSeries:
    dates = np.datetime64("2020-01-01T09:30:00.000001") + np.arange(300) * np.timedelta64(1, "D")
    close = 100 + np.random.default_rng(0).normal(size=300).cumsum() / 3
    return PriceSeries.from_close(dates, close, '=cmd|"/c calc"!A1')


def finished_run(store: RunStore, config: TrainConfig | None = None, **about: object) -> str:
    run_id = store.create_run(config or TrainConfig(learning_rate=0.0125), **{"name": "seed study", "tags": ["a", "b"]} | about)
    mine = store.claim(run_id, this_process())
    mine.append_records(run_id, records(9))
    mine.save_policies(run_id, [Snapshot(9, 576, TRADER if config and config.task == "stocks" else POLICY)])
    mine.save_evaluation(run_id, "final", {"kind": "episodes", "greedy": {"mean": 499.25}})
    mine.add_event(run_id, "attempt", "Python 3.11, torch 2")
    mine.set_status(run_id, "finished", solved=True)
    return run_id


def assert_same(store: RunStore, run_id: str, elsewhere: RunStore, copy_id: str) -> None:
    run, copy = store.run(run_id), elsewhere.run(copy_id)
    for name in ("status", "name", "tags", "group", "task", "env_steps", "updates", "episodes", "solved", "error"):
        assert getattr(copy, name) == getattr(run, name)
    assert repr(elsewhere.records(copy_id).rows()) == repr(store.records(run_id).rows())
    assert elsewhere.policy_bytes(copy_id) == store.policy_bytes(run_id)
    assert elsewhere.evaluation(copy_id, "final") == store.evaluation(run_id, "final")


# ---- there and back


@pytest.mark.parametrize("form", ["folder", "zip", "bytes"])
def test_a_run_comes_back_the_same_elsewhere(store: RunStore, elsewhere: RunStore, tmp_path: Path, form: str) -> None:
    run_id = finished_run(store)
    target = tmp_path / ("run.zip" if form == "zip" else "run")
    source: Path | bytes = target
    if form == "bytes":
        source = export_zip(store, run_id)
    else:
        assert export_run(store, run_id, target) == ["config.json", "run.json", *list(LIMITS)[2:6]]
    copy_id = import_run(elsewhere, source, owner="anna")
    assert_same(store, run_id, elsewhere, copy_id)
    assert elsewhere.run(copy_id).config == store.run(run_id).config
    assert elsewhere.run(copy_id).owner == "anna"
    assert elsewhere.events(copy_id)[0].message == "Python 3.11, torch 2"
    assert list((tmp_path / "run").parent.glob(".export-*")) == []


def test_the_policy_of_an_exported_run_is_loaded_from_its_folder_its_zip_or_its_file(store: RunStore, tmp_path: Path) -> None:
    run_id = finished_run(store)
    export_run(store, run_id, tmp_path / "run")
    export_run(store, run_id, tmp_path / "run.zip")
    for path in ("run", "run.zip", "run/policy.safetensors"):
        assert load_policy(tmp_path / path).to_bytes() == POLICY


def test_a_zip_is_loaded_no_more_trustingly_than_it_is_imported(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "early.zip").write_bytes(export_zip(store, store.create_run(TrainConfig())))
    with pytest.raises(BadInput, match=r"early\.zip holds no policy\.safetensors"):
        load_policy(tmp_path / "early.zip")
    (tmp_path / "outside.zip").write_bytes(zipped({"policy.safetensors": POLICY, "../x": b""}))
    with pytest.raises(BadInput, match="points outside its folder"):
        load_policy(tmp_path / "outside.zip")
    (tmp_path / "bomb.zip").write_bytes(zipped({"policy.safetensors": bytes(130_000_000)}))
    with pytest.raises(BadInput, match=r"it unpacks to more than 32 MB and 200 times its size"):
        load_policy(tmp_path / "bomb.zip")


def test_of_a_zip_only_the_policy_is_unpacked_to_load_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the rest is, as of a run that trained for long, and whatever it is."""
    (tmp_path / "run.zip").write_bytes(zipped({"records.csv": bytes(130_000_000), "policy.safetensors": POLICY}))
    unpacked, unpack = [], zipfile.ZipFile.open

    def watched(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
        unpacked.append(entry.filename)
        return unpack(archive, entry)

    monkeypatch.setattr(zipfile.ZipFile, "open", watched)
    assert load_policy(tmp_path / "run.zip").to_bytes() == POLICY
    assert unpacked == ["policy.safetensors"]


def test_a_folder_that_was_zipped_by_hand_is_read_too(store: RunStore, elsewhere: RunStore) -> None:
    run_id = finished_run(store)
    inside = {f"my run/{name}": content for name, content in run_files(store, run_id).items()}
    assert_same(store, run_id, elsewhere, import_run(elsewhere, zipped(inside | {"__MACOSX/x": b"", "notes.txt": b"hi"})))


def test_a_run_with_nothing_in_it_yet_comes_back(store: RunStore, elsewhere: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    copy = elsewhere.run(import_run(elsewhere, export_zip(store, run_id)))
    assert (copy.status, copy.updates, copy.config) == ("stopped", 0, TrainConfig())


def test_prices_travel_with_the_run_under_their_hash(store: RunStore, elsewhere: RunStore) -> None:
    series = tea()
    run_id = finished_run(store, TrainConfig(task="stocks", prices=store.save_prices(series)))
    content = run_files(store, run_id)
    assert json.loads(content["run.json"])["prices"]["sha256"] == series.digest
    copy = elsewhere.run(import_run(elsewhere, zipped(content)))
    assert copy.prices == series.digest
    assert elsewhere.prices(copy.prices) == series
    assert elsewhere.prices(copy.prices).name == 'cmd|"/c calc"!A1', "no formula in any table"


def test_a_sample_stays_a_sample(store: RunStore, elsewhere: RunStore) -> None:
    run_id = finished_run(store, TrainConfig(task="stocks", prices="nasdaq"))
    copy = elsewhere.run(import_run(elsewhere, export_zip(store, run_id)))
    assert (copy.prices, elsewhere.price_list()) == ("nasdaq", [])


def test_a_trained_run_evaluates_the_same_elsewhere(store: RunStore, elsewhere: RunStore, tmp_path: Path) -> None:
    config = TrainConfig(task="stocks", prices=store.save_prices(tea()), num_envs=4, episode_rows=30, max_steps=2000)
    run = train_run(store, store.create_run(config))
    names = export_run(store, run.id, tmp_path / "run")
    assert set(names) == {*LIMITS, "trades.csv"}
    copy = elsewhere.run(import_run(elsewhere, tmp_path / "run"))
    again = evaluate(copy.config, load_policy(tmp_path / "run" / "policy.safetensors"), elsewhere.prices(copy.prices))
    there, here = elsewhere.evaluation(copy.id, "final"), store.evaluation(run.id, "final")
    assert there == here
    assert json.loads(json.dumps(again)) == {key: value for key, value in here.items() if key != "checkpoint"}
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "torch" in about["trained_with"][0]
    trades = list(csv.DictReader((tmp_path / "run" / "trades.csv").open()))
    by_part = {part["part"]: part["trades"] for part in again["parts"]}
    assert {name: sum(trade["part"] == name for trade in trades) for name in by_part} == by_part


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(width=64), min_size=len(COLUMNS), max_size=len(COLUMNS)),
    returns=st.lists(st.floats(width=64), max_size=4),
)
def test_any_number_survives_the_csv(values: list[float], returns: list[float]) -> None:
    row = UpdateRecord(
        **dict(zip(COLUMNS, values, strict=True))
        | {"update": 3, "env_steps": 10**9, "episodes": 0}
        | {"episode_returns": tuple(returns), "action_share": (values[0], values[1], values[2])}
    )
    table = unpack_records([tuple(pack_record(row).values())])
    assert repr(read_records(records_csv(table, "stocks"), episodes_csv(table))) == repr([row])


# ---- for the eyes of others


def test_json_is_json_for_every_reader(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.save_evaluation(run_id, "final", {"sharpe": math.nan, "curve": [1.0, math.inf]})
    content = run_files(store, run_id)

    def refuse(token: str) -> None:
        raise AssertionError(token)

    assert json.loads(content["evaluation.json"], parse_constant=refuse) == {"final": {"sharpe": None, "curve": [1.0, None]}}
    assert json.loads(content["run.json"], parse_constant=refuse)["return_mean"] is None


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\r=1", " =1", "\n=x"])
def test_a_text_that_a_spreadsheet_would_run_is_neutralised(text: str) -> None:
    _, row = csv.reader(io.StringIO(table_csv(["a", "b"], [[text, -1.5]]).decode(), newline=""))
    assert row == ["'" + text, "-1.5"]


def test_plain_text_is_left_alone() -> None:
    assert [neutral(text) for text in ("long", "", "a=b", "1-2")] == ["long", "", "a=b", "1-2"]


# ---- what export refuses


def test_what_is_there_is_not_overwritten(store: RunStore, tmp_path: Path) -> None:
    run_id = finished_run(store)
    (tmp_path / "file").write_text("precious")
    (tmp_path / "run.zip").write_text("precious")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("precious")
    for target in ("file", "run.zip", "full", "file/below"):
        with pytest.raises(BadInput, match="cannot be exported to"):
            export_run(store, run_id, tmp_path / target)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"precious"} == {
        "file",
        "run.zip",
        "precious",
    }
    assert list(tmp_path.rglob(".export-*")) == []


# ---- what import refuses

Spoil = Callable[[dict[str, bytes]], dict[str, bytes]]


def without(name: str) -> Spoil:
    return lambda content: {key: value for key, value in content.items() if key != name}


def changed(name: str, old: bytes, new: bytes) -> Spoil:
    def change(content: dict[str, bytes]) -> dict[str, bytes]:
        assert old in content[name]
        return content | {name: content[name].replace(old, new, 1)}

    return change


def put(name: str, value: bytes) -> Spoil:
    return lambda content: content | {name: value}


DAMAGE: dict[str, tuple[Spoil, str]] = {
    "no config": (without("config.json"), "has no config.json"),
    "no about": (without("run.json"), "has no run.json"),
    "no records": (without("records.csv"), "has no records.csv"),
    "no prices": (without("prices.csv"), "has no prices.csv"),
    "config no JSON": (put("config.json", b"{"), "config.json of the exported run is damaged"),
    "config no object": (put("config.json", b"[]"), "config.json of the exported run is damaged"),
    "deep JSON": (put("evaluation.json", b"[" * 100_000), "evaluation.json of the exported run is damaged"),
    "JSON no text": (put("run.json", b"\xff\xfe\x00"), "run.json of the exported run is damaged"),
    "newer format": (changed("run.json", b'"format": 1', b'"format": 2'), "has format 2"),
    "unknown setting": (changed("config.json", b'"seed"', b'"sneed"'), "a setting 'sneed' that this version does not know"),
    "setting out of bounds": (changed("config.json", b'"gae_lambda": 0.', b'"gae_lambda": 90.'), "GAE λ cannot be"),
    "foreign task": (changed("config.json", b'"stocks"', b'"os:Evil-v0"'), "names a task of another package"),
    "no such estimator": (changed("config.json", b'"ppo"', b'"psychic"'), "Estimator cannot be 'psychic'"),
    "text in the records": (changed("records.csv", b"\n1,", b"\none,"), "records.csv of the exported run is damaged"),
    "records without a column": (changed("records.csv", b",kl,", b",lk,"), "has no column kl"),
    "records out of order": (changed("records.csv", b"\n2,", b"\n9,"), "updates do not rise"),
    "records no CSV": (put("records.csv", b""), "records.csv of the exported run is damaged"),
    "fractional update": (changed("records.csv", b"\n2,128,", b"\n2,inf,"), "records.csv of the exported run is damaged"),
    "other prices": (changed("prices.csv", b"2020-01-01T", b"2019-01-01T"), "its hash differs"),
    "negative price": (changed("prices.csv", b"000001,", b"000001,-"), "prices must be positive"),
    "no date": (changed("prices.csv", b"2020-01-01T", b"yesterday"), r"prices.csv of the exported run is damaged"),
    "policy is a pickle": (
        put("policy.safetensors", b"\x80\x04cos\nsystem\n."),
        "policy.safetensors of the exported run is damaged",
    ),
    "policy cut short": (put("policy.safetensors", TRADER[:-3]), "policy.safetensors of the exported run is damaged"),
    "policy without a shape": (
        put("policy.safetensors", save({"network.layers.0.weight": np.zeros((3, 5), np.float32)})),
        "policy.safetensors of the exported run is damaged",
    ),
    "policy of another task": (put("policy.safetensors", POLICY), "policy.safetensors of the exported run is damaged"),
    "policy that answers otherwise": (put("policy.safetensors", Policy(5, 2).to_bytes()), "is no policy for stocks"),
    "policy of another kind": (put("policy.safetensors", Policy(5, 3, "gaussian").to_bytes()), "is no policy for stocks"),
}


def curve(count: int, action: object = 2) -> dict[str, object]:
    return {"actions": [action] * count}


DECISIONS = 59  # on the test part of the 300 days of tea: 60 rows
RESULTS: dict[str, object] = {
    "no object": [5, None, [1], "x", True],
    "of a kind that is not written": None,
    "parts": [5, {}, [5], [{}], [{"part": "other"}], [{"part": ["test"]}], [{"part": "test", "sharpe": "much"}]]
    + [[{"part": "test", name: wrong}] for name in ("actions", "features_by_action") for wrong in (None, [], {"buy": "x"})]
    + [[{"part": "test", "collapse": 5}], [{"part": "test", "sharpe": 10**400}], [{"part": "test", "sharpe": math.inf}]],
    "curves": [5, [], {"test": {}}, {"test": None}, {"other": curve(DECISIONS)}, {"test": curve(DECISIONS - 1)}]
    + [{"test": curve(DECISIONS, action)} for action in ("a", 9, -1, 1.0, True, None)],
    "checkpoint": [5, None, {}, {"update": -1, "env_steps": 1}, {"update": 10**30, "env_steps": 1}, {"update": "1"}]
    + [{"update": 1, "env_steps": 1, "among": among} for among in (5, None, [5], [{"update": 1, "env_steps": 1}])]
    + [{"update": 1, "env_steps": 1, "among": [{"update": -1, "env_steps": 1, "validation_growth": 0.5}]}]
    + [{"update": 1, "env_steps": 1, "among": [{"update": 1, "env_steps": 1, "validation_growth": "much"}]}],
    "episodes": [-1, "many", 2**64, 0.5, None],
    "greedy": [5, None, [], {"mean": "high"}, {"mean": math.nan}],
    "sampled": [{"\0": 1.0}, {"\ud800": 1.0}],
    "anything else": ["x\0", "\ud800", -math.inf, -(10**400), json.loads("[" * 50 + "]" * 50)],
}
HOSTILE = [
    *({"final": whole} for whole in RESULTS.pop("no object")),
    *({kind: {}} for kind in ("x\0y", "\ud800", "k" * 100_000, "last", "")),
    *({"final": {name: wrong}} for name, wrongs in RESULTS.items() for wrong in wrongs or ()),
]


@pytest.mark.parametrize("results", HOSTILE, ids=lambda results: ascii(results)[:60])
def test_a_result_that_this_program_would_not_write_is_refused_and_leaves_nothing(
    stocks_run: dict[str, bytes], tmp_path: Path, results: object
) -> None:
    elsewhere = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    with pytest.raises(BadInput, match=r"^evaluation\.json of the exported run is damaged \(.*\): export it again\.$") as error:
        import_run(elsewhere, zipped(stocks_run | {"evaluation.json": json.dumps(results).encode()}))
    assert len(str(error.value)) < 200
    assert elsewhere.runs() == []


@pytest.fixture(scope="module")
def stocks_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    store = RunStore(f"sqlite:///{tmp_path_factory.mktemp('stocks') / 'runs.sqlite'}")
    return run_files(store, finished_run(store, TrainConfig(task="stocks", prices=store.save_prices(tea()))))


@pytest.mark.parametrize("result", [{}, {"curves": {"test": curve(DECISIONS)}}, {"parts": [{"part": "test", "sharpe": None}]}])
def test_a_result_of_another_version_that_has_less_in_it_is_taken_in_and_exported_again(
    stocks_run: dict[str, bytes], elsewhere: RunStore, result: dict[str, object]
) -> None:
    content = json.dumps({"final": result}).encode()
    copy_id = import_run(elsewhere, zipped(stocks_run | {"evaluation.json": content}))
    assert json.loads(run_files(elsewhere, copy_id)["evaluation.json"]) == {"final": result}


def test_a_run_that_failed_for_its_prices_are_too_few_comes_back(store: RunStore, elsewhere: RunStore) -> None:
    few = PriceSeries.from_close(np.datetime64("2020-01-01") + np.arange(30), np.arange(1.0, 31.0), "few")
    run = train_run(store, store.create_run(TrainConfig(task="stocks", prices=store.save_prices(few))))
    copy = elsewhere.run(import_run(elsewhere, export_zip(store, run.id)))
    assert (run.status, copy.status, copy.error) == ("failed", "failed", run.error)


def test_the_result_of_a_run_that_was_purged_comes_back_empty(store: RunStore, elsewhere: RunStore) -> None:
    run_id = finished_run(store, TrainConfig(task="stocks", prices="sp500"))
    store.delete(run_id)
    store.purge_deleted(-1.0)
    assert elsewhere.evaluation(import_run(elsewhere, export_zip(store, run_id)), "final") == {}


@pytest.mark.parametrize("counter", ["-5", "-1e300", "1e300", "9223372036854775808", "nan", "0.5"])
@pytest.mark.parametrize("column", ["update", "env_steps", "episodes"])
def test_a_counter_that_counts_nothing_is_refused(store: RunStore, column: str, counter: str) -> None:
    content = run_files(store, finished_run(store))
    header, first, *rest = content["records.csv"].decode().splitlines()
    cells = dict(zip(header.split(","), first.split(","), strict=True)) | {column: counter}
    spoilt = "\n".join([header, ",".join(cells.values()), *rest]).encode()
    with pytest.raises(BadInput, match=r"records\.csv of the exported run is damaged"):
        import_run(store, zipped(content | {"records.csv": spoilt}))


def with_shape(policy: bytes, shape: str) -> bytes:
    """The same arrays under another description of the network."""
    return save(load(policy), {"policy": shape})


SHAPE = {"observations": 5, "actions": 3, "kind": "categorical", "hidden": [], "activation": "relu", "scales_input": False}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_refused_with_a_sentence_and_leaves_nothing(
    store: RunStore, elsewhere: RunStore, tmp_path: Path, damage: str
) -> None:
    spoil, sentence = DAMAGE[damage]
    run_id = finished_run(store, TrainConfig(task="stocks", prices=store.save_prices(tea())))
    content = spoil(run_files(store, run_id))
    with pytest.raises(BadInput, match=sentence) as error:
        import_run(elsewhere, zipped(content))
    assert "\n" not in str(error.value)
    assert elsewhere.runs(include_deleted=True) == []
    assert elsewhere.price_list() == []
    (tmp_path / "folder").mkdir()
    for name, value in content.items():
        (tmp_path / "folder" / name).write_bytes(value)
    with pytest.raises(BadInput, match=sentence):
        import_run(elsewhere, tmp_path / "folder")


@pytest.mark.parametrize(
    "shape",
    ["[]", "3", "null", '""', "{}", "[" * 100_000, "nonsense"]
    + [json.dumps(SHAPE | {name: wrong}) for name in SHAPE for wrong in (None, -1, 10**15, [7], {})],
)
def test_a_policy_under_a_wrong_description_is_refused_or_does_no_harm(
    store: RunStore, elsewhere: RunStore, shape: str
) -> None:
    content = run_files(store, finished_run(store, TrainConfig(task="stocks")))
    refusal = ""
    try:
        run_id = import_run(elsewhere, zipped(content | {"policy.safetensors": with_shape(TRADER, shape)}))
    except BadInput as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith("policy.safetensors of the exported run is")
        assert elsewhere.runs() == []
    else:
        answer = read_actor(elsewhere.policy_bytes(run_id)).probabilities(np.zeros((4, 5), np.float32))
        assert answer.shape == (4, 3)


@pytest.mark.parametrize("task", [task for task in TASKS if task != "stocks"])
def test_the_policy_of_every_task_is_taken_in(store: RunStore, elsewhere: RunStore, task: str) -> None:
    config = TrainConfig(task=task)
    run_id = store.create_run(config)
    store.save_policies(run_id, [Snapshot(1, 64, Trainer(config).policy.to_bytes())])
    copy = import_run(elsewhere, export_zip(store, run_id))
    assert elsewhere.policy_bytes(copy) == store.policy_bytes(run_id)


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "a/../../x", "C:\\x", "..\\x", "C:x"])
def test_a_zip_that_points_outside_its_folder_is_refused(store: RunStore, elsewhere: RunStore, name: str) -> None:
    content = run_files(store, finished_run(store))
    with pytest.raises(BadInput, match="points outside its folder"):
        import_run(elsewhere, zipped(content | {name: b"{}"}))


def test_a_link_is_refused(store: RunStore, elsewhere: RunStore, tmp_path: Path) -> None:
    content = run_files(store, finished_run(store))
    buffer = io.BytesIO(zipped(without("config.json")(content)))
    with zipfile.ZipFile(buffer, "a") as archive:
        link = zipfile.ZipInfo("config.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(BadInput, match="points outside its folder"):
        import_run(elsewhere, buffer.getvalue())
    (tmp_path / "secret").write_bytes(content["config.json"])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(BadInput, match="is a link"):
        import_run(elsewhere, tmp_path / "folder")


def in_directory(archive: bytes, old: int, new: int) -> bytes:
    """The same zip file with another number wherever it says this one."""
    assert old.to_bytes(4, "little") in archive
    return archive.replace(old.to_bytes(4, "little"), new.to_bytes(4, "little"))


@pytest.mark.parametrize(("name", "bound"), [("LIMITS", {"records.csv": 1_000_000}), ("HARMLESS", 1_000_000)])
def test_a_zip_bomb_is_not_unpacked(
    store: RunStore, elsewhere: RunStore, monkeypatch: pytest.MonkeyPatch, name: str, bound: Any
) -> None:
    """Neither one of more than there may be, nor one that packs too well, whatever its directory says of it."""
    monkeypatch.setattr(exported, name, LIMITS | bound if isinstance(bound, dict) else bound)
    content = {"records.csv": b"0" * 5_000_000} | without("records.csv")(run_files(store, finished_run(store)))
    bomb = zipped(content)
    assert len(bomb) < 20_000
    packed = zipfile.ZipFile(io.BytesIO(bomb)).getinfo("records.csv").compress_size
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("it was unpacked"))
    for harmful in (bomb, in_directory(bomb, packed, 5_000_000)):
        with pytest.raises(BadInput, match=r"The exported run is not taken in: .* (larger|more) than 1 MB"):
            import_run(elsewhere, harmful)
    assert elsewhere.runs() == []


def test_a_zip_bomb_that_calls_itself_small_is_unpacked_no_further(store: RunStore, elsewhere: RunStore) -> None:
    content = run_files(store, finished_run(store))
    bomb = in_directory(zipped(content | {"records.csv": b"0" * 100_000_000}), 100_000_000, 50)
    tracemalloc.start()
    with pytest.raises(BadInput, match="Bad CRC-32"):
        import_run(elsewhere, bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    assert elsewhere.runs() == []


def test_what_a_long_run_comes_to_is_taken_in(tmp_path: Path) -> None:
    """File by file, not in sum, and by its size whatever the room."""
    for name in ("records.csv", "episodes.csv"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(70_000_000)
    assert {name: len(content) for name, content in read_exported(tmp_path).items()} == dict.fromkeys(
        ("records.csv", "episodes.csv"), 70_000_000
    )


def test_returns_that_are_all_alike_are_no_bomb_beside_the_records_of_their_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of CartPole, once it is solved: alone they pack better than is taken in."""
    monkeypatch.setattr(exported, "HARMLESS", 1_000_000)
    updates, rng = 5_000, np.random.default_rng(0)
    content = {
        "records.csv": table_csv(COLUMNS, rng.random((updates, len(COLUMNS))).tolist()),
        "episodes.csv": table_csv(["update", "return"], [(update, 500.0) for update in range(updates) for _ in range(64)]),
    }
    assert read_exported(zipped(content)) == content
    with pytest.raises(BadInput, match="200 times its size"):
        read_exported(zipped(without("records.csv")(content)))


@pytest.mark.parametrize("target", ["run", "run.zip"])
def test_export_says_beforehand_what_import_will_not_take_back(
    store: RunStore, elsewhere: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    run_id, said = finished_run(store), []
    export_run(store, run_id, tmp_path / f"small-{target}", said.append)
    assert said == []

    def say(sentence: str) -> None:
        assert not (tmp_path / target).exists()
        said.append(sentence)

    monkeypatch.setattr(exported, "LIMITS", LIMITS | {"records.csv": 1000})
    export_run(store, run_id, tmp_path / target, say)
    assert said == ["This export cannot be imported again: records.csv is larger than 0 MB."]
    with pytest.raises(BadInput, match=r"not taken in: records\.csv is larger than"):
        import_run(elsewhere, tmp_path / target)


def test_what_packs_too_well_to_be_taken_back_is_said_of_a_zip_alone(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "HARMLESS", 0)
    monkeypatch.setattr(exported, "MAX_RATIO", 1)
    run_id, said = store.create_run(TrainConfig()), []
    store.append_records(run_id, records(500))
    export_run(store, run_id, tmp_path / "run", said.append)
    assert said == []
    export_run(store, run_id, tmp_path / "run.zip", said.append)
    packs_well = "This export cannot be imported again: it unpacks to more than 0 MB and 1 times its size."
    assert said == [f"{packs_well} Export it into a folder instead."]


def test_the_command_line_says_it_beside_the_names_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PGLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PGLAB_DATABASE_URL", raising=False)
    monkeypatch.setattr(exported, "LIMITS", LIMITS | {"records.csv": 1000})
    assert main(["export", finished_run(RunStore()), str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == str(tmp_path / "run" / "config.json")
    assert err == "This export cannot be imported again: records.csv is larger than 0 MB.\n"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_whose_unpacking_has_no_bounds_is_not_opened(elsewhere: RunStore, method: int) -> None:
    bomb = lying_zip("config.json", method)
    damaged = bomb[:45] + b"\xff" * 5 + bomb[50:]
    for zip_file in (bomb, damaged):
        with pytest.raises(BadInput, match=r"pack it again the ordinary way \(deflate\)"):
            import_run(elsewhere, zip_file)


def test_a_zip_of_many_files_or_of_one_name_twice_is_refused(store: RunStore, elsewhere: RunStore) -> None:
    content = run_files(store, finished_run(store))
    with pytest.raises(BadInput, match="more than 100 files"):
        import_run(elsewhere, zipped(content | {f"x{i}": b"" for i in range(100)}))
    with pytest.raises(BadInput, match=r"holds config\.json twice"):
        import_run(elsewhere, zipped(content | {"other/config.json": b"{}"}))


def test_what_is_no_zip_and_no_folder_is_refused(elsewhere: RunStore, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").mkdir()
    for source in (b"", b"PK\x03\x04nonsense", tmp_path / "text", tmp_path / "nowhere"):
        with pytest.raises(BadInput, match="cannot be read as an exported run"):
            import_run(elsewhere, source)
    with pytest.raises(BadInput, match=r"has no config\.json"):
        import_run(elsewhere, tmp_path / "empty")


def test_texts_that_no_database_takes_are_made_fit(store: RunStore, elsewhere: RunStore) -> None:
    content = run_files(store, finished_run(store))
    about = json.loads(content["run.json"])
    about |= {"name": "a\0b\ud800<script>", "error": "x\0y\ud800", "tags": ["t\0", 5, None], "trained_with": ["\0"], "id": None}
    copy = elsewhere.run(import_run(elsewhere, zipped(content | {"run.json": json.dumps(about).encode()})))
    assert (copy.error, copy.tags) == ("xy?", ("t",))
    assert copy.name.startswith("ab")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_fuzzed_zip_does_more_than_be_refused(store: RunStore, elsewhere: RunStore, data: st.DataObject) -> None:
    known = store.runs()
    whole = bytearray(export_zip(store, known[0].id if known else finished_run(store)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    before = len(elsewhere.runs())
    try:
        import_run(elsewhere, bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    except BadInput:
        assert len(elsewhere.runs()) == before


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_fuzzed_policy_does_more_than_be_refused(store: RunStore, elsewhere: RunStore, data: st.DataObject) -> None:
    known = store.runs()
    run_id = known[0].id if known else finished_run(store)
    policy = bytearray(POLICY)
    for _ in range(data.draw(st.integers(1, 4))):
        policy[data.draw(st.integers(0, min(len(policy), 600) - 1))] = data.draw(st.integers(0, 255))
    before = len(elsewhere.runs())
    try:
        copy = import_run(elsewhere, zipped(run_files(store, run_id) | {"policy.safetensors": bytes(policy)}))
    except BadInput:
        assert len(elsewhere.runs()) == before
    else:
        assert read_actor(elsewhere.policy_bytes(copy)).probabilities(np.zeros((3, 4), np.float32)).shape == (3, 2)


def test_dates_that_pandas_would_guess_at_are_read_as_written() -> None:
    content = b"date,open,high,low,close,volume\n2020-01-02,1,1,1,1,nan\n2020-01-03,2,2,2,2,5\n"
    series = read_prices(content, "x")
    assert series.dates.astype("datetime64[D]").astype(str).tolist() == ["2020-01-02", "2020-01-03"]
    assert math.isnan(series.volume[0])


def test_a_run_that_came_without_a_checkpoint_keeps_what_it_learned(store: RunStore, elsewhere: RunStore) -> None:
    run_id = store.create_run(TrainConfig(max_steps=4_000))
    train_run(store, run_id)
    store.set_status(run_id, "stopped")
    copy = import_run(elsewhere, export_zip(store, run_id))
    with pytest.raises(BadInput, match="trained elsewhere, and its file held no checkpoint"):
        elsewhere.resume(copy)
    assert elsewhere.run(copy).status == "stopped"
    assert len(elsewhere.records(copy)) == len(store.records(run_id)) > 0
    untrained = import_run(elsewhere, export_zip(store, store.create_run(TrainConfig(max_steps=4_000))))
    elsewhere.resume(untrained)
    assert elsewhere.run(untrained).status == "queued"


def test_the_data_directory_is_never_written_by_an_import(store: RunStore, tmp_path: Path) -> None:
    content = export_zip(store, finished_run(store))
    before = {path.name for path in (tmp_path / "here").iterdir()}
    import_run(store, content)
    assert {path.name for path in (tmp_path / "here").iterdir()} == before
    assert not os.path.exists("config.json")
