"""A file in the price picker: every question can be answered, and every answer taken back, also where a file cannot be read."""

import pytest
from streamlit.testing.v1 import AppTest

from tests.price_files import text


@pytest.fixture
def upload(tmp_path, monkeypatch):
    """A file handed to the price picker, which stands alone on a page."""
    import streamlit as st

    from pages.ui import server

    monkeypatch.setenv("PGLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PGLAB_DATABASE_URL", raising=False)
    server.close()
    st.cache_resource.clear()
    st.cache_data.clear()

    def page():
        import streamlit as st

        from pages.ui.prices import price_picker

        st.session_state.setdefault("stocks.prices", "sp500")
        st.session_state["shown"] = price_picker("stocks")

    def open_with(data: bytes) -> AppTest:
        at = AppTest.from_function(page, default_timeout=60).run()
        at.button_group(key="stocks.source").set_value("Upload").run()
        at.file_uploader(key="stocks.file").upload("x.csv", data, "text/csv")
        return at.run()

    yield open_with
    server.close()


def answer(at: AppTest, label: str, value: str) -> AppTest:
    (picker,) = [box for box in at.selectbox if box.label == label]
    at = picker.set_value(value).run()
    assert not at.exception
    return at


def pickers(at: AppTest) -> dict[str, str]:
    return {box.label: box.value for box in at.selectbox}


def closes(at: AppTest) -> list[float]:
    return at.session_state["shown"].close.tolist()


AMBIGUOUS = text(
    "date,ticker,close",
    *(
        f"{day:02}/{month:02}/2024,{name},{k * 100 + month}.5"
        for k, name in ((1, "AAPL"), (2, "MSFT"))
        for day, month in [(1, 2), (2, 3), (3, 4)]
    ),
)
HALTED = text("Date,Open,High,Low,Close", *(f"2024-01-0{day},1,2,0,1.{day}" for day in range(1, 5)))
POINTS = text("Date,Close", "2024-01-01,100.5", "2024-01-02,101.75", "2024-01-03,99.25")


def test_two_questions_are_asked_one_after_the_other(upload):
    at = upload(AMBIGUOUS)
    assert "tickers" in at.warning[0].value
    at = answer(at, "Which is it?", "MSFT")
    assert "day-first or month-first" in at.warning[0].value
    at = answer(at, "Which is it?", "day-first")
    assert closes(at) == [202.5, 203.5, 204.5]
    assert str(at.session_state["shown"].dates[0])[:10] == "2024-02-01"


def test_answers_stay_and_can_be_changed_afterwards(upload):
    at = answer(answer(upload(AMBIGUOUS), "Which is it?", "MSFT"), "Which is it?", "day-first").run()
    assert {"Ticker": "MSFT", "Date order": "day-first"}.items() <= pickers(at).items()
    at = answer(answer(at, "Ticker", "AAPL"), "Date order", "month-first").run()
    assert closes(at) == [102.5, 103.5, 104.5]
    assert str(at.session_state["shown"].dates[0])[:10] == "2024-01-02"


def test_an_answer_taken_back_is_asked_again(upload):
    at = answer(answer(upload(AMBIGUOUS), "Which is it?", "MSFT"), "Which is it?", "day-first")
    at = answer(at, "Date order", "as read")
    assert "day-first or month-first" in at.warning[0].value
    assert closes(answer(at, "Which is it?", "month-first")) == [202.5, 203.5, 204.5]


def test_a_column_that_makes_the_file_unreadable_can_be_left_out(upload):
    at = upload(HALTED)
    assert "low holds zero prices" in at.error[0].value
    at = answer(at, "Low", "leave out")
    assert not at.error
    assert closes(at.run()) == [1.1, 1.2, 1.3, 1.4]


def test_an_answer_that_does_not_fit_is_kept_until_it_is_taken_back(upload):
    at = answer(upload(POINTS), "Decimal mark", ",")
    for _ in range(2):
        assert "no numbers" in at.error[0].value
        assert pickers(at)["Decimal mark"] == ","
        at.run()
    assert closes(answer(at, "Decimal mark", "as read")) == [100.5, 101.75, 99.25]


def test_a_file_without_a_table_has_nothing_to_choose(upload):
    at = upload(b"No data")
    assert "no table" in at.error[0].value
    assert not at.selectbox


def test_gaps_are_filled_when_asked(upload):
    at = upload(text("Date,Close", "2024-01-01,100.5", "2024-01-02,", "2024-01-03,99.25"))
    assert closes(at) == [100.5, 99.25]
    assert closes(answer(at, "Rows without a price", "carry the last close over")) == [100.5, 100.5, 99.25]
