"""What could not be done, told in a sentence where a person looks, and the rest of the page as it was.

The store can be busy, full or gone at any moment, and a run can be deleted from another tab.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import streamlit as st

from pages.ui.text import plain
from pgcore.errors import BadInput

Given = ParamSpec("Given")
Shown = TypeVar("Shown")
_UNTOLD = "problem"


def told(draw: Callable[Given, Shown]) -> Callable[Given, Shown | None]:
    """A page, or a part of it, that says in its place why it cannot be drawn."""

    @wraps(draw)
    def careful(*args: Given.args, **kwargs: Given.kwargs) -> Shown | None:
        try:
            return draw(*args, **kwargs)
        except BadInput as error:
            st.error(plain(error))
            return None

    return careful


def readable(draw: Callable[Given, None], run_id: str) -> Callable[Given, None]:
    """A part that shows the result of a run: one of another version of this program, or out of a file from anywhere, may lack
    what is looked for."""

    @wraps(draw)
    def careful(*args: Given.args, **kwargs: Given.kwargs) -> None:
        try:
            told(draw)(*args, **kwargs)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError):
            logging.getLogger(__name__).exception("The result of run %s cannot be shown", run_id)
            st.error(f"The result of this run cannot be shown. Work it out anew with `python -m pgcore evaluate {run_id}`.")

    return careful


def told_later(act: Callable[Given, None]) -> Callable[Given, None]:
    """A callback that leaves it to `tell` why it could not act: nothing that it draws has a place."""

    @wraps(act)
    def careful(*args: Given.args, **kwargs: Given.kwargs) -> None:
        try:
            act(*args, **kwargs)
        except BadInput as error:
            st.session_state[_UNTOLD] = str(error)

    return careful


def tell() -> None:
    """Say what a callback could not do, once."""
    if (problem := st.session_state.pop(_UNTOLD, None)) is not None:
        st.error(plain(problem))
