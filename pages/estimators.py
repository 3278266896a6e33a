"""Every estimator in the order of the table: its equation, its idea, its source, and the code that runs."""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import streamlit as st

from pgcore import estimators
from pgcore.config import SETTINGS
from pgcore.estimators import ESTIMATORS, Estimator

ROOM = Path(estimators.__file__).parent


def with_its_helpers(function: Callable[..., Any]) -> str:
    """The source of a function of `pgcore.estimators`, and of those it calls there."""
    seen: dict[str, str] = {}

    def read(one: Callable[..., Any]) -> Iterator[str]:
        seen[one.__name__] = inspect.getsource(one)
        for name in one.__code__.co_names:
            called = getattr(estimators, name, None)
            if inspect.isfunction(called) and name not in seen:
                yield from read(called)
        yield seen[one.__name__]

    return "\n\n".join(reversed(list(read(function))))


def source_of(code: str) -> str:
    """The source of the function `module.name` and of the helpers it calls, read and not imported: it may need torch, which
    pages do without."""
    module, name = code.split(".")
    text = (ROOM / f"{module}.py").read_text(encoding="utf-8")
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    shown = [name]
    for function in shown:
        called = (node.id for node in ast.walk(functions[function]) if isinstance(node, ast.Name))
        shown += [each for each in dict.fromkeys(called) if each.startswith("_") and each in functions and each not in shown]
    lines = text.splitlines()
    firsts = [min(at.lineno for at in (functions[each], *functions[each].decorator_list)) for each in shown]
    return "\n\n\n".join(
        "\n".join(lines[first - 1 : functions[each].end_lineno]) for first, each in zip(firsts, shown, strict=True)
    )


def traits(row: Estimator) -> Iterator[tuple[str, str, str]]:
    """What kind of estimator it is, in few words: icon, word, help."""
    if row.loop == "on-policy" and row.gathers == "episodes":
        yield ":material/route:", "whole episodes", "Improves the policy after a batch of finished episodes."
    if row.loop in ("on-policy", "asynchronous") and row.gathers == "segments":
        yield ":material/content_cut:", "segments", "Improves the policy after a fixed number of steps, in mid-episode too."
    if row.loop == "replay":
        yield ":material/history:", "replay", "Learns again and again from steps it remembers, also those of older policies."
    if row.critic:
        yield ":material/rate_review:", "critic", "Learns V(s), the return to expect from a state, beside the policy."
    if row.discrete_only:
        yield ":material/grid_view:", "discrete actions only", "Cannot learn tasks whose actions are numbers on a scale."
    if not row.repeatable:
        yield ":material/casino:", "not repeatable", "The same seed does not give the same run again."


def show(name: str, row: Estimator, above: Estimator | None) -> None:
    st.header(row.title, anchor=name, divider="gray")
    with st.container(horizontal=True):
        st.badge(f"`{name}`", color="gray", help="Its name in links and on the command line.")
        for icon, word, meaning in traits(row):
            st.badge(word, icon=icon, help=meaning)
    st.latex(row.equation)
    st.markdown(row.about)
    st.markdown(f"**{'Where it starts.' if above is None else f'Beside {above.title}.'}** {row.difference}")
    if row.warning:
        st.warning(row.warning, icon=":material/warning:")
    own = [SETTINGS[setting].label for setting in row.settings if above is None or setting not in above.settings]
    if own and above is not None:
        st.markdown(f"**Knobs the one above does not have:** {', '.join(own)}.")
    st.caption(f"Source: {row.source}")
    with st.expander("The code as it runs", icon=":material/code:"):
        st.code(with_its_helpers(row.weight))
        if row.code:
            st.caption(f"And what is done with that weight, `pgcore/{row.code.split('.')[0]}.py`:")
            st.code(source_of(row.code))
    st.page_link("cartpole.py", label=f"Train with {row.title}", icon=":material/play_arrow:", query_params={"estimator": name})


with st.sidebar:
    st.markdown("**In this order**\n" + "\n".join(f"1. [{row.title}](#{name})" for name, row in ESTIMATORS.items()))

st.title("Estimators", anchor=False)
st.markdown(
    "A policy gradient makes actions more likely in proportion to a **weight** Ψₜ: how good the action turned out to be. "
    "What sets the estimators apart is little more than that weight. Each is shown beside the one above it."
)
st.latex(r"\nabla J(\theta) = \mathbb{E}\Big[\sum_t \Psi_t\;\nabla_\theta \log \pi_\theta(a_t|s_t)\Big]")
before = None
for name, row in ESTIMATORS.items():
    show(name, row, before)
    before = row
