"""Where prices come from: a built-in sample, a ticker, a file of the person's own, or a synthetic market."""

import streamlit as st

from pages.ui.server import store
from pgcore.errors import BadInput
from pgcore.market.csv_import import LIMIT_BYTES, Choices, ImportReport, NeedsChoice, import_prices
from pgcore.market.prices import SAMPLE_SOURCE, SAMPLES, PriceSeries
from pgcore.runs.store import resolve_prices

EXTENSIONS = ["csv", "txt", "tsv", "xls", "xlsx", "gz", "zip", "parquet"]
SOURCES = ("Sample", "Upload")


def price_picker(page: str) -> PriceSeries | None:
    """Let the person choose a history; its key stays in the session under `<page>.prices`. None while there is none."""
    key = f"{page}.prices"
    st.session_state.setdefault(key, next(iter(SAMPLES)))
    st.session_state.setdefault(f"{page}.sample", next(iter(SAMPLES)))
    st.session_state.setdefault(f"{page}.source", "Sample" if st.session_state[key] in SAMPLES else "Upload")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        source = st.segmented_control("Prices from", SOURCES, required=True, key=f"{page}.source", persist_state="session")
        if source == "Sample":
            chosen = st.segmented_control(
                "Sample",
                list(SAMPLES),
                format_func=SAMPLES.__getitem__,
                required=True,
                help=SAMPLE_SOURCE,
                key=f"{page}.sample",
                persist_state="session",
            )
            st.session_state[key] = chosen or next(iter(SAMPLES))
    if source == "Upload":
        _upload(page)
    try:
        return resolve_prices(store(), st.session_state[key])
    except BadInput as error:
        st.error(f"{error} Choose a sample, or upload the file again.")
        return None


def _upload(page: str) -> None:
    file = st.file_uploader(
        "A file of prices",
        type=None,
        key=f"{page}.file",
        max_upload_size=LIMIT_BYTES // 2**20,
        help="CSV or text from Yahoo, Stooq, Nasdaq, Investing.com, MetaTrader, a broker, a spreadsheet …",
    )
    if file is None:
        return
    try:
        imported = import_prices(file.getvalue(), file.name, _choices(page))
    except NeedsChoice as question:
        st.warning(str(question), icon=":material/help:")
        st.selectbox("Which is it?", question.options, index=None, key=f"{page}.choice.{question.choice}")
        return
    except BadInput as error:
        st.error(str(error), icon=":material/upload_file:")
        return
    st.session_state[f"{page}.prices"] = store().save_prices(imported.series)
    _show_report(imported.report)


def _choices(page: str) -> Choices:
    fields = ("date", "open", "high", "low", "close", "volume", "ticker", "date_order", "decimal")
    chosen = {name: st.session_state.get(f"{page}.choice.{name}") for name in fields}
    return Choices(**{name: value for name, value in chosen.items() if value})


def _show_report(report: ImportReport) -> None:
    with st.expander("What was read", icon=":material/fact_check:"):
        for line in report.lines():
            st.markdown(f"- {line}")
