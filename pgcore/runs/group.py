"""Several runs at once, on all cores: the seeds of one configuration, the folds of a walk-forward."""

import time
import uuid
from collections.abc import Callable, Sequence

from pgcore.config import TrainConfig
from pgcore.record import UpdateRecord
from pgcore.runs.pool import Pool
from pgcore.runs.run import Run
from pgcore.runs.store import RunStore

LOOK_EVERY_S = 0.1


def family(config: TrainConfig, seeds: int = 1, *, every_fold: bool = True) -> list[TrainConfig]:
    """The configs to train for one that asks for several seeds, several folds, or both; by seed, then by fold.

    Without `every_fold`, of the folds only the one that the config names.
    """
    folds = range(config.folds) if config.task == "stocks" and config.folds and every_fold else (config.fold,)
    return [config.replace(seed=config.seed + i, fold=fold) for i in range(seeds) for fold in folds]


def create_group(store: RunStore, configs: Sequence[TrainConfig], *, name: str = "") -> list[str]:
    """Queue runs that belong together; their ids."""
    group = str(uuid.uuid4()) if len(configs) > 1 else ""
    return [store.create_run(config, name=name, group=group) for config in configs]


def train_group(
    store: RunStore,
    configs: Sequence[TrainConfig],
    *,
    name: str = "",
    on_record: Callable[[str, UpdateRecord], None] | None = None,
) -> list[Run]:
    """Train runs beside each other, as many at once as a pool does, and tell of each record; how they ended.

    Raises BadInput as Pool does.
    """
    pool = Pool(store, warm=0)
    run_ids = create_group(store, configs, name=name)
    seen = dict.fromkeys(run_ids, 0)
    pool.start()
    try:
        while True:
            runs = [store.run(run_id) for run_id in run_ids]
            for run in runs:
                for record in store.records(run.id, after=seen[run.id]).rows():
                    seen[run.id] = record.update
                    if on_record is not None:
                        on_record(run.id, record)
            if all(run.is_over for run in runs):
                return runs
            time.sleep(LOOK_EVERY_S)
    finally:
        for run_id in run_ids:
            if not store.run(run_id).is_over:
                store.request(run_id, desired="stop")
        pool.shutdown()
