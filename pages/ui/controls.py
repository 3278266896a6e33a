"""The one renderer of settings: every knob of every page is drawn from the fields of TrainConfig, and so is the link."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from pgcore.config import SETTINGS, Setting, TrainConfig, recommended, relevant, spell
from pgcore.errors import BadInput
from pgcore.estimators import ESTIMATORS

GRID = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
WIDEST_SLIDER = 500


def knobs(page: str, task: str, *, fixed: tuple[str, ...] = ()) -> TrainConfig | None:
    """Draw the settings that matter to a task and return what they say, or None (with a sentence shown) if it cannot work.

    Values come from the link when the page is opened, live in the session after that, and are written back into the link.
    `fixed` settings are left to the page, which keeps them in the session under `<page>.<name>`.
    """
    _read_link(page, task)
    estimator = st.session_state[f"{page}.estimator"]
    drawn = [s for s in relevant(task, estimator) if s.group != "run" and s.name not in fixed]
    for setting in drawn:
        if setting.group == "main":
            _widget(page, task, setting)
    market = [setting for setting in drawn if setting.group == "market"]
    if market:
        with st.expander("Market", icon=":material/storefront:"):
            for setting in market:
                _widget(page, task, setting)
    with st.expander("More", icon=":material/tune:"):
        for setting in drawn:
            if setting.group == "more":
                _widget(page, task, setting)
    try:
        return TrainConfig(
            task=task, **{s.name: st.session_state[f"{page}.{s.name}"] for s in SETTINGS.values() if s.name != "task"}
        )
    except BadInput as error:
        st.error(str(error))
        return None


def write_link(page: str, config: TrainConfig, run_id: str | None) -> None:
    """Make the address of the page say all that was chosen, so that the link repeats the experiment."""
    said = {name: spell(value) for name, value in config.chosen().items() if name != "task"}
    if run_id:
        said["run"] = run_id
    st.session_state[f"{page}.link"] = said
    if st.query_params.to_dict() != said:
        st.query_params.from_dict(said)


def take(page: str, config: TrainConfig) -> None:
    """Turn the knobs to a config."""
    for name in SETTINGS:
        st.session_state[f"{page}.{name}"] = getattr(config, name)


def _read_link(page: str, task: str) -> None:
    said = {name: text for name, text in st.query_params.to_dict().items() if name in SETTINGS and name != "task"}
    written = st.session_state.get(f"{page}.link")
    came_back = st.session_state.get("page") != page and not said
    st.session_state["page"] = page
    if written is not None and (came_back or said == {k: v for k, v in written.items() if k != "run"}):
        for name in SETTINGS:  # a widget that was not drawn would lose its value
            st.session_state[f"{page}.{name}"] = st.session_state[f"{page}.{name}"]
        return
    good, complaints = {}, []
    for name, text in said.items():
        try:
            good[name] = SETTINGS[name].check(SETTINGS[name].parse(text))
        except BadInput as error:
            complaints.append(f"The link asks for something that cannot be, which was left out. {error}")
    try:
        config = TrainConfig(task=task, **good)
    except BadInput as error:
        complaints.append(f"The link asks for something that cannot be, and was left aside. {error}")
        config = TrainConfig(task=task)
    take(page, config)
    st.session_state[f"{page}.complaints"] = complaints


def complaints(page: str) -> None:
    """Say once more what the link asked for in vain."""
    for complaint in st.session_state.get(f"{page}.complaints", ()):
        st.warning(complaint, icon=":material/link_off:")


def _follow_estimator(page: str, task: str, before: str) -> None:
    """Settings nobody touched move to what the newly chosen estimator wants."""
    old, new = recommended(task, before), recommended(task, st.session_state[f"{page}.estimator"])
    for name in SETTINGS:
        key = f"{page}.{name}"
        if name not in ("task", "estimator") and st.session_state[key] == old[name]:
            st.session_state[key] = new[name]


def _widget(page: str, task: str, setting: Setting) -> None:
    key = f"{page}.{setting.name}"
    label = f"{setting.label} ({setting.unit})" if setting.unit else setting.label
    common: dict[str, Any] = {"key": key, "help": setting.help}
    if setting.name == "estimator":
        before = st.session_state[key]
        st.pills(
            label,
            setting.choices,
            format_func=lambda name: ESTIMATORS[name].title,
            required=True,
            on_change=_follow_estimator,
            args=(page, task, before),
            **common,
        )
    elif setting.choices is not None:
        st.segmented_control(label, setting.choices, required=True, **common)
    elif setting.kind is bool:
        st.toggle(label, **common)
    elif setting.kind is tuple:
        _text(page, setting, label)
    elif setting.scale == "log":
        options = _grid(setting, st.session_state[key])
        st.select_slider(label, options, format_func=_readable(setting), **common)
    elif (setting.kind is float and setting.step and not setting.optional) or _is_narrow(setting):
        st.slider(label, setting.low, setting.high, step=setting.step or 1, format=_format(setting), **common)
    else:
        st.number_input(label, setting.low, setting.high, step=setting.step or (1 if setting.kind is int else 1.0), **common)


def _text(page: str, setting: Setting, label: str) -> None:
    """A text that stands for a value; one that does not is refused beside the field and changes nothing."""
    key = f"{page}.{setting.name}"
    written = st.text_input(label, spell(st.session_state[key]), help=setting.help, key=f"{key}.text")
    try:
        st.session_state[key] = setting.check(setting.parse(written))
    except BadInput as error:
        st.error(str(error))


def _is_narrow(setting: Setting) -> bool:
    return setting.kind is int and setting.high is not None and setting.high <= WIDEST_SLIDER


def _grid(setting: Setting, now: Any) -> list[Any]:
    """Values a logarithmic slider stops at; the value it has now is always one of them."""
    assert setting.low is not None
    assert setting.high is not None
    stops = {setting.low, setting.high, now}
    decade = 10.0 ** round(len(str(int(1 / setting.low))) * -1 + 1) if setting.low < 1 else 1.0
    while decade <= setting.high:
        stops |= {step * decade for step in GRID}
        decade *= 10
    kind = int if setting.kind is int else lambda value: float(f"{value:.3g}")
    return sorted({now, *(kind(stop) for stop in stops if setting.low <= stop <= setting.high and stop != now)})


def _readable(setting: Setting) -> Callable[[Any], str]:
    if setting.kind is int:
        return lambda value: f"{value:,}"
    return lambda value: f"{value:.3g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")


def _format(setting: Setting) -> str | None:
    if setting.step is None or setting.kind is int:
        return None
    return f"%.{max(0, len(f'{setting.step:.6f}'.rstrip('0').split('.')[1]))}f"
