# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP API of OpenBao, which HashiCorp Vault has, too: what is asked, and what its refusals mean.

The token goes to the declared address alone: a redirection is refused, not followed.
"""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown

_SECONDS = 30.0
_LARGEST = 8 << 20  # bytes of an answer
_SEALED, _FORBIDDEN, _MISSING = 503, 403, 404
_FAILED = 500
_NO_SERVER = (502, 504)  # of a load balancer
_LIMITED = 429
_NOT_NOW = (412, _LIMITED, 472, 473)  # it lags behind, is limited, or is a secondary or a standby
# What PKI engines say with status 500, although the server works, and rerunning helps nobody
_NO_LIST = "unable to find CRL"
_REFUSALS = (_NO_LIST, "unable to find PKI issuer", "no default issuer")


class RefusedError(TlsError):
    """The server understood a request, and refuses what it asks for."""


class _MissingError(RefusedError):
    """What is asked for does not exist."""


class FailedError(TlsError):
    """The server failed at a request, and may do what others ask for."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Turn a redirection into an error."""

    def redirect_request(self, *_arguments: Any) -> None:
        """Return no request to make instead."""
        return


class Api:
    """One server. ``place`` is what messages call the source."""

    def __init__(self, place: str, options: Mapping[str, Any]) -> None:
        self._place = place
        self._url = str(options["url"]).rstrip("/")
        self._options = options
        self._token = ""
        context = self._context(options.get("ca_file"))
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect)

    def _context(self, ca_file: str | None) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise TlsError(
                f"{self._place}.ca_file: {ca_file}: expected a file with PEM certificates of CAs, found another "
                f"({error.strerror or error}).",
                remedy="Correct the path, or the file.",
                code="source_ca_file_unusable",
            ) from error

    def read(self, path: str, key: str, kind: type = str) -> Mapping[str, Any]:
        """Return the data at a path that needs no token. A value of a kind is behind the key. Raises TlsError."""
        return self._part(self._send("GET", path, None, {}), "data", key, kind)

    def text(self, path: str) -> str:
        """Return a text at a path that needs no token, '' if there is none. Raises TlsError."""
        try:
            return self._send("GET", path, None, {}).decode("ascii", "replace")
        except _MissingError:
            return ""

    def write(self, path: str, body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """Send data with a token, and return the data that comes back, with a text behind the key. Raises TlsError."""
        return self._part(self._send("POST", path, body, {"X-Vault-Token": self._logged_in()}), "data", key, str)

    def close(self) -> None:
        """Give a token back that a login has made."""
        if self._token and "approle" in self._options:
            self._send("POST", "auth/token/revoke-self", {}, {"X-Vault-Token": self._token})
        self._token = ""

    def _logged_in(self) -> str:
        if not self._token:
            self._token = self._login() if "approle" in self._options else self._own_token()
        return self._token

    def _login(self) -> str:
        try:
            answer = self._send("POST", "auth/approle/login", self._options["approle"], {})
            return str(self._part(answer, "auth", "client_token", str)["client_token"])
        except RefusedError as error:
            raise TlsError(
                f"{self._place}.approle: {self._url} refuses the login: {error.fault}",
                remedy="Make a new secret_id for this role_id, or correct both. Nothing was signed.",
                code="source_login_refused",
            ) from error

    def _own_token(self) -> str:
        path = self._options.get("token_file")
        if not path:
            return str(self._options["token"])
        try:
            with open(path, encoding="ascii") as stream:
                token = stream.read().strip()
        except (OSError, ValueError) as error:
            token, why = "", getattr(error, "strerror", None) or "no text"
        else:
            why = "it is empty, or more than one word"
        if not token or len(token.split()) != 1:
            raise TlsError(
                f"{self._place}.token_file: {path}: expected a token, found none ({why}).",
                remedy="Write a valid token into this file, readable for the user of this task alone.",
                code="source_token_missing",
            )
        return token

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> bytes:
        address = f"{self._url}/v1/{urllib.parse.quote(path, safe='/?=')}"
        data = None if body is None else json.dumps(body).encode("ascii")
        # The scheme is https: declared.py refuses any other
        request = urllib.request.Request(address, data, dict(headers), method=method)  # noqa: S310
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                content = bytes(answer.read(_LARGEST))
                if answer.length and len(content) < _LARGEST:
                    raise http.client.IncompleteRead(content, answer.length)
                return content
        except urllib.error.HTTPError as error:
            raise self._refused(error, path, has_token=bool(headers)) from None
        except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and ssl's errors are OSErrors
            raise self._unanswered(error) from None

    def _unanswered(self, error: Exception) -> TlsError:
        reason = getattr(error, "reason", None) or error
        verified = getattr(reason, "verify_message", None)
        if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
            reason = f"what comes is not HTTP, or not all of it ({type(error).__name__})"
        return TlsError(
            f"{self._place}.url: {self._url} gives no answer: {verified or reason}.",
            remedy=(
                f"Correct the address, or {self._place}.ca_file, which verifies its certificate."
                if verified
                else "Start it, or correct the address, then rerun."
            ),
            code="source_unreachable",
        )

    def _refused(self, error: urllib.error.HTTPError, path: str, *, has_token: bool) -> TlsError:
        said = _errors(error)
        place, where = self._place, f"{self._url}/v1/{path}"
        if error.code == _SEALED:
            return TlsError(
                f"{place}.url: {self._url} is sealed, or not ready: {said}",
                remedy="Unseal it (bao operator unseal), then rerun. Nothing was signed by it.",
                code="source_sealed",
            )
        if error.code in _NOT_NOW or (error.code >= _FAILED and not any(one in said for one in _REFUSALS)):
            return self._not_now(error.code, said)
        if 300 <= error.code < 400:
            return TlsError(
                f"{place}.url: {self._url} redirects to {shown(error.headers.get('Location'))}. The token goes nowhere "
                "else.",
                remedy="Declare the address of the active server, or of a load balancer in front of it.",
                code="source_redirects",
            )
        if error.code == _FORBIDDEN and has_token:
            return RefusedError(
                f"{place}: {where} refuses the token: {said}",
                remedy=(
                    "The token is wrong, has expired, or its policy lacks this path. Check it with bao token lookup, "
                    f'and with: path "{path}" {{ capabilities = ["update"] }}.'
                ),
                code="source_forbidden",
            )
        if error.code in (_MISSING, _FORBIDDEN):  # without a token, what does not exist is forbidden
            return _MissingError(
                f"{place}.mount: there is nothing at {where}: {said}",
                remedy="Correct the mount, or enable a PKI secrets engine there.",
                code="source_mount_missing",
            )
        kind = _MissingError if _NO_LIST in said else RefusedError
        return kind(f"{where}: {said}", code="source_refused")

    def _not_now(self, status: int, said: str) -> TlsError:
        if status in _NO_SERVER:
            what, remedy = "gives no answer", "Start the server behind this address, then rerun."
        elif status == _LIMITED:
            what, remedy = "limits requests", "Rerun later, or raise the rate limit quota for this address and mount."
        else:
            what = "cannot answer now"
            remedy = "Check with bao status that the address leads to an active node, and read its log. Then rerun."
        kind = FailedError if status == _FAILED else TlsError
        return kind(f"{self._place}.url: {self._url} {what}: {said}", remedy=remedy, code="source_unreachable")

    def _part(self, content: bytes, name: str, key: str, kind: type) -> Mapping[str, Any]:
        """Return the object with a name in an answer, which has a value of a kind behind a key. Raises TlsError."""
        try:
            found: Mapping[str, Any] = json.loads(content)[name]
            if isinstance(found[key], kind):
                return found
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise TlsError(
            f"{self._place}.url: {self._url} answers without {name}.{key}, which OpenBao and Vault give.",
            remedy="Correct the address.",
            code="source_answer_unreadable",
        )


def _errors(error: urllib.error.HTTPError) -> str:
    """Return what an answer says in words, on one line."""
    try:
        found = json.loads(error.read(_LARGEST)).get("errors")
    except (ValueError, AttributeError, RecursionError, OSError, http.client.HTTPException):
        found = None
    lines = " ".join(" ".join(str(one).split()) for one in found) if isinstance(found, list) else ""
    text = lines or f"HTTP status {error.code}"
    return f"{text[:400]}." if not text.endswith(".") else text[:400]
