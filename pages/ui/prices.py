"""Where prices come from: a built-in sample, a ticker, a file of the person's own, or a synthetic market."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import streamlit as st

from pages.ui.server import store
from pages.ui.text import plain
from pages.ui.waiting import worked_out
from pgcore.comparison_charts import said
from pgcore.errors import BadInput
from pgcore.market.csv_import import LIMIT_BYTES, Choices, Imported, ImportReport, NeedsChoice, import_prices
from pgcore.market.prices import SAMPLE_SOURCE, SAMPLES, PriceError, PriceSeries
from pgcore.market.synthetic import MARKETS, PREFIX, ROWS, market_key, market_of, read_key
from pgcore.market.yahoo import INTERVALS, Downloaded, download_all, parse_tickers, spell_age
from pgcore.runs.database import data_directory
from pgcore.runs.store import resolve_prices

SOURCES = ("Sample", "Ticker", "Upload", "Synthetic")
ROLES = ("date", "open", "high", "low", "close", "volume")
MOST_SAID = np.log(1e9)
AS_READ, LEFT_OUT, FILLED = "as read", "leave out", "carry the last close over"


def price_picker(page: str) -> PriceSeries | None:
    """Let the person choose a history; its key stays in the session under `<page>.prices`. None while there is none."""
    key = f"{page}.prices"
    if st.session_state.get(f"{page}.picked") != st.session_state[key]:  # a link chose it, or another page
        for field in ("source", "sample", "market"):
            st.session_state.pop(f"{page}.{field}", None)
    st.session_state.setdefault(f"{page}.source", _source_of(st.session_state[key]))
    source = st.segmented_control("Prices from", SOURCES, required=True, key=f"{page}.source", persist_state="session")
    {"Sample": _sample, "Ticker": _ticker, "Upload": _upload, "Synthetic": _synthetic}[source](page)
    st.session_state[f"{page}.picked"] = st.session_state[key] = picked(page)
    try:
        return resolve_prices(store(), st.session_state[key])
    except BadInput as error:
        st.error(f"{plain(error)} Choose a sample, or upload the file again.")
        return None


def picked(page: str) -> str:
    """The key of the history that the fields name at this moment: a callback hears of it before they are drawn again."""
    field = f"{page}.{{}}".format
    source, now = st.session_state.get(field("source")), st.session_state[field("prices")]
    if source == "Sample":
        return st.session_state.get(field("sample")) or now
    if source == "Ticker" and (found := st.session_state.get(field("found"))):
        key, _ = found.get(st.session_state.get(field("ticker")), (now, ""))
        return key
    if source == "Synthetic" and (kind := st.session_state.get(field("market"))):
        numbers = {each.name: st.session_state[field(f"market.{kind}.{each.name}")] for each in MARKETS[kind].parameters}
        return market_key(kind, st.session_state[field("market.seed")], st.session_state[field("market.rows")], numbers)
    return now


def _source_of(key: str) -> str:
    if key in SAMPLES:
        return "Sample"
    return "Synthetic" if key.startswith(PREFIX) else "Upload"


def _sample(page: str) -> None:
    now = st.session_state[f"{page}.prices"]
    st.session_state.setdefault(f"{page}.sample", now if now in SAMPLES else next(iter(SAMPLES)))
    st.segmented_control(
        "Index",
        list(SAMPLES),
        format_func=SAMPLES.__getitem__,
        required=True,
        key=f"{page}.sample",
        persist_state="session",
        help=f"Built in: {SAMPLE_SOURCE}.",
        label_visibility="collapsed",
    )


def _ticker(page: str) -> None:
    """Download on request; what was found can be chosen from until the next request."""
    with st.form(f"{page}.download", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Tickers", placeholder="AAPL, ^GSPC, EURUSD=X", width=260, help="As Yahoo writes them; several apart by commas."
        )
        first = st.date_input("From", date(2005, 1, 1), min_value=date(1900, 1, 1), width=140)
        last = st.date_input("To", "today", min_value=date(1900, 1, 1), width=140)
        interval = st.selectbox(
            "Interval", list(INTERVALS), index=list(INTERVALS).index("1d"), format_func=INTERVALS.__getitem__, width=160
        )
        asked = st.form_submit_button("Download", icon=":material/download:")
    found = f"{page}.found"
    if asked:
        try:
            answers = _download(parse_tickers(text), first, last, interval)
        except PriceError as error:
            st.error(plain(error))
            return
        st.session_state[found] = {}
        for ticker, answer in answers.items():
            if isinstance(answer, PriceError):
                st.error(plain(answer), icon=":material/cloud_off:")
                continue
            notice = answer.notice or f"Downloaded {spell_age(answer.age)} ago."
            st.session_state[found][ticker] = (store().save_prices(answer.series), notice)
    if got := st.session_state.get(found):
        if st.session_state.get(f"{page}.ticker") not in got:
            st.session_state[f"{page}.ticker"] = next(iter(got))
        ticker = st.segmented_control("Downloaded", list(got), required=True, key=f"{page}.ticker", persist_state="session")
        _, notice = got[ticker]
        st.caption(f"{plain(notice)} Prices are adjusted for splits and dividends; Yahoo's data is for personal use.")


def _download(tickers: list[str], first: date, last: date, interval: str) -> Mapping[str, Downloaded | PriceError]:
    """Ask Yahoo, and show how far that is. The button need do nothing: what makes the page run again gives the download up."""
    place = st.empty()
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0)
        st.button("Cancel", icon=":material/close:")

    def show(ticker: str, done: int) -> None:
        bar.progress(done / len(tickers), f"Asking Yahoo for {plain(ticker)}, {done + 1} of {len(tickers)} …")

    answers = download_all(tickers, first, last, interval, cache_directory=data_directory() / "yahoo", progress=show)
    place.empty()
    return answers


def _upload(page: str) -> None:
    file = st.file_uploader(
        "A file of prices",
        key=f"{page}.file",
        max_upload_size=LIMIT_BYTES // 2**20,
        label_visibility="collapsed",
        help="CSV or text from Yahoo, Stooq, Nasdaq, Investing.com, MetaTrader, a broker, a spreadsheet …",
    )
    reading = f"{page}.reading"
    if file is None:
        st.session_state.pop(reading, None)
        return
    data = file.getvalue()
    content = hashlib.sha256(data).hexdigest()[:16]
    key = f"{page}.choice.{content}"
    answers: dict[str, str] = st.session_state.setdefault(key, {})
    try:
        choices = _choices(answers)
        what, said = (content, file.name, choices), "Reading the file; removing it above ends that."
        imported = worked_out(reading, what, lambda: _imported(data, file.name, choices), said)
    except NeedsChoice as question:
        st.warning(plain(question), icon=":material/help:")
        if question.choice == "ticker":
            st.session_state[f"{key}.tickers"] = question.options
        _picker(key, "Which is it?", question.choice, question.options, asked=True)
        return
    except PriceError as error:
        st.error(plain(error), icon=":material/upload_file:")
        if error.columns:
            st.caption("Was it read otherwise than you meant it? Say how to read it:")
            _pickers(key, error.columns)
        return
    if imported is not None:
        st.session_state[f"{page}.prices"] = store().save_prices(imported.series)
        _show_report(key, imported.report)


@st.cache_data(max_entries=8, ttl="1h", show_spinner=False)
def _imported(data: bytes, name: str, choices: Choices) -> Imported:
    return import_prices(data, name, choices)


def _choices(answers: dict[str, str]) -> Choices:
    """What the person settled for this file; nothing where the file speaks for itself."""
    chosen = {name: "" if answer == LEFT_OUT else answer for name, answer in answers.items() if answer != AS_READ}
    fill_gaps = chosen.pop("fill_gaps", "") == FILLED
    return Choices(**chosen, fill_gaps=fill_gaps)


def _show_report(key: str, report: ImportReport) -> None:
    """The report in plain words, and a picker for everything that could be meant otherwise."""
    for warning in report.warnings:
        st.warning(plain(warning))
    with st.expander(
        f"What was read: {report.rows:,} rows, {plain(report.first)} to {plain(report.last)}", icon=":material/fact_check:"
    ):
        for line in report.lines():
            st.markdown(f"- {plain(line)}")
        st.caption("Something is not as you meant it? Say how to read it:")
        _pickers(key, report.available)


def _pickers(key: str, columns: tuple[str, ...]) -> None:
    """How to read the file otherwise: its columns, the order of its dates, its decimal mark, its ticker, its gaps."""
    with st.container(horizontal=True):
        for role in ROLES:
            options = [AS_READ, *columns, *([LEFT_OUT] if role not in ("date", "close") else [])]
            _picker(key, role.capitalize(), role, options)
        _picker(key, "Date order", "date_order", [AS_READ, "day-first", "month-first", "year-first"])
        _picker(key, "Decimal mark", "decimal", [AS_READ, ".", ","])
        if tickers := st.session_state.get(f"{key}.tickers"):
            _picker(key, "Ticker", "ticker", [AS_READ, *tickers])
        _picker(
            key,
            "Rows without a price",
            "fill_gaps",
            [AS_READ, FILLED],
            help="As read, they are left out. Nothing is ever filled from the future.",
        )


def _picker(key: str, label: str, name: str, options: Sequence[str], *, asked: bool = False, help: str | None = None) -> None:
    """One answer. It is kept in a dict of the session: the state of a widget is gone as soon as it is not drawn."""
    widget = f"{key}.{'asked' if asked else 'pick'}.{name}"
    answers: dict[str, str] = st.session_state[key]

    def keep() -> None:
        if st.session_state[widget] is not None:
            answers[name] = st.session_state[widget]

    chosen = answers.get(name)
    index = options.index(chosen) if chosen in options else None if asked else 0
    st.selectbox(label, options, index, key=widget, on_change=keep, help=help, width=300 if asked else 150)


def _synthetic(page: str) -> None:
    """A market whose truth is known: to learn with, and to see whether an agent finds what is there to be found."""
    _recall_market(page)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.pills(
            "Market",
            list(MARKETS),
            format_func=lambda kind: MARKETS[kind].title,
            required=True,
            key=f"{page}.market",
            persist_state="session",
        )
        for parameter in MARKETS[kind].parameters:
            st.number_input(
                parameter.label + (f" ({parameter.unit})" if parameter.unit else ""),
                parameter.low,
                parameter.high,
                step=0.001 if parameter.high <= 1 else 1.0,
                format="%.4g" if parameter.high <= 1 else "%.0f",
                help=parameter.help,
                key=f"{page}.market.{kind}.{parameter.name}",
                persist_state="session",
                width=150,
            )
        st.number_input("Days", *ROWS, step=500, key=f"{page}.market.rows", persist_state="session", width=130)
        st.number_input("Market seed", 0, 2**31 - 1, key=f"{page}.market.seed", persist_state="session", width=130)
    try:
        truth = market_of(picked(page), st.session_state[f"{page}.cost_bps"], st.session_state[f"{page}.allow_short"]).truth
    except BadInput as error:
        st.error(plain(error))
        return
    profit = truth.best_policy_profit
    growth = said(float(f"{np.exp(profit):.3g}")) if profit < MOST_SAID else "very many"
    st.caption(f"{MARKETS[kind].about} {truth.best_policy} At your costs that expects to multiply its equity {growth} times.")


def _recall_market(page: str) -> None:
    """Set the fields to the market that the link names, once; else to what the table has."""
    if f"{page}.market" in st.session_state:
        return
    key = st.session_state[f"{page}.prices"]
    kind, given = read_key(key) if key.startswith(PREFIX) else ("mean-reversion", {})
    st.session_state[f"{page}.market"] = kind if kind in MARKETS else "mean-reversion"
    for name, market in MARKETS.items():
        for parameter in market.parameters:
            value = given.get(parameter.name, parameter.default) if name == kind else parameter.default
            st.session_state[f"{page}.market.{name}.{parameter.name}"] = min(max(value, parameter.low), parameter.high)
    st.session_state[f"{page}.market.rows"] = int(min(max(given.get("rows", 5_000), ROWS[0]), ROWS[1]))
    st.session_state[f"{page}.market.seed"] = int(min(max(given.get("seed", 0), 0), 2**31 - 1))
