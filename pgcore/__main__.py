"""The command line: python -m pgcore train | resume | evaluate | runs | export | import | delete | prices."""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pgcore.config import SETTINGS, TrainConfig, check_actions
from pgcore.errors import BadInput
from pgcore.market.csv_import import Choices, Imported, NeedsChoice, import_prices
from pgcore.market.prices import SAMPLES
from pgcore.market.synthetic import PREFIX
from pgcore.record import UpdateRecord
from pgcore.runs.group import family
from pgcore.runs.run import Run
from pgcore.runs.store import RunStore

CHOICE_FLAGS = {choice.name: "--" + choice.name.replace("_", "-") for choice in fields(Choices) if choice.name != "fill_gaps"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when done, 1 when a run failed, 2 for bad input with one line that says what and how to mend it."""
    asked = _parser().parse_args(arguments)
    try:
        return asked.command(asked) or 0
    except NeedsChoice as question:
        flag = CHOICE_FLAGS[question.choice]
        return _refuse(f"{question} Say which with {flag}, for example {flag} {json.dumps(question.options[0])}.")
    except BadInput as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read along has left; Python would complain about it once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        sys.exit(_refuse(f"{message}. {self.prog} --help lists what there is."))


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m pgcore", description="Train policy-gradient agents and judge what they learned.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        sub.set_defaults(command=run)
        return sub

    train = command("train", _train, "Train an agent; the run shows in the app as well.")
    for setting in SETTINGS.values():
        note = "" if setting.default is None else f" Default: {_spelled_default(setting.name)}."
        train.add_argument(setting.flag, metavar="VALUE", help=f"{setting.help}{note}".replace("%", "%%"))
    train.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="Train N runs that differ in their seed, on all cores."
    )
    train.add_argument("--name", default="", help="A name for the run.")
    train.add_argument("--json", action="store_true", help="Print one JSON object a line.")

    resume = command("resume", _resume, "Go on with a run from its last checkpoint.")
    resume.add_argument("run")
    resume.add_argument("--json", action="store_true", help="Print one JSON object a line.")

    evaluate = command("evaluate", _evaluate, "Play the learned policy where it was not trained.")
    evaluate.add_argument("run")
    evaluate.add_argument("--episodes", type=int, default=100, help="Fresh episodes to play (not on stocks).")
    evaluate.add_argument("--json", action="store_true", help="Print one JSON object a line.")

    runs = command("runs", _runs, "List the runs, newest first.")
    runs.add_argument("--json", action="store_true", help="Print one JSON object a line.")

    export = command("export", _export, "Write a run into a folder: config, records, policy, evaluation, trades.")
    export.add_argument("run")
    export.add_argument("directory")

    bring = command("import", _import, "Add a run from an exported folder or zip.")
    bring.add_argument("source")

    delete = command("delete", _delete, "Delete a run.")
    delete.add_argument("run")

    prices = command("prices", _prices, "Say what the importer understands of a file of prices.")
    prices.add_argument("file")
    prices.add_argument("--out", metavar="CLEAN.csv", help="Write date,open,high,low,close,volume.")
    prices.add_argument("--json", action="store_true", help="Print the report as one JSON object.")
    for sub in (train, prices):
        for name, flag in CHOICE_FLAGS.items():
            sub.add_argument(
                flag, dest=f"choice_{name}", metavar="VALUE", help=f"In the file of prices: {name.replace('_', ' ')}."
            )
    return parser


def _spelled_default(name: str) -> str:
    from pgcore.config import spell

    return spell(SETTINGS[name].default)


# ---- commands


def _train(asked: argparse.Namespace) -> int:
    given = {name: text for name in SETTINGS if (text := getattr(asked, name)) is not None}
    file = given.pop("prices", None)
    config = TrainConfig.from_strings(given)
    if not 1 <= asked.seeds <= 1000:
        raise BadInput(f"Seeds cannot be {asked.seeds}: give a whole number between 1 and 1000.")
    store = RunStore()
    if file is not None:
        if config.task != "stocks":
            raise BadInput(f"--prices goes with --task stocks, not with {config.task}: leave it out or change the task.")
        config = config.replace(prices=_price_key(store, file, asked))
    _check_can_train(store, config)
    configs = family(config, asked.seeds, every_fold="fold" not in given)
    if len(configs) > 1:
        return _train_family(store, configs, asked)
    from pgcore.runs.process import this_process
    from pgcore.runs.worker import train_run

    run_id = store.create_run(config, name=asked.name, process=this_process())
    return _told(store, train_run(store, run_id, _teller(run_id, asked.json)), asked.json)


def _check_can_train(store: RunStore, config: TrainConfig) -> None:
    """Refuse here what the trainer would refuse, before there is a run of it."""
    from gymnasium import spaces

    from pgcore.runs.store import resolve_prices
    from pgcore.tasks import make_environment

    prices = resolve_prices(store, config.prices) if config.task == "stocks" else None
    env = make_environment(config, prices, num_envs=1)
    env.close()
    check_actions(config.task, config.estimator, continuous=isinstance(env.single_action_space, spaces.Box))


def _train_family(store: RunStore, configs: Sequence[TrainConfig], asked: argparse.Namespace) -> int:
    from pgcore.runs.group import train_group

    tellers: dict[str, Callable[[UpdateRecord], None]] = {}

    def on_record(run_id: str, record: UpdateRecord) -> None:
        tellers.setdefault(run_id, _teller(run_id, asked.json))(record)

    return max(_told(store, run, asked.json) for run in train_group(store, configs, name=asked.name, on_record=on_record))


def _resume(asked: argparse.Namespace) -> int:
    from pgcore.runs.process import this_process
    from pgcore.runs.worker import train_run

    store = RunStore()
    run = store.run(asked.run)
    store.resume(run.id, process=this_process())
    return _told(store, train_run(store, run.id, _teller(run.id, asked.json)), asked.json)


def _evaluate(asked: argparse.Namespace) -> None:
    from pgcore.evaluate import evaluate
    from pgcore.policies import policy_from_bytes
    from pgcore.runs.judgement import compared_on, judge
    from pgcore.runs.store import resolve_prices

    if not 1 <= asked.episodes <= 100_000:
        raise BadInput(f"Episodes cannot be {asked.episodes}: give a whole number between 1 and 100,000.")
    store = RunStore()
    run = store.run(asked.run)
    state = store.policy_bytes(run.id)
    if state is None:
        raise BadInput(f"Run {run.id} has no policy yet: it is {run.status}. Wait for its first update, or resume it.")
    prices = resolve_prices(store, run.prices) if run.prices else None
    result = evaluate(run.config, policy_from_bytes(state), prices, asked.episodes)
    store.save_evaluation(run.id, "final", result)
    if result["kind"] != "backtest":
        _say({"run": run.id, **result}, asked.json, _episodes_in_words(result))
        return
    for part in result["parts"]:
        _say(part, asked.json, _part_in_words(part))
    verdict = judge(store, run, compared_on(store, run, result))
    row = {"event": "verdict", "skill": verdict.skill, "deflated_sharpe": verdict.deflated_sharpe, "text": verdict.text}
    _say(row, asked.json, verdict.text)


def _runs(asked: argparse.Namespace) -> None:
    for run in RunStore().runs(limit=None):
        row = {
            "run": run.id,
            "status": run.status,
            "task": run.task,
            "estimator": run.estimator,
            "created": run.created.isoformat(),
            "name": run.name,
            "env_steps": run.env_steps,
            "return_mean": run.return_mean,
            "solved": run.solved,
            "store_retries": run.store_retries,
        }
        words = f"{run.id}  {run.status:9} {run.task:16} {run.estimator:16} {run.env_steps:>12,} steps"
        _say(row, asked.json, f"{words}  {run.created:%Y-%m-%d %H:%M}  {run.name}".rstrip())


def _export(asked: argparse.Namespace) -> None:
    from pgcore.runs.files import export_run

    for name in export_run(RunStore(), asked.run, asked.directory, lambda sentence: print(sentence, file=sys.stderr)):
        print(Path(asked.directory) / name)


def _import(asked: argparse.Namespace) -> None:
    from pgcore.runs.files import import_run

    print(import_run(RunStore(), Path(asked.source)))


def _delete(asked: argparse.Namespace) -> None:
    store = RunStore()
    run = store.run(asked.run)
    store.delete(run.id)
    print(f"Deleted run {run.id}.")


def _prices(asked: argparse.Namespace) -> None:
    imported = _import_file(asked.file, asked)
    if asked.out:
        try:
            Path(asked.out).write_text(imported.series.to_csv(), encoding="utf-8")
        except OSError as error:
            raise BadInput(f"{asked.out} cannot be written ({error.strerror}): name a file in a folder that exists.") from None
    report = {field.name: getattr(imported.report, field.name) for field in fields(imported.report)}
    _say(report, asked.json, "\n".join(imported.report.lines()))


# ---- what they share


def _price_key(store: RunStore, given: str, asked: argparse.Namespace) -> str:
    """The key of the prices that --prices names: a sample, one in the store, or a file, which is imported."""
    if given in SAMPLES or given.startswith(PREFIX):
        return given
    if len(given) == 64 and not Path(given).exists():
        return store.prices(given).digest
    return store.save_prices(_import_file(given, asked).series)


def _import_file(path: str, asked: argparse.Namespace) -> Imported:
    chosen = {name: getattr(asked, f"choice_{name}") for name in CHOICE_FLAGS}
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        names = ", ".join(SAMPLES)
        raise BadInput(f"{path} cannot be read ({error.strerror}): name a file of prices, or a sample ({names}).") from None
    return import_prices(data, Path(path).name, Choices(**chosen))


def _teller(run_id: str, as_json: bool) -> Callable[[UpdateRecord], None]:
    def tell(record: UpdateRecord) -> None:
        row = {"run": run_id, **{field.name: getattr(record, field.name) for field in fields(record)}}
        words = (
            f"update {record.update:>5}  {record.env_steps:>10,} steps  return {record.return_mean:>9.2f}"
            f"  entropy {record.entropy:.3f}  KL {record.kl:.4f}"
        )
        _say(row, as_json, words)

    return tell


def _told(store: RunStore, run: Run, as_json: bool) -> int:
    """Print the last row of a run; the exit code it stands for."""
    last = store.records(run.id, after=run.updates - 1)
    row = {
        "event": "end",
        "run": run.id,
        "status": run.status,
        "solved": run.solved,
        "env_steps": run.env_steps,
        "wall_s": float(last.wall_s[-1]) if len(last) else 0.0,
        "store_retries": run.store_retries,
    }
    retried = f"; retries of the run store: {run.store_retries:,}" if run.store_retries else ""
    _say(row, as_json, f"{run.id} {run.status}{', solved' if run.solved else ''} after {run.env_steps:,} steps{retried}")
    if run.error:
        print(run.error.strip().splitlines()[-1], file=sys.stderr)
    return 1 if run.status in ("failed", "crashed") else 0


def _say(row: dict[str, Any], as_json: bool, words: str) -> None:
    print(json.dumps(_finite(row)) if as_json else words, flush=True)


def _finite(value: Any) -> Any:
    """The same with null for what JSON cannot say."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _episodes_in_words(result: dict[str, Any]) -> str:
    lines = [f"{result['episodes']} fresh episodes"]
    for way in ("greedy", "sampled"):
        lines.append("{}: mean {mean:.1f}, deviation {std:.1f}, from {min:.1f} to {max:.1f}".format(way, **result[way]))
    return "\n".join(lines)


def _part_in_words(part: dict[str, Any]) -> str:
    hold = part["buy_and_hold"]["total_return"]
    shares = ", ".join(f"{action} {share:.0%}" for action, share in part["actions"].items())
    return f"{part['part']:10} {part['total_return']:+.1%} (buy-and-hold {hold:+.1%}), {part['trades']} trades, {shares}"


if __name__ == "__main__":
    sys.exit(main())
