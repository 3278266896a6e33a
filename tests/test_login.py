"""A shared server: whoever logs in sees and controls what is theirs, and nothing else; whoever does not, nothing."""

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright
from streamlit import config
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.secrets import secrets_singleton
from streamlit.testing.v1 import AppTest
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from pages.ui import login, server
from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.runs.store import RunStore
from tests import chromium
from tests.identity_provider import IdentityProvider
from tests.test_app import prices_csv
from tests.test_browser import button, serve

ROOT = Path(__file__).parents[1]
GOOD = f"""
[auth]
redirect_uri = "https://lab.example.org/oauth2callback"
cookie_secret = "{"0123456789abcdef" * 4}"
client_id = "lab"
client_secret = "s"
server_metadata_url = "https://id.example.org/.well-known/openid-configuration"
"""


@pytest.fixture
def with_secrets(tmp_path: Path) -> Iterator[Callable[[str | None], None]]:
    """Secrets of our own; None: no such file. Streamlit keeps what it once read of them, for whatever test comes next."""
    before = config.get_option("secrets.files")
    file = tmp_path / "secrets.toml"

    def read_from(files: list[str]) -> None:
        config.set_option("secrets.files", files)
        secrets_singleton._reset()
        login.providers.cache_clear()

    def write(text: str | None) -> None:
        if text is not None:
            file.write_text(text, encoding="utf-8")
        read_from([str(file)])

    yield write
    read_from(before)


def test_no_login_is_asked_for_where_the_secrets_name_no_provider(with_secrets: Callable[[str | None], None]) -> None:
    for text in (None, "", 'other = "secret"\n'):
        with_secrets(text)
        assert login.providers() == ()
        assert login.who() == ""


def test_one_provider_or_several(with_secrets: Callable[[str | None], None]) -> None:
    with_secrets(GOOD)
    assert login.providers() == ("default",)
    common, provider = GOOD.split("client_id")
    with_secrets(f"{common}[auth.one]\nclient_id{provider}\n[auth.two]\nclient_id{provider}")
    assert login.providers() == ("one", "two")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[auth]", "[auth", "The secrets cannot be read, so nobody is let in"),
        (GOOD, "[auth]", r"\[auth\] in the secrets has no redirect_uri"),
        ('client_secret = "s"', "", "has no client_secret"),
        ('client_secret = "s"', "client_secret = 7", "has no client_secret"),
        ("0123456789abcdef" * 4, "short", "fewer than 32 characters"),
        ("/oauth2callback", "/", "does not end in /oauth2callback"),
        ("client_id", "[auth.one]\nclient_ids", r"\[auth.one\] in the secrets has no client_id"),
        (GOOD, 'auth = "on"', "auth in the secrets is no section"),
    ],
)
def test_secrets_with_a_mistake_open_nothing(with_secrets: Callable[[str | None], None], old: str, new: str, said: str) -> None:
    with_secrets(GOOD.replace(old, new))
    with pytest.raises(BadInput, match=said):
        login.providers()


def test_a_server_with_a_mistake_in_its_secrets_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "secrets.toml").write_text("[auth", encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="nobody is let in") as failed:
        serve(tmp_path, f"--secrets.files={tmp_path / 'secrets.toml'}")
    assert "Traceback" not in str(failed.value)


# ---- without a browser


@pytest.fixture
def shared(app: Callable[..., AppTest], with_secrets: Callable[[str | None], None]) -> Callable[..., AppTest]:
    """The app of a shared server, opened by somebody: the claims of their login, none for nobody."""
    with_secrets(GOOD)
    return lambda user, page="cartpole.py", **link: app(page, user=user, **link)


ANNA = {"is_logged_in": True, "iss": "https://id.example.org", "sub": "1001", "name": "Anna", "email": "post@example.org"}
BERT = ANNA | {"sub": "1002"}
OWNER = "https://id.example.org 1001"


@pytest.mark.parametrize("user", [{}, {"is_logged_in": False}, ANNA | {"is_logged_in": False}])
@pytest.mark.parametrize("page", ["cartpole.py", "stocks.py", "runs.py"])
def test_nobody_gets_further_than_the_login_page(shared: Callable[..., AppTest], user: dict[str, Any], page: str) -> None:
    at = shared(user, page)
    assert not at.exception
    assert [each.label for each in at.button] == ["Log in"]
    assert not at.sidebar.children


def test_a_login_without_a_subject_is_none(shared: Callable[..., AppTest]) -> None:
    at = shared(ANNA | {"sub": ""})
    assert "does not say who you are" in at.error[0].value
    assert [each.label for each in at.button] == ["Log out"]


def test_a_run_belongs_to_who_started_it_and_is_nowhere_to_be_found_for_another(shared: Callable[..., AppTest]) -> None:
    at = shared(ANNA, max_steps="2000")
    at.button(key="cartpole.train").click().run()
    assert not at.exception
    whole = server._store()
    (run,) = whole.runs()
    assert run.owner == OWNER
    other = shared(BERT, run=run.id)
    assert not other.exception
    assert f"There is no run {run.id!r}" in other.warning[0].value.replace("\\", "")
    assert whole.as_user("https://id.example.org 1002").runs() == []


FORGETFUL = """
import streamlit as st
from pages.ui.login import NotLoggedIn
from pages.ui.server import store, tail
for ask in (store, lambda: tail("abcd")):
    try:
        st.text(ask())
    except NotLoggedIn:
        st.text("refused")
"""


def test_a_page_that_forgets_to_ask_who_is_there_is_given_nothing(shared: Callable[..., AppTest]) -> None:
    assert not shared(ANNA).exception
    at = AppTest.from_string(FORGETFUL)
    at.user = {"is_logged_in": False}
    assert [text.value for text in at.run().text] == ["refused", "refused"]


# ---- in a real browser, with a real provider


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    provider = IdentityProvider()
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def address(provider: IdentityProvider, home: Path) -> Iterator[str]:
    (home / "secrets.toml").write_text(provider.secrets(), encoding="utf-8")
    process, address = serve(home, f"--secrets.files={home / 'secrets.toml'}")
    yield address
    process.terminate()
    process.wait(timeout=30)
    for run in RunStore(f"sqlite:///{home}/runs.sqlite").runs():
        if run.process is not None and not run.is_over:
            run.process.kill()


@pytest.fixture
def person(address: str) -> Iterator[Callable[[str | None], BrowserContext]]:
    """A browser of their own for each person, logged in unless the subject is None."""
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)

        def come(subject: str | None) -> BrowserContext:
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            if subject is not None:
                page = context.new_page()
                page.goto(address)
                log_in(page, subject)
                page.close()
            return context

        yield come
        browser.close()


def log_in(page: Page, subject: str) -> None:
    button(page, "Log in").click()
    page.get_by_role("link", name=f"I am {subject}").click()
    expect(button(page, "Train").first).to_be_visible()


def test_each_person_sees_and_controls_only_what_is_theirs(
    person: Callable[[str | None], BrowserContext], address: str, home: Path, provider: IdentityProvider
) -> None:
    anna = person("1001").new_page()
    anna.goto(f"{address}/?stop_when_solved=off&max_steps=50000000")
    button(anna, "Train").first.click()
    anna.wait_for_url(re.compile("run="))
    expect(anna.get_by_text(re.compile(r"learning(, solved)? · [\d,]+ steps")).first).to_be_visible()
    run_id = re.search(r"run=([\w-]+)", anna.url)[1]
    store = RunStore(f"sqlite:///{home}/runs.sqlite")
    assert store.run(run_id).owner == f"{provider.issuer} 1001"

    bert = person("1002").new_page()
    bert.goto(f"{address}/?run={run_id}")
    expect(bert.get_by_text("There is no run")).to_be_visible()
    expect(button(bert, "Stop").first).to_be_disabled()
    bert.goto(f"{address}/runs")
    expect(bert.get_by_text("Anna")).to_have_count(0)
    expect(bert.get_by_text(run_id[:8])).to_have_count(0)

    nobody = person(None).new_page()
    nobody.goto(f"{address}/?run={run_id}")
    expect(button(nobody, "Log in")).to_be_visible()
    expect(nobody.locator("[data-testid=stMain]").get_by_role("button")).to_have_count(1)

    button(anna, "Stop").first.click()
    expect(anna.get_by_text(re.compile(r"stopped(, solved)? · [\d,]+ steps")).first).to_be_visible()
    anna.goto(f"{address}/runs")
    table = anna.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
    anna.mouse.click(table["x"] + 15, table["y"] + 18 + 35)
    with anna.expect_download() as download:
        button(anna, "Export").click()
    with zipfile.ZipFile(download.value.path()) as exported:
        assert any(name.endswith("config.json") for name in exported.namelist())


def test_prices_that_one_person_uploads_are_not_there_for_another(
    person: Callable[[str | None], BrowserContext], address: str, home: Path
) -> None:
    anna = person("1001").new_page()
    anna.goto(f"{address}/stocks")
    anna.get_by_text("Upload", exact=True).first.click()
    anna.locator("input[type=file]").set_input_files(
        {"name": "mine.csv", "mimeType": "text/csv", "buffer": prices_csv(700).encode()}
    )
    expect(anna.get_by_text("What was read")).to_be_visible()
    (stored,) = RunStore(f"sqlite:///{home}/runs.sqlite").price_list()
    bert = person("1002").new_page()
    bert.goto(f"{address}/stocks?prices={stored.digest}")
    expect(bert.get_by_text("There are no prices")).to_be_visible()


def test_the_name_of_the_login_is_shown_as_it_is_and_logging_out_ends_it(
    person: Callable[[str | None], BrowserContext], address: str
) -> None:
    anna = person("1001").new_page()
    anna.goto(address)
    anna.get_by_text("Anna <b>Bold</b>").click()
    anna.get_by_text("Log out").click()
    expect(button(anna, "Log in")).to_be_visible()
    anna.goto(f"{address}/stocks")
    expect(button(anna, "Log in")).to_be_visible()


def test_a_cookie_somebody_made_up_lets_nobody_in(person: Callable[[str | None], BrowserContext], address: str) -> None:
    forged = create_signed_value("a guess", "_streamlit_user", json.dumps(ANNA | {"origin": address})).decode()
    context = person(None)
    context.add_cookies([{"name": "_streamlit_user", "value": forged, "url": address}])
    page = context.new_page()
    page.goto(address)
    expect(button(page, "Log in")).to_be_visible()


def test_who_is_not_logged_in_can_send_no_file(person: Callable[[str | None], BrowserContext], address: str) -> None:
    """Streamlit itself would take it from any open page, and keep it in memory."""
    page = person(None).new_page()
    sessions: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: sessions.extend(session_of(frame))))
    page.goto(address)
    expect(button(page, "Log in")).to_be_visible()
    (session, *_) = sessions
    for path in (session, "made-up"):
        answer = page.request.put(f"{address}/_stcore/upload_file/{path}/1", data=b"a file")
        assert (answer.status, answer.text()) == (403, "Log in to send a file.")


def session_of(frame: bytes | str) -> list[str]:
    message = ForwardMsg.FromString(frame) if isinstance(frame, bytes) else ForwardMsg()
    return [message.new_session.initialize.session_id] if message.HasField("new_session") else []


def test_a_config_for_somebody_else_is_refused_by_the_store_too(home: Path, address: str) -> None:
    whole = RunStore(f"sqlite:///{home}/runs.sqlite")
    anna = whole.as_user(OWNER)
    assert whole.run(anna.create_run(TrainConfig(), owner="somebody else")).owner == OWNER
