"""The one renderer of settings: every knob of every page is drawn from a Setting, and so is the link."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from pages.ui.board import HEAD_START
from pages.ui.presets import Preset
from pages.ui.prices import picked
from pages.ui.server import store
from pages.ui.text import plain
from pgcore.config import SETTINGS, TrainConfig, estimators_for, recommended, relevant
from pgcore.errors import BadInput
from pgcore.estimators import ESTIMATORS
from pgcore.market.synthetic import PREFIX, market_of
from pgcore.runs.run import Run
from pgcore.settings import Setting, spell
from pgcore.tasks import TASKS

# What a page asks that does not change a run: it stands in the link as well.
VIEW: Mapping[str, Setting] = {
    "smooth": Setting(
        "smooth",
        "Moving-average window of the chart",
        "How many episodes the line in the chart of returns averages.",
        50,
        int,
        low=1,
        high=500,
        unit="episodes",
    ),
    "seeds": Setting(
        "seeds", "Seeds", "Train this many runs that differ in nothing but their seed, side by side.", 1, int, low=1, high=20
    ),
    "pace": Setting(
        "pace",
        "Pace",
        "How fast to go: slow down to watch what would be over in half a second.",
        0.0,
        float,
        low=0.0,
        high=20.0,
        unit="updates/s",
        group="run",
    ),
}
PACES = (0.0, 20.0, 10.0, 5.0, 2.0, 1.0)  # updates a second; 0: as fast as it goes
GRID = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
WIDEST_SLIDER = 500
CHARTED = ("window", "smooth")  # settings that a chart of the page follows


def knobs(page: str, tasks: tuple[str, ...], presets: Mapping[str, Preset], fixed: tuple[str, ...] = ()) -> TrainConfig | None:
    """Draw the settings that matter and return what they say, or None (with a sentence shown) if it cannot work.

    Values come from the link when the page is opened, live in the session after that under `<page>.<name>`, and are written
    back into the link. `fixed` settings are left to the page.
    """
    _read_link(page, tasks, presets)
    _preset(page, presets)
    task = st.session_state[f"{page}.task"]
    if len(tasks) > 1:
        st.selectbox(
            "Task",
            tasks,
            format_func=lambda name: TASKS[name].title,
            key=f"{page}.task",
            help=SETTINGS["task"].help,
            on_change=_follow,
            args=(page, task, st.session_state[f"{page}.estimator"]),
            persist_state="session",
        )
    estimator = st.session_state[f"{page}.estimator"]
    drawn = [setting for setting in relevant(task, estimator) if setting.group != "run" and setting.name not in fixed]
    for setting in drawn:
        _keep_within(page, setting)
        if setting.group == "main":
            _widget(page, setting)
        if setting.name == "estimator" and ESTIMATORS[estimator].warning:
            st.warning(ESTIMATORS[estimator].warning, icon=":material/warning:")
    for setting in VIEW.values():
        if setting.group != "run":
            _keep_within(page, setting)
            _widget(page, setting)
    for group, title, icon in (("market", "Market", "storefront"), ("more", "More", "tune")):
        members = [setting for setting in drawn if setting.group == group]
        if members:
            # What is folded away is not drawn: every knob costs the server and the browser a millisecond or two a run.
            with st.expander(title, icon=f":material/{icon}:", on_change="rerun", key=f"{page}.fold.{group}") as fold:
                for setting in members if fold.open else ():
                    _widget(page, setting)
    try:
        config = TrainConfig(**{name: st.session_state[f"{page}.{name}"] for name in SETTINGS})
    except BadInput as error:
        st.error(plain(error))
        return None
    return config


def chosen(page: str) -> TrainConfig:
    """What the knobs say at this moment: a callback hears of a value that was just typed before the script does.

    Raises BadInput.
    """
    return TrainConfig(**{name: _now(page, setting) for name, setting in SETTINGS.items()} | {"prices": picked(page)})


def _now(page: str, setting: Setting) -> Any:
    key = f"{page}.{setting.name}"
    written = st.session_state.get(f"{key}.text")
    return st.session_state[key] if written is None else setting.parse(written)


def command(page: str, config: TrainConfig) -> None:
    """The command line that does the same. It is drawn on demand: the browser loads 1.5 MB for the first code it shows."""
    with st.expander("Repeat it elsewhere", icon=":material/terminal:", on_change="rerun", key=f"{page}.fold.repeat") as fold:
        if fold.open:
            st.caption("The address of this page holds all settings. On a command line:")
            seeds = st.session_state[f"{page}.seeds"]
            line = config.command(every_fold=True) + (f" --seeds {seeds}" if seeds > 1 else "")
            st.code(line, language="bash", wrap_lines=True)


def write_link(page: str, config: TrainConfig, run_id: str | None) -> None:
    """Make the address of the page say all that was chosen, so that the link repeats the experiment."""
    view = {name: value for name, s in VIEW.items() if (value := st.session_state[f"{page}.{name}"]) != s.default}
    said = {name: spell(value) for name, value in (config.chosen() | view).items()}
    if preset := st.session_state.get(f"{page}.preset"):
        said["preset"] = preset
    if page == "stocks":
        said.pop("task", None)
    if run_id:
        said["run"] = run_id
    if {"preset", "run"} & said.keys() and not SETTINGS.keys() & said.keys():  # or the link would turn the knobs to theirs
        said["estimator"] = config.estimator
    if said != st.session_state.get(f"{page}.link", said):  # what was opened is not what is asked for any more
        st.session_state[f"{page}.complaints"] = []
    st.session_state[f"{page}.link"] = said
    if st.query_params.to_dict() != said:
        st.query_params.from_dict(said)


def nearest_pace(pace: float | None) -> float:
    """The one of those to choose from; None is as fast as it goes."""
    return min(PACES[1:], key=lambda each: abs(each - pace)) if pace else 0.0


def take(page: str, config: TrainConfig) -> None:
    """Turn the knobs to a config; of a walk-forward all folds are trained, whichever it was."""
    for name in SETTINGS:
        _turn(page, name, getattr(config, name))
    _turn(page, "fold", SETTINGS["fold"].default)


def complaints(page: str) -> None:
    """Say what the link asked for in vain."""
    for complaint in st.session_state.get(f"{page}.complaints", ()):
        st.warning(plain(complaint), icon=":material/link_off:")


def lesson(page: str, presets: Mapping[str, Preset], run: Run | None) -> None:
    """The question of the preset that was chosen; its answer once a run that tried it is over."""
    name = st.session_state.get(f"{page}.preset")
    asked = presets.get(name or "")
    if asked is None or not asked.question:
        return
    has_tried = (
        run is not None and run.is_over and all(spell(run.settings.get(x)) == spell(y) for x, y in asked.settings.items())
    )
    if has_tried:
        label = f"{asked.question} **What happens, and why**"
        with st.expander(label, icon=":material/lightbulb:", key=f"{page}.answer.{name}"):
            st.write(asked.answer)
    else:
        st.info(f"{asked.question} *Predict what happens, then press Train.*", icon=":material/school:")


def _read_link(page: str, tasks: tuple[str, ...], presets: Mapping[str, Preset]) -> None:
    known = SETTINGS | VIEW
    said = {name: text for name, text in st.query_params.to_dict().items() if name in known}
    written = st.session_state.get(f"{page}.link")
    before, now = st.session_state.get("pages", ("", ""))
    came_back = before != now and not said
    if written is not None and (came_back or said == {name: text for name, text in written.items() if name in known}):
        for name in (*known, "preset"):  # a widget that is not drawn would lose its value
            st.session_state[f"{page}.{name}"] = st.session_state.get(f"{page}.{name}")
        return
    st.session_state.pop(f"{page}.link", None)
    good, complaints = {}, []
    for name, text in said.items():
        try:
            if name == "task" and text not in tasks:
                raise BadInput(f"This page trains {', '.join(tasks)}, not {text!r}.")
            value = known[name].check(known[name].parse(text))
            if name == "prices" and value.startswith(PREFIX):
                market_of(value)
            good[name] = value
        except BadInput as error:
            complaints.append(f"The link asks for something that cannot be, which was left out. {error}")
    for name, setting in VIEW.items():
        st.session_state[f"{page}.{name}"] = good.pop(name, setting.default)
    st.session_state[f"{page}.pace"] = nearest_pace(st.session_state[f"{page}.pace"])
    try:
        config = TrainConfig(**{"task": tasks[0]} | good) if good or complaints else _config_named(tasks, presets)
    except BadInput as error:
        complaints.append(f"The link asks for something that cannot be, and was left aside. {error}")
        config = TrainConfig(task=tasks[0])
    take(page, config)
    preset = st.query_params.get("preset")
    st.session_state[f"{page}.preset"] = preset if preset in presets else None
    if preset and preset not in presets:
        complaints.append(f"There is no preset {preset[:40]!r}: choose one of the list.")
    st.session_state[f"{page}.complaints"] = complaints


def _config_named(tasks: tuple[str, ...], presets: Mapping[str, Preset]) -> TrainConfig:
    """What the run in the link was trained with, or what its preset turns the knobs to, where it names no setting."""
    preset = presets.get(st.query_params.get("preset", ""), Preset("", tasks[0]))
    try:
        run = store().run(st.query_params["run"])
        if run.task in tasks:
            return run.config
    except (KeyError, BadInput):
        pass  # which is said where the run is to be shown
    return TrainConfig(task=preset.task, **preset.settings)


def _preset(page: str, presets: Mapping[str, Preset]) -> None:
    def apply() -> None:
        preset = presets.get(st.session_state[f"{page}.preset"] or "")
        if preset is not None:
            kept = {"prices": st.session_state[f"{page}.prices"]} if preset.task == "stocks" else {}
            take(page, TrainConfig(task=preset.task, **preset.settings, **kept))

    st.selectbox(
        "Preset",
        list(presets),
        index=None,
        format_func=lambda name: presets[name].title,
        key=f"{page}.preset",
        placeholder="Choose settings or a lesson",
        on_change=apply,
        persist_state="session",
        help="Turns all knobs at once. A lesson asks a question first.",
    )


def _follow(page: str, old_task: str, old_estimator: str) -> None:
    """Settings nobody touched move to what the newly chosen task and estimator want."""
    task = st.session_state[f"{page}.task"]
    possible = estimators_for(task)
    if st.session_state[f"{page}.estimator"] not in possible:
        st.session_state[f"{page}.estimator"] = SETTINGS["estimator"].default
    before, now = recommended(old_task, old_estimator), recommended(task, st.session_state[f"{page}.estimator"])
    for name in SETTINGS:
        key = f"{page}.{name}"
        if name not in ("task", "estimator") and st.session_state[key] == before[name]:
            _turn(page, name, now[name])


def _turn(page: str, name: str, value: Any) -> None:
    st.session_state[f"{page}.{name}"] = value
    if SETTINGS[name].kind is tuple:
        st.session_state[f"{page}.{name}.text"] = spell(value)


def _keep_within(page: str, setting: Setting) -> None:
    """What was chosen for one estimator may be beyond what another can do."""
    key = f"{page}.{setting.name}"
    value = st.session_state[key]
    if setting.low is not None and setting.high is not None and isinstance(value, (int, float)):
        st.session_state[key] = min(max(value, setting.low), setting.high)


def _widget(page: str, setting: Setting) -> None:
    key = f"{page}.{setting.name}"
    label = f"{setting.label} ({setting.unit})" if setting.unit else setting.label
    common: dict[str, Any] = {"key": key, "help": setting.help, "persist_state": "session"}
    if setting.name == "estimator":
        now = (page, st.session_state[f"{page}.task"], st.session_state[key])
        titles = {name: row.title for name, row in ESTIMATORS.items()}
        st.pills(
            label, setting.choices or (), format_func=titles.__getitem__, required=True, on_change=_follow, args=now, **common
        )
    elif setting.choices is not None:
        st.segmented_control(label, setting.choices, required=True, **common)
    elif setting.kind is bool:
        st.toggle(label, **common)
    elif setting.kind is tuple:
        _text(page, setting, label)
    elif setting.scale == "log":
        st.select_slider(label, _grid(setting, st.session_state[key]), format_func=_readable(setting), **common)
    elif (setting.kind is float and setting.step and not setting.optional) or _is_narrow(setting):
        followed = HEAD_START if setting.name in CHARTED else {}
        st.slider(label, setting.low, setting.high, step=setting.step or 1, format=_format(setting), **common, **followed)
    else:
        st.number_input(label, setting.low, setting.high, step=setting.step or (1 if setting.kind is int else 1.0), **common)


def _text(page: str, setting: Setting, label: str) -> None:
    """A text that stands for a value; one that does not is refused beside the field and changes nothing."""
    key = f"{page}.{setting.name}"
    st.session_state.setdefault(f"{key}.text", spell(st.session_state[key]))
    written = st.text_input(label, help=setting.help, key=f"{key}.text", persist_state="session")
    try:
        st.session_state[key] = setting.check(setting.parse(written))
    except BadInput as error:
        st.error(plain(error))


def _is_narrow(setting: Setting) -> bool:
    return setting.kind is int and setting.high is not None and setting.high <= WIDEST_SLIDER


def _grid(setting: Setting, now: Any) -> list[Any]:
    """Values a logarithmic slider stops at; the value it has now is always one of them."""
    assert setting.low is not None
    assert setting.high is not None
    decades = (10.0**exponent for exponent in range(-6, 10))
    stops = [setting.low, setting.high, *(step * decade for decade in decades for step in GRID)]
    kind = int if setting.kind is int else lambda value: float(f"{value:.3g}")
    return sorted({now, *(kind(stop) for stop in stops if setting.low <= stop <= setting.high)})


def _readable(setting: Setting) -> Callable[[Any], str]:
    if setting.kind is int:
        return lambda value: f"{value:,}"
    return lambda value: f"{value:.3g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")


def _format(setting: Setting) -> str | None:
    if setting.step is None or setting.kind is int:
        return None
    return f"%.{max(0, len(f'{setting.step:.6f}'.rstrip('0').split('.')[1]))}f"
