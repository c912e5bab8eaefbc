# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An account at a CA that speaks ACME: orders, their challenges, and chains. The protocol itself is the library's."""

from __future__ import annotations

import datetime
import functools
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.source import programs
from ansible_collections.pgops.tls.plugins.module_utils.source.acme_library import Library
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import HTTP_01

_TRIES = 8  # of a request whose nonce is refused; the library itself makes two of each
_NAMES = "If this CA does not certify this name or address, remove it from the names of the server."
_REMEDIES = {
    "rateLimited": "Wait as long as this CA says, then rerun.",
    "externalAccountRequired": (
        "This CA gives accounts only to customers that it knows (external account binding), which is not supported "
        "here. Use type command with a program for it."
    ),
    "unsupportedIdentifier": _NAMES,
    "rejectedIdentifier": _NAMES,
    "malformed": _NAMES,
}


class Order(NamedTuple):
    """What the CA wants to see before it signs. ``challenges`` are for the program that shows it to the CA."""

    resource: Any
    answers: Sequence[tuple[Any, Any]]
    challenges: Sequence[Mapping[str, str]]


class Client:
    """An account by its key, as the library has it.

    ``place`` is what messages call the source, ``patience`` how many seconds one certificate may take.
    """

    def __init__(self, library: Library, place: str, options: Mapping[str, Any], patience: int, key: Any) -> None:
        self._library, self._place, self._options = library, place, options
        self._patience, self._key = patience, key
        network = _network(library)(self._key, verify_ssl=options.get("ca_file") or True, user_agent="pgops.tls")
        url = str(options["url"])
        directory = self._tried(lambda: library.client.ClientV2.get_directory(url, network))
        self._client = library.client.ClientV2(directory, network)
        self._log_in()

    def _log_in(self) -> None:
        """Find the account of this key, or make it."""
        messages = self._library.messages
        terms = self._tried(lambda: self._client.directory.meta.terms_of_service)
        if terms and not self._options.get("terms_agreed"):
            raise TlsError(
                f"{self._place}.terms_agreed: {self._options['url']} has terms of service ({terms}).",
                remedy="Read them. If you agree, set terms_agreed: true. Nothing was signed.",
                code="source_terms",
            )
        wanted = messages.NewRegistration.from_data(email=self._options.get("email"), terms_of_service_agreed=True)
        try:
            self._tried(lambda: self._client.new_account(wanted))
        except _HasAccountError as error:
            body = messages.Registration()
            self._client.net.account = messages.RegistrationResource(body=body, uri=error.location)

    def order(self, csr: str) -> Order:
        """Order a certificate for the names of a CSR. Raises TlsError, also if a challenge is not offered."""
        resource = self._tried(lambda: self._client.new_order(csr.encode("ascii")))
        answers, challenges = [], []
        for body in self._open(resource):
            name = body.identifier.value
            offered = {str(one.chall.to_partial_json()["type"]): one for one in body.challenges}
            wanted = offered.get(str(self._options["challenge"]))
            if wanted is None:
                raise TlsError(
                    f"{self._place}.challenge: the CA offers {', '.join(sorted(offered))} for {name}, and not "
                    f"{self._options['challenge']}.",
                    remedy=f"Choose another challenge. {_NAMES}",
                    code="source_challenge_missing",
                )
            response, value = wanted.response_and_validation(self._key)
            answers.append((wanted, response))
            challenges.append(_described(wanted.chall, name, value))
        return Order(resource, answers, challenges)

    def _open(self, resource: Any) -> Iterator[Any]:
        """Give the authorizations of an order that are not valid already."""
        for one in resource.authorizations:
            if one.body.status != self._library.messages.STATUS_VALID:
                yield one.body

    def answer(self, order: Order) -> None:
        """Have the CA look at what the challenges ask for. Raises TlsError."""
        for challenge, response in order.answers:
            self._tried(functools.partial(self._client.answer_challenge, challenge, response))

    def chains(self, order: Order) -> list[str]:
        """Return the chains (PEM) of the certificate, the CA's favorite first. Raises TlsError."""
        end = datetime.datetime.now() + datetime.timedelta(seconds=self._patience)  # as the library takes it
        ready = self._tried(lambda: self._client.poll_authorizations(order.resource, end))
        done = self._tried(lambda: self._client.finalize_order(ready, end, fetch_alternative_chains=True))
        return [done.fullchain_pem, *(done.alternative_fullchains_pem or ())]

    def _tried(self, call: Callable[[], Any]) -> Any:
        """Return what a call of the library does; its errors become TlsErrors."""
        try:
            return call()
        except self._library.failures as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> TlsError:
        library, url = self._library, self._options["url"]
        if isinstance(error, library.errors.ConflictError):
            return _HasAccountError(str(error.location), code="source_refused")
        if isinstance(error, library.errors.ValidationError):
            return TlsError(
                f"{self._place}: the CA found no proof of the names: {programs.sentence('; '.join(_problems(error)))}",
                remedy=f"Check what {self._options['command'][0]} does, and whether the CA can reach it.",
                code="source_challenge_failed",
            )
        if isinstance(error, library.errors.IssuanceError):
            error = error.error
        if isinstance(error, library.messages.Error):
            remedy = _REMEDIES.get(error.code or "", "")
            said = programs.sentence(_detail(error))
            return TlsError(f"{self._place}: {url} refuses it: {said}", remedy=remedy, code="source_refused")
        if isinstance(error, library.errors.TimeoutError):
            return TlsError(
                f"{self._place}: {url} was not done within {self._patience} s.",
                remedy="Rerun. If that happens again, set a longer timeout.",
                code="source_timeout",
            )
        return self._unreachable(error)

    def _unreachable(self, error: Exception) -> TlsError:
        """Explain what is not an answer of a CA."""
        is_tls = isinstance(error, self._library.requests.exceptions.SSLError)
        is_network = isinstance(error, (self._library.requests.exceptions.RequestException, ValueError))
        what = programs.quoted(_cause(error)) if is_network else "what it says is not ACME"
        ca_file = f"Set {self._place}.ca_file to the CAs that verify its own certificate."
        return TlsError(
            f"{self._place}.url: {self._options['url']} gives no usable answer: {programs.sentence(what)}",
            remedy=ca_file if is_tls else "Correct the URL, or start the CA, then rerun.",
            code="source_unreachable",
        )


class _HasAccountError(TlsError):
    """The key has an account already."""

    def __init__(self, location: str, *, code: str) -> None:
        super().__init__(f"The key has an account at {location}.", code=code)
        self.location = location


def _network(library: Library) -> Any:
    """Return the library's class for requests with more patience. A CA may refuse a nonce whenever it likes."""
    network: Any = library.client.ClientNetwork

    class Network(network):  # type: ignore[misc] # the library is not installed with the checkers
        def post(self, *arguments: Any, **options: Any) -> Any:
            for _attempt in range(_TRIES - 1):
                try:
                    return super().post(*arguments, **options)
                except library.messages.Error as error:
                    if error.code != "badNonce":
                        raise
            return super().post(*arguments, **options)

    return Network


def _cause(error: BaseException) -> str:
    """Return what the operating system or OpenSSL said; the library wraps that in many words."""
    inner: BaseException | None = error
    while inner is not None:
        said = getattr(inner, "verify_message", None) or getattr(inner, "strerror", None)
        if said:
            return str(said)
        inner = inner.__cause__ or inner.__context__
    return str(error)


def _described(challenge: Any, name: str, value: str) -> dict[str, str]:
    """Return what a program has to show to the CA."""
    if challenge.typ == HTTP_01:
        return {"type": challenge.typ, "name": name, "path": challenge.path, "content": value}
    return {
        "type": challenge.typ,
        "name": name,
        "record": challenge.validation_domain_name(name),
        "value": value,
    }


def _problems(error: Any) -> Iterator[str]:
    for one in error.failed_authzrs:
        found = next((challenge.error for challenge in one.body.challenges if challenge.error is not None), None)
        yield f"{one.body.identifier.value}: {_detail(found)}"


def _detail(problem: Any) -> str:
    """Return what a problem document says, on one line."""
    parts = [problem.detail, *(one.detail for one in getattr(problem, "subproblems", None) or ())]
    return programs.quoted(" ".join(str(one) for one in parts if one) or str(problem.typ))
