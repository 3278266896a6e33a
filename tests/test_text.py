"""What strangers write is shown as they wrote it, and does nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.ui.text import plain


@pytest.mark.parametrize("text", ["between 1e-05 and 1.", "2024-01-02, 3.5 %", "learning_rate", "a file (2).csv", "x & y: z"])
def test_what_has_no_meaning_in_markdown_stays_as_it_is(text):
    assert plain(text) == text


@pytest.mark.parametrize("text", ["**a**", "_a_", "`a`", "![a](b)", "<b>a</b>", "$a$", "~~a~~", "# a", "1. a", "- a", "&lt;"])
def test_what_has_one_loses_it_to_a_backslash(text):
    assert "\\" in plain(text)
    assert plain(text).replace("\\", "") == text


@pytest.mark.parametrize("text", [":material/home:", ":smile:", "https://a.b", "www.a.b", "a@b.c"])
def test_what_would_come_alive_is_parted(text):
    assert text not in plain(text)
    assert plain(text).replace("\u2060", "") == text


@given(st.text())
def test_no_text_keeps_a_bare_mark(text):
    shown = plain(text)
    assert len(shown.splitlines()) <= 1
    for place, mark in enumerate(shown):
        assert mark not in "`*[]<>$~|" or shown[place - 1] == "\\"
