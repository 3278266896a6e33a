"""Who is at the page: on a shared server whoever their identity provider says, on a machine of one's own nobody asks."""

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.ui.stream import is_open
from pages.ui.text import plain
from pgcore.errors import BadInput

_admitted: set[str] = set()
COMMON = ("redirect_uri", "cookie_secret")
OF_PROVIDER = ("client_id", "client_secret", "server_metadata_url")
SHORTEST_SECRET = 32


class NotLoggedIn(BadInput):
    """The server asks for a login, and this session has none."""


@cache
def providers() -> tuple[str, ...]:
    """The identity providers that the section [auth] of the secrets names; () without such a section: no login is asked for.

    Read once a process, so what the server began with holds as long as it runs. Raises BadInput where the secrets cannot be
    read or do not suffice for a login: a mistake in them must not open the server to everybody.
    """
    try:
        auth = st.secrets.to_dict().get("auth")
    except StreamlitSecretNotFoundError as error:
        if any(Path(path).exists() for path in st.get_option("secrets.files")):
            raise BadInput(
                f"The secrets cannot be read, so nobody is let in ({error}): mend that file, or remove it."
            ) from None
        return ()
    if auth is None:
        return ()
    if not isinstance(auth, dict):
        raise BadInput("auth in the secrets is no section: write [auth] above its settings, or remove it.")
    named = {name: part for name, part in auth.items() if isinstance(part, dict) and name != "client_kwargs"}
    _check(auth, COMMON, "[auth]")
    for name, part in (named or {"default": auth}).items():
        _check(part, OF_PROVIDER, f"[auth.{name}]" if named else "[auth]")
    if len(auth["cookie_secret"]) < SHORTEST_SECRET:
        raise BadInput(
            f"cookie_secret in the secrets has fewer than {SHORTEST_SECRET} characters, and whoever guesses it is everybody:"
            ' make one with python -c "import secrets; print(secrets.token_hex(32))".'
        )
    if not auth["redirect_uri"].endswith("/oauth2callback"):
        raise BadInput("redirect_uri in the secrets does not end in /oauth2callback: give https://your.address/oauth2callback.")
    return tuple(named) or ("default",)


def who() -> str:
    """Whose runs and prices this session sees: issuer and subject of the login, which stay when a name or an e-mail changes.

    "" where the server asks for no login. Raises NotLoggedIn.
    """
    if not providers():
        return ""
    issuer, subject = st.user.get("iss"), st.user.get("sub")
    if st.user.get("is_logged_in") is not True or not issuer or not subject:
        raise NotLoggedIn("You are not logged in, or not any more: reload the page and log in.")
    return f"{issuer} {subject}"


def is_in() -> bool:
    """Whether this session may see the pages."""
    try:
        who()
    except NotLoggedIn:
        return False
    return True


def admit() -> None:
    """Let this session, whose person may see the pages, send files as well."""
    context = get_script_run_ctx()
    if context is not None and context.session_id not in _admitted:
        _admitted.intersection_update(filter(is_open, tuple(_admitted)))
        _admitted.add(context.session_id)


def may_upload(session: str) -> bool:
    """Whether that session may send files: the page with the way in has none to send, and Streamlit keeps in memory what it is
    sent by anybody."""
    return not providers() or (session in _admitted and is_open(session))


def menu() -> dict[str, list[Any]]:
    """What the menu holds for somebody who is logged in, under their name."""
    if not is_in() or not who():
        return {}
    name = st.user.get("name") or st.user.get("email") or "Account"
    return {plain(name)[:80]: [st.Page(_log_out, title="Log out", icon=":material/logout:", url_path="log_out")]}


def login_page() -> None:
    """The way in: one button for each identity provider."""
    st.title("Policy Gradient Lab")
    if st.user.get("is_logged_in"):
        st.error("Your identity provider does not say who you are (no iss or sub): ask whoever runs this server to mend that.")
        st.button("Log out", on_click=st.logout)
        return
    st.markdown("Train a policy-gradient agent and watch it learn. What you train here is seen by nobody else.")
    for name in providers():
        title = "Log in" if name == "default" else f"Log in with {plain(name)}"
        st.button(title, type="primary", icon=":material/login:", on_click=st.login, args=(name,), key=f"login.{name}")


def _log_out() -> None:
    st.logout()


def _check(section: dict[str, Any], needed: tuple[str, ...], title: str) -> None:
    missing = [name for name in needed if not isinstance(section.get(name), str) or not section[name]]
    if missing:
        raise BadInput(f"{title} in the secrets has no {missing[0]}: a login needs it, or no section [auth] at all.")
