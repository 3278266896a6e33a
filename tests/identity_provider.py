"""An OpenID Connect provider for the tests: it knows a few people, and believes whoever says to be one of them."""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "policy-gradient-lab", "known-to-both"
PEOPLE = {  # subject -> claims; two people of one name and e-mail, as happens when an address is given away again
    "1001": {"name": "Anna <b>Bold</b>", "email": "post@example.org"},
    "1002": {"name": "Bert", "email": "post@example.org"},
}


class IdentityProvider(ThreadingHTTPServer):
    """Serves on a free port of this machine from a thread of its own until `close`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.key = RSAKey.generate_key(2048, {"kid": "test", "use": "sig", "alg": "RS256"})
        self.codes: dict[str, tuple[str, dict[str, str]]] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def secrets(self) -> str:
        """The section [auth] of the secrets of an app on this machine, as TOML; Streamlit puts its port in."""
        return f"""[auth]
redirect_uri = "http://127.0.0.1:{{port}}/oauth2callback"
cookie_secret = "{secrets.token_hex(32)}"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
server_metadata_url = "{self.issuer}/.well-known/openid-configuration"
"""

    def token(self, subject: str, nonce: str | None) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": subject, "aud": CLIENT, "iat": now, "exp": now + 300, **PEOPLE[subject]}
        if nonce:
            claims["nonce"] = nonce
        signed = jwt.encode({"alg": "RS256", "kid": "test"}, claims, self.key)
        return {"access_token": secrets.token_hex(16), "token_type": "Bearer", "expires_in": 300, "id_token": signed}


class _Answers(BaseHTTPRequestHandler):
    server: IdentityProvider

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = dict(parse_qsl(url.query))
        issuer = self.server.issuer
        if url.path == "/.well-known/openid-configuration":
            self._json(
                {
                    "issuer": issuer,
                    "authorization_endpoint": f"{issuer}/authorize",
                    "token_endpoint": f"{issuer}/token",
                    "jwks_uri": f"{issuer}/keys",
                    "end_session_endpoint": f"{issuer}/end",
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                    "code_challenge_methods_supported": ["S256"],
                }
            )
        elif url.path == "/keys":
            self._json({"keys": [self.server.key.as_dict(private=False)]})
        elif url.path == "/authorize":
            links = (f'<p><a href="/approve?{urlencode(asked | {"person": p})}">I am {p}</a></p>' for p in PEOPLE)
            self._answer(200, f"<title>Who are you?</title>{''.join(links)}".encode(), "text/html")
        elif url.path == "/approve":
            code = secrets.token_hex(16)
            self.server.codes[code] = (asked["person"], asked)
            self._redirect(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")
        elif url.path == "/end":
            self._redirect(asked["post_logout_redirect_uri"])
        else:
            self._answer(404, b"", "text/plain")

    def do_POST(self) -> None:
        given = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        person, asked = self.server.codes.pop(given.get("code", ""), ("", {}))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(given.get("code_verifier", "").encode()).digest()).rstrip(b"=")
        known = self.path == "/token" and person and self.headers["Authorization"] == expected
        if not known or challenge.decode() != asked["code_challenge"]:
            self._json({"error": "invalid_grant"}, 400)
        else:
            self._json(self.server.token(person, asked.get("nonce")))

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), "application/json")

    def _redirect(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
