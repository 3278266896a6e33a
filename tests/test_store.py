"""The run store, on SQLite and on PostgreSQL: what goes in comes out, and what is wrong is said in one sentence."""

import contextlib
import dataclasses
import math
import os
import socket
import sqlite3
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.market.prices import PriceSeries, load_sample
from pgcore.record import UpdateRecord
from pgcore.runs import life, schema
from pgcore.runs.data import Snapshot, Superseded
from pgcore.runs.database import StoreError, data_directory
from pgcore.runs.packing import COLUMNS, Records
from pgcore.runs.process import Process, this_process
from pgcore.runs.run import Control
from pgcore.runs.store import RunStore, resolve_prices

ELSEWHERE = Process("another-machine", "boot", 1, 0.0)
GONE = dataclasses.replace(this_process(), pid=2**22 + 1)
KNOWS_ITS_BOOT = pytest.mark.skipif(not this_process().boot, reason="no boot is told from another here")


def record(update: int, **changes: object) -> UpdateRecord:
    numbers = dict.fromkeys(COLUMNS, 0.5) | {"update": update, "env_steps": 64 * update, "episodes": 2 * update}
    return UpdateRecord(**numbers | {"episode_returns": (1.0, 2.0), "action_share": (0.25, 0.75)} | changes)


def series(name: str = "tea", start: float = 1.0) -> PriceSeries:
    days = np.datetime64("2020-01-01") + np.arange(30)
    return PriceSeries.from_close(days, start + np.arange(30) / 7, name)


def bits(row: UpdateRecord) -> list[object]:
    """A record with every number as its bits, and every NaN as one."""

    def of(value: object) -> object:
        if isinstance(value, tuple):
            return [of(x) for x in value]
        if isinstance(value, float):
            return "nan" if math.isnan(value) else struct.pack("<d", value)
        return value

    return [of(getattr(row, name)) for name in COLUMNS]


# ---- records

doubles = st.floats(allow_nan=True, allow_infinity=True, width=64)
rows = st.builds(
    UpdateRecord,
    **dict.fromkeys(COLUMNS, doubles)
    | {name: st.integers(1, 2**53) for name in ("update", "env_steps", "episodes")}
    | {"episode_returns": st.lists(doubles, max_size=5).map(tuple), "action_share": st.tuples(doubles, doubles)},
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(rows, max_size=6, unique_by=lambda row: row.update))
def test_records_come_back_to_the_bit(store: RunStore, written: list[UpdateRecord]) -> None:
    run_id = store.create_run(TrainConfig())
    store.append_records(run_id, written)
    read = store.records(run_id)
    assert [bits(row) for row in read.rows()] == [bits(row) for row in sorted(written, key=lambda row: row.update)]
    assert read.episode_returns.dtype == np.float64


def test_minus_zero_and_nan_survive(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.append_records(run_id, [record(1, kl=-0.0, entropy=math.nan, policy_loss=-math.inf, value_loss=5e-324)])
    read = store.records(run_id)
    assert np.signbit(read.kl[0])
    assert np.isnan(read.entropy[0])
    assert read.policy_loss[0] == -math.inf
    assert read.value_loss[0] == 5e-324


def test_the_cursor_returns_new_rows_only_in_order(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    other = store.create_run(TrainConfig())
    store.append_records(run_id, [record(u) for u in (1, 2, 3, 4, 5)])
    store.append_records(other, [record(9)])
    assert store.records(run_id, after=3).update.tolist() == [4, 5]
    assert store.records(run_id, after=1, limit=2).update.tolist() == [2, 3]
    assert len(store.records(run_id, after=5)) == 0


def test_episodes_know_the_row_they_belong_to(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.append_records(
        run_id, [record(1, episode_returns=(7.0,)), record(2, episode_returns=()), record(3, episode_returns=(8.0, 9.0))]
    )
    read = store.records(run_id)
    assert read.episode_returns.tolist() == [7.0, 8.0, 9.0]
    assert read.episode_of.tolist() == [0, 2, 2]
    assert read.action_share.shape == (3, 2)


def test_records_read_in_pieces_join_to_the_whole(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.append_records(run_id, [record(u, kl=float(u)) for u in range(1, 8)])
    pieces, whole = store.records(run_id, after=100), store.records(run_id)
    for after in (0, 3, 6):
        pieces = pieces.followed_by(store.records(run_id, after=after, limit=3))
    for field in dataclasses.fields(Records):
        np.testing.assert_array_equal(getattr(pieces, field.name), getattr(whole, field.name))


def test_every_kth_record_and_the_last_are_read_where_all_are_too_many(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.append_records(run_id, [record(u, episode_returns=(float(u),) * (u % 3)) for u in range(1, 12)])
    some = store.records(run_id, every=4)
    assert some.update.tolist() == [4, 8, 11]
    assert store.records(run_id, after=4, every=4).update.tolist() == [8, 11]
    assert store.records(run_id, after=4, every=4, limit=1).update.tolist() == [8]
    everything = store.records(run_id)
    picked = everything.only((everything.update % 4 == 0) | (everything.update == 11))
    for field in dataclasses.fields(Records):
        np.testing.assert_array_equal(getattr(some, field.name), getattr(picked, field.name))


def test_a_record_written_again_replaces_the_first(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.append_records(run_id, [record(1), record(2, kl=1.0)])
    store.append_records(run_id, [record(2, kl=2.0), record(3)])
    assert store.records(run_id).kl.tolist() == [0.5, 2.0, 0.5]


def test_records_move_the_counters_of_the_run(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    assert math.isnan(store.run(run_id).return_mean)
    store.append_records(run_id, [record(1), record(2, return_mean=123.25)])
    run = store.run(run_id)
    assert (run.updates, run.env_steps, run.episodes, run.return_mean) == (2, 128, 4, 123.25)


def test_a_run_knows_how_long_it_trained_and_its_best_episode(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    run = store.run(run_id)
    assert run.wall_s == 0.0
    assert math.isnan(run.return_best)
    store.append_records(run_id, [record(1, episode_returns=()), record(2, wall_s=1.5, episode_returns=(-7.0, math.nan))])
    assert (store.run(run_id).wall_s, store.run(run_id).return_best) == (1.5, -7.0)
    store.append_records(run_id, [record(3, wall_s=2.5, episode_returns=(-9.0, -3.0))])
    store.append_records(run_id, [record(4, wall_s=3.5, episode_returns=(-4.0,))])
    assert (store.run(run_id).wall_s, store.run(run_id).return_best) == (3.5, -3.0)


def test_the_table_of_records_has_a_column_for_each_field() -> None:
    """A field added to UpdateRecord needs a column, and a step in schema.STEPS for the stores that exist."""
    columns = {column.name for column in schema.records.columns}
    assert columns == {"run_key", *(field.name for field in dataclasses.fields(UpdateRecord))}
    assert {field.name for field in dataclasses.fields(Records)} == {*COLUMNS, "episode_of"}


# ---- runs


def test_a_run_keeps_its_config_name_and_tags(store: RunStore) -> None:
    config = TrainConfig(estimator="reinforce", learning_rate=0.003, hidden_sizes=(32, 16))
    run_id = store.create_run(config, name="a\nb\x00", group="seeds", tags=["x", "y", "x", " "])
    run = store.run(run_id)
    assert run.config == config
    assert (run.id, run.status, run.task, run.estimator) == (run_id, "queued", "CartPole-v1", "reinforce")
    assert (run.name, run.group, run.tags, run.prices) == ("a b", "seeds", ("x", "y"), "")
    store.rename(run_id, "new")
    store.tag(run_id, ["z"])
    assert (store.run(run_id).name, store.run(run_id).tags) == ("new", ("z",))


def test_the_first_characters_of_an_id_will_do(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    assert store.run(run_id[:8]).id == run_id
    for wrong in (
        run_id[:3],
        "ffff" if not run_id.startswith("ffff") else "eeee",
        "%%%%",
        "____",
        "",
        "'; drop table runs --",
        "é" * 40,
    ):
        with pytest.raises(BadInput, match="There is no run"):
            store.run(wrong)


def test_an_ambiguous_beginning_is_refused(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["abcd1111-0000-4000-8000-000000000000", "abcd2222-0000-4000-8000-000000000000"])
    monkeypatch.setattr("pgcore.runs.store.uuid.uuid4", lambda: next(ids))
    store.create_run(TrainConfig())
    second = store.create_run(TrainConfig())
    with pytest.raises(BadInput, match="More than one run"):
        store.run("abcd")
    assert store.run("abcd2").id == second


def test_listings_are_newest_first_and_filtered(store: RunStore) -> None:
    first = store.create_run(TrainConfig(), group="g")
    second = store.create_run(TrainConfig(task="stocks", prices="nasdaq"))
    assert [run.id for run in store.runs()] == [second, first]
    assert [run.id for run in store.runs(group="g")] == [first]
    assert [run.id for run in store.runs(prices="nasdaq")] == [second]
    assert [run.id for run in store.runs(limit=1)] == [second]


def test_a_group_is_listed_whole_though_it_is_longer_than_a_listing(store: RunStore) -> None:
    with store.transaction() as together:
        for _ in range(201):
            together.create_run(TrainConfig(), group="twenty seeds, twenty folds")
    assert len(store.runs()) == 200
    assert len(store.runs(group="twenty seeds, twenty folds")) == 201


def test_deleted_runs_are_out_of_sight_until_restored_and_gone_when_purged(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.append_records(run_id, [record(1)])
    store.delete(run_id)
    assert store.runs() == []
    assert [run.id for run in store.runs(include_deleted=True)] == [run_id]
    assert store.run(run_id).status == "stopped"
    with pytest.raises(BadInput, match="deleted"):
        store.resume(run_id)
    store.restore(run_id)
    assert [run.id for run in store.runs()] == [run_id]
    store.purge(run_id)
    with pytest.raises(BadInput, match="There is no run"):
        store.records(run_id)


def test_many_runs_are_deleted_and_brought_back_together_or_not_at_all(store: RunStore) -> None:
    ids = [store.create_run(TrainConfig(seed=seed)) for seed in range(5)]
    with store.transaction() as together:
        for run_id in ids[1:]:
            together.delete(run_id)
    assert [run.id for run in store.runs()] == ids[:1]

    def restore_all(named: list[str]) -> None:
        with store.transaction() as together:
            for run_id in named:
                together.restore(run_id)

    with pytest.raises(BadInput, match="There is no run"):
        restore_all([ids[1], "no-such-run"])
    assert [run.id for run in store.runs()] == ids[:1]
    restore_all(ids[1:])
    assert len(store.runs()) == 5
    with store.transaction() as together:
        for run_id in ids:
            together.purge(run_id)
    assert store.runs(include_deleted=True) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda store, run_id: store.create_run(TrainConfig()),
        lambda store, run_id: store.rename(run_id, "another name"),
        lambda store, run_id: store.request(run_id, pace=2.0),
        lambda store, run_id: store.append_records(run_id, [record(2)]),
        lambda store, run_id: store.claim(run_id, this_process()),
        lambda store, run_id: store.assign(this_process(), 9),
        lambda store, run_id: store.delete(run_id),
        lambda store, run_id: store.purge(run_id),
    ],
)
def test_any_change_to_a_run_is_seen_at_a_glance_and_nothing_else(store: RunStore, change) -> None:
    run_id = store.create_run(TrainConfig())
    before, stranger = store.last_change(), store.as_user("stranger").last_change()
    store.runs()
    store.save_prices(series())
    assert store.last_change() == before
    change(store, run_id)
    assert store.last_change() != before
    assert store.as_user("stranger").last_change() == stranger


def test_all_that_was_tried_on_prices_is_counted_deleted_or_not(store: RunStore) -> None:
    digest = store.save_prices(series())
    configs = [TrainConfig(task="stocks", prices=digest, seed=seed) for seed in range(4)]
    judged, unjudged, deleted, _untrained = map(store.create_run, configs)
    for run_id in (judged, unjudged, deleted):
        store.append_records(run_id, [record(1)])
    store.save_evaluation(judged, "final", {"parts": [{"part": "train", "sharpe": 9.0}, {"part": "test", "sharpe": 0.5}]})
    store.save_evaluation(judged, "other", {"parts": [{"part": "test", "sharpe": 7.0}]})
    store.save_evaluation(deleted, "final", {"parts": [{"part": "test", "sharpe": math.nan}]})
    store.delete(deleted)
    store.create_run(TrainConfig(task="stocks"))
    assert sorted(store.trials(digest), key=str) == sorted(
        [(configs[0].to_json(), 0.5), (configs[1].to_json(), None), (configs[2].to_json(), None)], key=str
    )
    assert store.as_user("anna").trials(digest) == []


def test_a_sample_and_the_same_prices_uploaded_are_tried_as_one(store: RunStore) -> None:
    keys = ["nasdaq", store.save_prices(load_sample("nasdaq")), "sp500", "synthetic:random-walk"]
    configs = {key: TrainConfig(task="stocks", prices=key, seed=i) for i, key in enumerate(keys)}
    for config in configs.values():
        store.append_records(store.create_run(config), [record(1)])
    for key in keys:
        same = keys[:2] if key in keys[:2] else [key]
        assert sorted(store.trials(key)) == sorted((configs[name].to_json(), None) for name in same)


def test_a_config_with_a_setting_of_another_version_can_still_be_read(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    with store._database.write() as connection:
        connection.execute(sa.update(schema.runs).values(config='{"task": "CartPole-v1", "estimator": "ppo", "of_yore": 3}'))
    assert store.run(run_id).config == TrainConfig()


# ---- owners


def everything_asked_of(view: RunStore, run_id: str) -> Iterator[object]:
    """Every read and every command that takes a run id."""
    yield lambda: view.run(run_id)
    yield lambda: view.records(run_id)
    yield lambda: view.append_records(run_id, [record(1)])
    yield lambda: view.drop_records(run_id, 0)
    yield lambda: view.recount(run_id)
    yield lambda: view.control(run_id)
    yield lambda: view.request(run_id, desired="stop")
    yield lambda: view.resume(run_id)
    yield lambda: view.heartbeat(run_id, 1.0)
    yield lambda: view.set_status(run_id, "failed")
    yield lambda: view.claim(run_id, this_process())
    yield lambda: view.park(run_id)
    yield lambda: view.reach_pause(run_id, 1)
    yield lambda: view.save_checkpoint(run_id, 1, 1, b"")
    yield lambda: view.checkpoint(run_id)
    yield lambda: view.checkpoints(run_id)
    yield lambda: view.save_policies(run_id, [Snapshot(1, 1, b"")])
    yield lambda: view.policy_bytes(run_id)
    yield lambda: view.choose_policy(run_id, Snapshot(1, 1, b""))
    yield lambda: view.policies(run_id)
    yield lambda: view.save_evaluation(run_id, "final", {})
    yield lambda: view.evaluation(run_id, "final")
    yield lambda: view.evaluations(run_id)
    yield lambda: view.add_event(run_id, "x", "y")
    yield lambda: view.events(run_id)
    yield lambda: view.rename(run_id, "mine now")
    yield lambda: view.tag(run_id, [])
    yield lambda: view.delete(run_id)
    yield lambda: view.restore(run_id)
    yield lambda: view.purge(run_id)


def test_nobody_sees_or_commands_the_runs_of_others(store: RunStore) -> None:
    anna, bert = store.as_user("anna"), store.as_user("bert")
    run_id = anna.create_run(TrainConfig(), name="anna's", owner="bert")
    before = store.run(run_id)
    assert before.owner == "anna"
    for ask in everything_asked_of(bert, run_id):
        with pytest.raises(BadInput, match="There is no run"):
            ask()
    with pytest.raises(BadInput, match="There is no run"):
        bert.run(run_id[:6])
    assert bert.runs() == bert.runs(owner="anna") == []
    assert store.run(run_id) == anna.run(run_id) == before
    assert [run.id for run in anna.runs()] == [run_id]


def test_every_method_that_takes_a_run_id_is_in_the_list_of_those_checked(store: RunStore) -> None:
    asked = {name for ask in everything_asked_of(store, "") for name in ask.__code__.co_names}
    takes_one = {name for name in dir(RunStore) if name[0] != "_" and "run_id" in _parameters(getattr(RunStore, name))}
    assert takes_one <= asked


def _parameters(member: object) -> tuple[str, ...]:
    code = getattr(member, "__code__", None)
    return code.co_varnames[: code.co_argcount] if code else ()


def test_prices_are_seen_by_their_owner_only(store: RunStore) -> None:
    anna, bert = store.as_user("anna"), store.as_user("bert")
    digest = anna.save_prices(series("anna's tea"))
    assert bert.price_list() == []
    with pytest.raises(BadInput, match="There are no prices"):
        bert.prices(digest)
    with pytest.raises(BadInput, match="There are no prices"):
        bert.create_run(TrainConfig(task="stocks", prices=digest))
    assert bert.save_prices(series("my tea")) == digest
    assert (anna.prices(digest).name, bert.prices(digest).name) == ("anna's tea", "my tea")


def test_deleted_prices_are_out_of_the_list_and_go_with_their_last_run(store: RunStore) -> None:
    digest = store.save_prices(series())
    run_id = store.create_run(TrainConfig(task="stocks", prices=digest))
    store.delete_prices(digest)
    assert store.price_list() == []
    assert store.prices(digest) == series(), "the run still needs them"
    store.purge(run_id)
    with pytest.raises(BadInput, match="There are no prices"):
        store.prices(digest)
    with pytest.raises(BadInput, match="There are no prices"):
        store.delete_prices(digest)
    store.delete_prices(store.save_prices(series()))
    with pytest.raises(BadInput, match="There are no prices"):
        store.prices(digest)
    store.save_prices(series())
    assert len(store.price_list()) == 1, "saved again they are as new"


def test_deleting_prices_leaves_those_of_others_alone(store: RunStore) -> None:
    anna, bert = store.as_user("anna"), store.as_user("bert")
    digest = anna.save_prices(series())
    with pytest.raises(BadInput, match="There are no prices"):
        bert.delete_prices(digest)
    bert.save_prices(series("bert's"))
    bert.create_run(TrainConfig(task="stocks", prices=digest))
    anna.delete_prices(digest)
    with pytest.raises(BadInput, match="There are no prices"):
        anna.prices(digest)
    assert bert.prices(digest).name == "bert's"


# ---- prices, checkpoints, policies, results, events


def test_prices_come_back_as_they_were_under_their_hash(store: RunStore) -> None:
    one = series()
    digest = store.save_prices(one)
    assert store.save_prices(one) == digest == one.digest
    back = resolve_prices(store, digest)
    assert back == one
    assert (back.name, len(back)) == ("tea", 30)
    (listed,) = store.price_list()
    assert (listed.digest, listed.length, listed.first, listed.last) == (digest, 30, "2020-01-01", "2020-01-30")
    assert len(resolve_prices(store, "sp500")) > 5000


WEEK_S = 7 * 24 * 3600.0


def deleted_long_ago(store: RunStore, *run_ids: str) -> None:
    for run_id in run_ids:
        store.delete(run_id)
    with store._database.write() as connection:
        connection.execute(sa.update(schema.runs).where(schema.runs.c.id.in_(run_ids)).values(deleted=time.time() - WEEK_S - 9))


def test_what_was_deleted_long_ago_is_purged_and_nothing_else(store: RunStore) -> None:
    long_ago, lately, kept, trained = (store.create_run(TrainConfig()) for _ in range(4))
    store.claim(trained, this_process())
    store.delete(lately)
    deleted_long_ago(store, long_ago, trained)
    store.purge_deleted(WEEK_S)
    assert {run.id for run in store.runs(include_deleted=True)} == {lately, kept, trained}


def test_a_trial_on_prices_still_counts_when_all_else_of_it_is_purged(store: RunStore) -> None:
    config = TrainConfig(task="stocks", prices=store.save_prices(series()))
    run_id = store.create_run(config)
    store.append_records(run_id, [record(1)])
    store.save_policies(run_id, [Snapshot(1, 1, b"x")])
    store.save_evaluation(run_id, "final", {"parts": [{"part": "test", "sharpe": 0.5}]})
    deleted_long_ago(store, run_id)
    store.purge_deleted(WEEK_S)
    assert (len(store.records(run_id)), store.policies(run_id), store.evaluation(run_id, "final")) == (0, [], {})
    assert store.trials(config.prices) == [(config.to_json(), 0.5)]
    assert store.runs() == []


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", " = +", "\n@", "=\t-"])
def test_no_name_or_tag_is_a_formula_in_a_spreadsheet(store: RunStore, start: str) -> None:
    run_id = store.create_run(TrainConfig(), name=f"{start}cmd|x", group=f"{start}g", tags=[f"{start}t=1", start])
    run = store.run(run_id)
    assert (run.name, run.group, run.tags) == ("cmd|x", "g", ("t=1",))
    store.rename(run_id, f"{start}a - b")
    store.tag(run_id, [f"{start}u"])
    assert (store.run(run_id).name, store.run(run_id).tags) == ("a - b", ("u",))


def test_a_run_on_prices_that_are_not_there_is_refused(store: RunStore) -> None:
    with pytest.raises(BadInput, match="There are no prices 'nonsense'"):
        store.create_run(TrainConfig(task="stocks", prices="nonsense"))
    assert store.runs() == []


def test_the_last_two_checkpoints_are_kept(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    assert store.checkpoint(run_id) is None
    for update in (1, 2, 3):
        store.save_checkpoint(run_id, update, 10 * update, bytes([update]) * 1000)
    assert store.checkpoints(run_id) == [(2, 20), (3, 30)]
    assert store.checkpoint(run_id) == b"\3" * 1000
    assert store.checkpoint(run_id, 2) == b"\2" * 1000
    assert store.checkpoint(run_id, 1) is None


def test_policies_can_be_thinned(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.save_policies(run_id, [Snapshot(u, 10 * u, bytes([u])) for u in range(5)])
    store.save_policies(run_id, [Snapshot(7, 70, b"last")], keep_every=2)
    assert store.policies(run_id) == [(0, 0), (2, 20), (4, 40), (7, 70)]
    assert store.policy_bytes(run_id) == b"last"
    assert store.policy_bytes(run_id, 4) == b"\4"


def test_the_chosen_policy_is_the_runs_own_and_leaves_its_history_true(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.save_policies(run_id, [Snapshot(u, 10 * u, bytes([u])) for u in range(5)])
    for chosen in (3, 2):
        store.choose_policy(run_id, Snapshot(chosen, 10 * chosen, bytes([chosen])))
    assert store.policy_bytes(run_id) == b"\2"
    assert [store.policy_bytes(run_id, update) for update, _ in store.policies(run_id)] == [bytes([u]) for u in range(5)]


def test_a_result_worked_out_anew_is_still_of_the_chosen_checkpoint(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.save_evaluation(run_id, "final", {"a": 1, "checkpoint": {"update": 2}})
    store.save_evaluation(run_id, "final", {"a": 2})
    assert store.evaluation(run_id, "final") == {"a": 2, "checkpoint": {"update": 2}}
    store.save_evaluation(run_id, "final", {"a": 3, "checkpoint": {"update": 5}})
    assert store.evaluation(run_id, "final") == {"a": 3, "checkpoint": {"update": 5}}


def test_results_keep_numbers_that_are_none_and_numpys(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.save_evaluation(
        run_id, "final", {"sharpe": math.nan, "mean": np.float32(0.5), "curve": np.arange(3), "won": np.bool_(True)}
    )
    store.save_evaluation(run_id, "other", {"a": [math.inf]})
    result = store.evaluation(run_id, "final")
    assert result is not None
    assert math.isnan(result.pop("sharpe"))
    assert result == {"mean": 0.5, "curve": [0, 1, 2], "won": True}
    assert store.evaluation(run_id, "other") == {"a": [math.inf]}
    assert store.evaluation(run_id, "none") is None
    assert store.evaluations(run_id) == ["final", "other"]


def test_events_are_told_in_order(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    for text in ("one", "two"):
        store.add_event(run_id, "note", text)
    assert [(event.kind, event.message) for event in store.events(run_id)] == [("note", "one"), ("note", "two")]


def test_a_transaction_keeps_all_or_nothing(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())

    def break_off() -> None:
        with store.transaction() as together:
            together.append_records(run_id, [record(1)])
            assert len(together.records(run_id)) == 1
            raise InterruptedError

    with pytest.raises(InterruptedError):
        break_off()
    assert len(store.records(run_id)) == 0
    assert store.run(run_id).updates == 0


# ---- life


def test_control_is_what_was_asked_last(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    assert store.control(run_id) == Control("run", None, None)
    store.request(run_id, desired="pause", pace=2.5)
    store.request(run_id, pause_at=7)
    asked_at = store.control(run_id).desired_at
    assert store.control(run_id) == Control("pause", 2.5, 7, asked_at)
    store.request(run_id, desired="run", pace=None, pause_at=None)
    asked_again_at = store.control(run_id).desired_at
    assert store.control(run_id) == Control("run", None, None, asked_again_at)
    assert asked_again_at > asked_at > store.run(run_id).created.timestamp()
    for wrong in ({"pace": 0.0}, {"pace": math.nan}, {"pause_at": 0}):
        with pytest.raises(BadInput):
            store.request(run_id, **wrong)


def test_a_run_is_claimed_once(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.claim(run_id, this_process())
    assert store.run(run_id).status == "running"
    assert store.run(run_id).process == this_process()
    with pytest.raises(BadInput, match="is running, not waiting"):
        store.claim(run_id, ELSEWHERE)


def test_of_many_claimers_at_once_one_wins(store_url: str) -> None:
    store = RunStore(store_url)
    run_id = store.create_run(TrainConfig())
    start, won = threading.Barrier(8), []

    def claim(pid: int) -> None:
        own = RunStore(store_url)
        start.wait()
        try:
            own.claim(run_id, dataclasses.replace(ELSEWHERE, pid=pid))
            won.append(pid)
        except BadInput:
            pass
        own.close()

    _together(claim, 8)
    assert len(won) == 1
    assert store.run(run_id).process.pid == won[0]
    store.close()


def test_pools_on_one_machine_share_its_cap_and_never_a_run(store_url: str) -> None:
    store = RunStore(store_url)
    ids = [store.create_run(TrainConfig()) for _ in range(6)]
    start, given = threading.Barrier(8), []

    def assign(pid: int) -> None:
        own = RunStore(store_url)
        start.wait()
        given.append(own.assign(dataclasses.replace(ELSEWHERE, pid=pid), cap=3))
        own.close()

    _together(assign, 8)
    assert sorted(filter(None, given)) == sorted(ids[:3])
    assert [run.position for run in reversed(store.runs())] == [None, None, None, 1, 2, 3]
    store.close()


def test_a_paused_run_keeps_its_place_until_it_gives_its_process_up(store: RunStore) -> None:
    paused, waiting = (store.create_run(TrainConfig()) for _ in range(2))
    assert store.assign(this_process(), cap=1) == paused
    mine = store.claim(paused, this_process())
    mine.heartbeat(paused, 60.0, status="paused")
    assert store.assign(this_process(), cap=1) is None
    mine.park(paused)
    assert store.assign(this_process(), cap=1) == waiting


def test_a_terminal_whose_run_is_paused_and_never_gives_its_process_up_keeps_nobody_waiting(store: RunStore) -> None:
    of_a_terminal = store.create_run(TrainConfig(), process=this_process())
    waiting = store.create_run(TrainConfig())
    mine = store.claim(of_a_terminal, this_process())
    assert store.assign(this_process(), cap=1) is None
    mine.heartbeat(of_a_terminal, 60.0, status="paused")
    assert store.assign(this_process(), cap=1) == waiting


def test_a_run_whose_terminal_ended_before_taking_it_waits_behind_those_that_wait(store: RunStore) -> None:
    waiting = store.create_run(TrainConfig())
    of_a_terminal = store.create_run(TrainConfig(), process=GONE)
    store.reconcile()
    assert [store.run(run_id).position for run_id in (waiting, of_a_terminal)] == [1, 2]


def _together(task: object, times: int) -> None:
    threads = [threading.Thread(target=task, args=(i,)) for i in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_run_handed_to_a_process_is_for_that_one_only(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    assert store.assign(ELSEWHERE, cap=1) == run_id
    assert store.run(run_id).status == "starting"
    with pytest.raises(BadInput):
        store.claim(run_id, this_process())


def test_a_run_whose_process_ended_before_taking_it_waits_again(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    assert store.assign(GONE, cap=1) == run_id
    assert (store.run(run_id).status, store.run(run_id).process) == ("queued", None)
    assert store.assign(ELSEWHERE, cap=1) == run_id


def test_stopped_and_deleted_runs_are_not_handed_out(store: RunStore) -> None:
    stopped, deleted, waiting = (store.create_run(TrainConfig()) for _ in range(3))
    store.request(stopped, desired="stop")
    store.delete(deleted)
    assert store.run(stopped).status == "stopped"
    assert store.assign(ELSEWHERE, cap=5) == waiting
    assert store.assign(ELSEWHERE, cap=5) is None


def test_whoever_lost_the_run_cannot_write_to_it(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    lost = store.claim(run_id, ELSEWHERE)
    lost.append_records(run_id, [record(1)])
    store.set_status(run_id, "stopped")
    store.resume(run_id)
    store.claim(run_id, this_process())
    before = store.run(run_id)
    for write in (
        lambda: lost.append_records(run_id, [record(2)]),
        lambda: lost.drop_records(run_id, 0),
        lambda: lost.save_checkpoint(run_id, 2, 2, b""),
        lambda: lost.save_policies(run_id, [Snapshot(2, 2, b"")]),
        lambda: lost.heartbeat(run_id, 1.0),
        lambda: lost.set_status(run_id, "finished"),
        lambda: lost.park(run_id),
    ):
        with pytest.raises(Superseded):
            write()
    assert store.run(run_id) == before
    assert store.records(run_id).update.tolist() == [1]


def test_a_run_whose_process_is_gone_reads_crashed(store: RunStore) -> None:
    seen, listed = (store.create_run(TrainConfig()) for _ in range(2))
    for run_id in (seen, listed):
        store.claim(run_id, GONE)
    assert store.run(seen).status == "crashed"
    assert "gone" in store.run(seen).error
    assert {run.status for run in store.runs()} == {"crashed"}
    assert store.reconcile() == 0


def test_a_process_id_that_was_given_out_again_is_not_taken_for_the_trainer(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.claim(run_id, dataclasses.replace(this_process(), started=this_process().started - 3600))
    assert store.run(run_id).status == "crashed"


def test_a_living_trainer_is_never_called_crashed_however_silent(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.claim(run_id, this_process()).heartbeat(run_id, -3600.0)
    assert store.run(run_id).status == "running"


def test_a_trainer_on_another_machine_is_stale_only_once_its_promise_is_broken(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    mine = store.claim(run_id, ELSEWHERE)
    mine.heartbeat(run_id, 60.0)
    assert store.run(run_id).status == "running"
    mine.heartbeat(run_id, -3600.0)
    assert store.run(run_id).status == "stale"
    mine.heartbeat(run_id, 60.0)
    assert store.run(run_id).status == "running"


@pytest.fixture
def reboot(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr("pgcore.runs.process.booted_at", lambda: time.time() + 1)


def test_a_trainer_of_an_earlier_boot_of_this_machine_is_gone(store: RunStore, reboot: Callable[[], None]) -> None:
    run_id = store.create_run(TrainConfig())
    store.claim(run_id, Process(socket.gethostname(), "an earlier boot", 1, 0.0)).heartbeat(run_id, -3600.0)
    reboot()
    assert store.run(run_id).status == ("crashed" if Path("/proc/sys/kernel/random/boot_id").exists() else "stale")


def test_a_trainer_that_was_heard_of_since_this_boot_is_on_another_machine_of_that_name(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.claim(run_id, Process(socket.gethostname(), "its own boot", 1, 0.0)).heartbeat(run_id, 60.0)
    assert store.run(run_id).status == "running"


@KNOWS_ITS_BOOT
def test_a_promise_made_before_a_reboot_is_not_believed(store: RunStore, reboot: Callable[[], None]) -> None:
    taken, handed_over = (store.create_run(TrainConfig()) for _ in range(2))
    before = Process(socket.gethostname(), "an earlier boot", 1, 0.0)
    store.claim(taken, before).heartbeat(taken, 600.0)
    assert store.assign(before, cap=5) == handed_over
    reboot()
    assert (store.run(taken).status, store.run(handed_over).status) == ("crashed", "queued")
    store.resume(taken, this_process())
    assert store.run(taken).process == this_process()


@pytest.fixture
def rename_machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr("pgcore.runs.process.socket.gethostname", lambda: "renamed")


@KNOWS_ITS_BOOT
def test_a_run_handed_over_before_its_machine_was_renamed_is_still_for_that_process(
    store: RunStore, rename_machine: Callable[[], None]
) -> None:
    of_old = this_process()
    training, handed_over, waiting = (store.create_run(TrainConfig()) for _ in range(3))
    store.claim(training, of_old)
    assert store.assign(of_old, cap=2) == handed_over
    rename_machine()
    assert this_process() == dataclasses.replace(of_old, host="renamed")
    assert store.assign(this_process(), cap=2) is None, "both still have their place"
    store.claim(handed_over, this_process())
    assert store.run(handed_over).process == this_process()
    assert store.assign(this_process(), cap=3) == waiting


@KNOWS_ITS_BOOT
def test_a_trainer_is_seen_to_live_or_to_be_gone_though_its_machine_was_renamed(
    store: RunStore, rename_machine: Callable[[], None]
) -> None:
    of_living, of_dead, never_taken = (store.create_run(TrainConfig()) for _ in range(3))
    store.claim(of_living, this_process()).heartbeat(of_living, -3600.0)
    store.claim(of_dead, GONE).heartbeat(of_dead, 60.0)
    assert store.assign(GONE, cap=5) == never_taken
    rename_machine()
    assert [store.run(each).status for each in (of_living, of_dead, never_taken)] == ["running", "crashed", "queued"]


@KNOWS_ITS_BOOT
def test_another_machine_of_the_same_name_has_places_of_its_own(store: RunStore) -> None:
    other = dataclasses.replace(this_process(), boot="its own boot")
    theirs, ours = (store.create_run(TrainConfig()) for _ in range(2))
    assert store.assign(other, cap=1) == theirs
    assert store.assign(this_process(), cap=1) == ours
    with pytest.raises(BadInput):
        store.claim(theirs, this_process())


def test_where_no_boot_is_known_the_name_of_the_machine_tells(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgcore.runs.process._this_boot", lambda: "")
    here, there = this_process(), dataclasses.replace(this_process(), host="another-machine")
    first, second = (store.create_run(TrainConfig()) for _ in range(2))
    assert store.assign(there, cap=1) == first
    with pytest.raises(BadInput):
        store.claim(first, here)
    assert store.assign(here, cap=1) == second
    assert (here.is_alive(), there.is_alive(), dataclasses.replace(here, boot="known").is_alive()) == (True, None, None)
    store.claim(second, here)


def stale(store: RunStore, **about: object) -> tuple[str, RunStore]:
    """A run whose trainer elsewhere was silent for longer than it promised, and the store as that trainer has it."""
    run_id = store.create_run(TrainConfig(), **about)
    lost = store.claim(run_id, ELSEWHERE)
    lost.append_records(run_id, [record(1)])
    lost.heartbeat(run_id, -3600.0)
    return run_id, lost


@pytest.mark.parametrize("way", ["stop", "delete", "resume", "resume here"])
def test_a_stale_run_does_as_asked_and_its_trainer_is_superseded_should_it_come_back(store: RunStore, way: str) -> None:
    run_id, lost = stale(store)
    act = {
        "stop": lambda: store.request(run_id, desired="stop"),
        "delete": lambda: store.delete(run_id),
        "resume": lambda: store.resume(run_id),
        "resume here": lambda: store.resume(run_id, this_process()),
    }[way]
    act()
    after = store.run(run_id)
    assert after.status == {"resume": "queued", "resume here": "starting"}.get(way, "stopped")
    with pytest.raises(Superseded):
        lost.heartbeat(run_id, 60.0)
    assert store.run(run_id) == after


def test_a_stale_run_that_is_asked_for_anything_else_stays_its_trainers(store: RunStore) -> None:
    run_id, lost = stale(store)
    store.request(run_id, desired="pause", pace=2.0)
    assert store.run(run_id).status == "stale"
    lost.heartbeat(run_id, 60.0)
    control = store.control(run_id)
    assert (store.run(run_id).status, control.desired, control.pace) == ("running", "pause", 2.0)


def test_a_stale_run_that_was_stopped_can_be_resumed(store: RunStore) -> None:
    run_id, _ = stale(store)
    store.request(run_id, desired="stop")
    store.resume(run_id)
    assert store.claim(run_id, this_process()).run(run_id).status == "running"


def test_a_stale_run_can_be_removed_for_good_once_it_was_told_to_stop(store: RunStore) -> None:
    run_id, _ = stale(store)
    with pytest.raises(BadInput, match="is stale: stop it before"):
        store.purge(run_id)
    store.delete(run_id)
    store.purge(run_id)
    told, lost = stale(store)
    lost.heartbeat(told, 60.0)
    store.delete(told)
    lost.heartbeat(told, -3600.0)
    assert store.run(told).status == "stale"
    store.purge(told)
    assert store.runs(include_deleted=True) == []


def test_a_run_that_went_stale_after_it_was_deleted_is_purged_in_time(store: RunStore) -> None:
    run_id, lost = stale(store)
    tried, also_lost = stale(store)
    with store._database.write() as connection:
        connection.execute(sa.update(schema.runs).where(schema.runs.c.id == tried).values(prices="sp500"))
    for each, trainer in ((run_id, lost), (tried, also_lost)):
        trainer.heartbeat(each, 60.0)
        deleted_long_ago(store, each)
        trainer.heartbeat(each, -3600.0)
    store.purge_deleted(WEEK_S)
    assert [(run.id, run.status) for run in store.runs(include_deleted=True)] == [(tried, "stopped")]
    for each, trainer in ((run_id, lost), (tried, also_lost)):
        with pytest.raises(Superseded):
            trainer.append_records(each, [record(2)])


def test_a_run_that_ended_meanwhile_is_not_overwritten(store: RunStore) -> None:
    """The trainer finished and left between a reader's look at the row and at the process."""
    run_id = store.create_run(TrainConfig())
    mine = store.claim(run_id, GONE)
    with store._database.read() as connection:
        seen = connection.execute(sa.select(schema.runs)).one()
    mine.set_status(run_id, "finished", solved=True)
    with store._database.write() as connection:
        assert life.settle(connection, seen) is False
    assert (store.run(run_id).status, store.run(run_id).solved) == ("finished", True)


@pytest.mark.parametrize("status", ["stopped", "failed", "crashed"])
def test_what_ended_early_can_be_resumed(store: RunStore, status: str) -> None:
    run_id = store.create_run(TrainConfig())
    store.claim(run_id, this_process()).set_status(run_id, status, error="because")
    assert store.run(run_id).ended is not None
    store.resume(run_id)
    run = store.run(run_id)
    assert (run.status, run.error, run.ended, run.position, run.desired) == ("queued", "", None, 1, "run")


def test_what_is_finished_is_not_resumed(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.claim(run_id, this_process()).set_status(run_id, "finished")
    with pytest.raises(BadInput, match="larger step budget"):
        store.resume(run_id)


def test_resume_lets_a_paused_run_go_on_and_queues_one_without_a_process(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    mine = store.claim(run_id, this_process())
    store.request(run_id, desired="pause")
    mine.heartbeat(run_id, 60.0, status="paused")
    with pytest.raises(BadInput, match="stop it there first"):
        store.resume(run_id, this_process())
    store.resume(run_id)
    assert (store.run(run_id).status, store.control(run_id).desired) == ("paused", "run")
    store.request(run_id, desired="pause")
    mine.park(run_id)
    assert (store.run(run_id).status, store.run(run_id).process) == ("paused", None)
    store.request(run_id, desired="run")
    assert store.run(run_id).status == "queued"


@pytest.mark.parametrize(("desired", "then"), [("run", "queued"), ("stop", "stopped"), ("pause", "paused")])
def test_what_is_asked_just_as_a_trainer_gives_its_process_up_is_done(store: RunStore, desired: str, then: str) -> None:
    run_id = store.create_run(TrainConfig())
    mine = store.claim(run_id, this_process())
    store.request(run_id, desired="pause")
    mine.heartbeat(run_id, 60.0, status="paused")
    parking = threading.Thread(target=lambda: mine.park(run_id))
    with store.transaction() as asking:
        asking.request(run_id, desired=desired)
        parking.start()  # and waits for the row, or comes after
    parking.join()
    run = store.run(run_id)
    assert (run.status, run.process, run.ended is not None) == (then, None, then == "stopped")


def test_an_attended_run_is_not_purged(store: RunStore) -> None:
    run_id = store.create_run(TrainConfig())
    store.claim(run_id, this_process())
    with pytest.raises(BadInput, match="stop it before"):
        store.purge(run_id)


# ---- opening


def test_two_openers_at_once_make_one_store(store_url: str) -> None:
    start, opened = threading.Barrier(6), []

    def open_and_write(_: int) -> None:
        start.wait()
        own = RunStore(store_url)
        opened.append(own.create_run(TrainConfig()))
        own.close()

    _together(open_and_write, 6)
    store = RunStore(store_url)
    assert {run.id for run in store.runs()} == set(opened)
    assert len(opened) == 6
    store.close()


def test_an_older_store_is_brought_forward_once(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = RunStore(store_url)
    run_id = old.create_run(TrainConfig())
    old.close()

    def add_notes(connection: sa.Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE runs ADD COLUMN notes TEXT NOT NULL DEFAULT 'none'")

    monkeypatch.setattr(schema, "STEPS", [*schema.STEPS, add_notes])
    start = threading.Barrier(4)

    def open_it(_: int) -> None:
        start.wait()
        RunStore(store_url).close()

    _together(open_it, 4)
    store = RunStore(store_url)
    with store._database.read() as connection:
        assert connection.exec_driver_sql("SELECT id, notes FROM runs").all() == [(run_id, "none")]
        assert connection.scalar(sa.select(schema.store_version.c.version)) == 1 + len(schema.STEPS)
    store.close()


def test_a_store_of_version_1_gains_what_listings_show(store_url: str) -> None:
    store = RunStore(store_url)
    digest = store.save_prices(series())
    run_id = store.create_run(TrainConfig(task="stocks", prices=digest))
    other = store.create_run(TrainConfig())
    store.append_records(run_id, [record(1, wall_s=1.5, episode_returns=(3.0, math.nan)), record(2, wall_s=2.5)])
    store.save_evaluation(run_id, "final", {"parts": [{"part": "test", "sharpe": 0.75}]})
    expected = store.run(run_id), store.run(other), store.trials(digest), store.price_list()
    with store._database.write() as connection:
        for table, column in (
            ("runs", "wall_s"),
            ("runs", "return_best"),
            ("runs", "changed"),
            ("runs", "judged"),
            ("evaluations", "test_sharpe"),
            ("price_names", "deleted"),
        ):
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")
        schema.chosen_policies.drop(connection)
        connection.execute(sa.update(schema.store_version).values(version=1))
    store.close()
    newer = RunStore(store_url)
    assert repr((newer.run(run_id), newer.run(other), newer.trials(digest), newer.price_list())) == repr(expected)
    newer.rename(other, "still to be written to")
    newer.close()


def test_a_store_of_version_2_tells_the_chosen_policy_from_the_last(store_url: str) -> None:
    store = RunStore(store_url)
    run_ids = [store.create_run(TrainConfig()) for _ in range(3)]
    for run_id, checkpoint in zip(run_ids, ({"update": 2, "env_steps": 20}, {"update": 3, "env_steps": 30}, None), strict=True):
        store.save_policies(run_id, [Snapshot(u, 10 * u, bytes([u])) for u in (1, 2)] + [Snapshot(3, 30, b"best")])
        store.save_evaluation(run_id, "final", {} if checkpoint is None else {"checkpoint": checkpoint})
    with store._database.write() as connection:
        schema.chosen_policies.drop(connection)
        connection.exec_driver_sql("ALTER TABLE runs DROP COLUMN judged")
        connection.execute(sa.update(schema.store_version).values(version=2))
    store.close()
    newer = RunStore(store_url)
    assert [newer.policy_bytes(run_id) for run_id in run_ids] == [b"best"] * 3
    assert [len(newer.policies(run_id)) for run_id in run_ids] == [2, 3, 3]
    newer.close()


def test_a_newer_store_is_refused_and_left_alone(store_url: str) -> None:
    store = RunStore(store_url)
    with store._database.write() as connection:
        connection.execute(sa.update(schema.store_version).values(version=99))
    with pytest.raises(BadInput, match="newer version of this program"):
        RunStore(store_url)
    with store._database.read() as connection:
        assert connection.scalar(sa.select(schema.store_version.c.version)) == 99
    store.close()


def test_the_data_directory_is_pglab_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PGLAB_DATABASE_URL", raising=False)
    monkeypatch.setenv("PGLAB_HOME", str(tmp_path / "new" / "home"))
    assert data_directory() == tmp_path / "new" / "home"
    store = RunStore()
    store.create_run(TrainConfig())
    assert (tmp_path / "new" / "home" / "runs.sqlite").exists()
    again = RunStore(store.url)
    assert len(again.runs()) == 1
    monkeypatch.delenv("PGLAB_HOME")
    assert data_directory().is_absolute()


@pytest.mark.parametrize("url", ["nonsense", "mysql://x@y/z", "sqlite://", "sqlite:///:memory:"])
def test_a_url_of_no_database_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        RunStore(url)


# ---- when the database fails


def test_a_locked_store_says_so_and_works_again(tmp_path: Path) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}", patience_s=0.05)
    run_id = store.create_run(TrainConfig())
    other = sqlite3.connect(tmp_path / "runs.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"is busy: another program has held it for 0\.05 s"):
        store.rename(run_id, "x")
    assert store.run(run_id).name == ""
    other.execute("ROLLBACK")
    store.rename(run_id, "x")
    assert store.run(run_id).name == "x"


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_lock_in_postgresql_says_so(store_url: str) -> None:
    store = RunStore(store_url, patience_s=0.05)
    run_id = store.create_run(TrainConfig())
    with store._database.write() as connection:
        connection.execute(sa.update(schema.runs).values(name="held"))
        with pytest.raises(StoreError, match="is busy"):
            store.rename(run_id, "x")
    store.close()


def test_a_full_disk_is_named_and_corrupts_nothing(tmp_path: Path) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_id = store.create_run(TrainConfig())
    store.append_records(run_id, [record(1)])

    def limit(connection: sqlite3.Connection, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sa.event.listen(store._database.engine, "checkout", lambda connection, *_: limit(connection, 60))
    with pytest.raises(StoreError, match=r"The disk is full: nothing was saved to .*; free some space"):
        store.append_records(run_id, [record(u, episode_returns=(1.0,) * 1000) for u in range(2, 200)])
    assert store.records(run_id).update.tolist() == [1]
    sa.event.listen(store._database.engine, "checkout", lambda connection, *_: limit(connection, 100_000))
    store.append_records(run_id, [record(2)])
    assert store.records(run_id).update.tolist() == [1, 2]
    with store._database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs.sqlite").write_bytes(b"holiday pictures " * 1000)
    with pytest.raises(StoreError, match="is damaged or no run store"):
        RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    assert (tmp_path / "runs.sqlite").read_bytes().startswith(b"holiday")


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE runs (a)",
        "CREATE TABLE runs (a); CREATE TABLE store_version (x)",
        "CREATE TABLE store_version (version)",
        "CREATE TABLE store_version (version); INSERT INTO store_version VALUES (1)",
        "CREATE TABLE store_version (version); INSERT INTO store_version VALUES ('one')",
        f"CREATE TABLE store_version (version); INSERT INTO store_version VALUES ({1 + len(schema.STEPS)})",
        "CREATE TABLE runs (id); CREATE TABLE store_version (version); INSERT INTO store_version VALUES (3)",
    ],
)
def test_a_file_of_another_program_whose_tables_are_named_alike_is_refused_and_left_alone(tmp_path: Path, made: str) -> None:
    other = sqlite3.connect(tmp_path / "runs.sqlite", isolation_level=None)
    other.executescript(made)
    before = list(other.iterdump())
    with pytest.raises(StoreError, match=r"The file .*runs\.sqlite is damaged or no run store: move it away"):
        RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}").runs()
    assert list(other.iterdump()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_file_that_may_not_grow_is_named_and_corrupts_nothing(tmp_path: Path) -> None:
    import resource

    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_id = store.create_run(TrainConfig())
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, usual[1]))
    try:
        with pytest.raises(
            StoreError, match=r"files of the run store .*sqlite may not grow, nothing was saved: .*; raise the limit"
        ):
            store.append_records(run_id, [record(u, episode_returns=(1.0,) * 1000) for u in range(1, 200)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert len(store.records(run_id)) == 0
    store.append_records(run_id, [record(1)])
    assert store.records(run_id).update.tolist() == [1]


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be made .*PGLAB_HOME"):
        RunStore(f"sqlite:///{tmp_path / 'file' / 'runs.sqlite'}")


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Root is bound by no permissions: be nobody for a while."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("is_there", [False, True])
def test_a_read_only_directory_is_named(is_there: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        url = f"sqlite:///{directory / 'runs.sqlite'}"
        if is_there:
            store = RunStore(url)
            store.create_run(TrainConfig())
            store.close()
            (directory / "runs.sqlite").chmod(0o444)
        directory.chmod(0o555)
        with pytest.raises(StoreError, match=r"make (it|its directory) writable, or choose .* by PGLAB_HOME"), ordinary_user():
            RunStore(url).create_run(TrainConfig())
        directory.chmod(0o755)
        if is_there:
            (directory / "runs.sqlite").chmod(0o644)
            assert len(RunStore(url).runs()) == 1


def test_a_database_that_is_not_there_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://nobody:secret@127.0.0.1:{free.getsockname()[1]}/none"
    with pytest.raises(StoreError, match="cannot be reached: start it") as error:
        RunStore(url)
    assert "secret" not in str(error.value)
