# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of servers from a CA that speaks ACME, such as a public one.

It wants proof that somebody controls each name. A program of the inventory's author shows that proof for all names at
once: files for http-01, records for dns-01. The CA decides on the lifetime.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Callable, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import location
from ansible_collections.pgops.tls.plugins.module_utils.authority.requests import Request
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.source import (
    acme_client,
    acme_library,
    answers,
    programs,
)
from ansible_collections.pgops.tls.plugins.module_utils.source.contract import Signed, Trust
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import Declared
from ansible_collections.pgops.tls.plugins.module_utils.source.with_program import WithProgram
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

with contextlib.suppress(ImportError):  # without it, modules end before they call anything here: see library.py
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

ACCOUNT_KEY = "acme-account.key"


class Acme(WithProgram):
    """One account. ``ledger_directory`` is where its key is, beside the authorities."""

    def __init__(self, declared: Declared, ledger_directory: str) -> None:
        super().__init__(declared)
        self._directory = ledger_directory

    def trust(self, now: int) -> Trust:
        """Return what is in the file of roots. The CA is not asked, but all that is needed to ask it must be there."""
        acme_library.check(self.place)
        return super().trust(now)

    def _signed(self, requests: Sequence[Request], lifetime: int, trust: Trust, clock: Callable[[], int]) -> Signed:
        """Order all certificates, prove all names by one call of the program, and fetch the chains."""
        del lifetime  # the CA decides
        library = acme_library.load(self.place)
        client = acme_client.Client(library, self.place, self.options, self._patience, self._account_key(library))
        by_id = {request.id: request for request in requests}
        orders: dict[str, acme_client.Order] = {}
        refused: dict[str, str] = {}
        for id_, request in by_id.items():
            with _refusing(refused, id_):
                _refuse_address_first(request)
                orders[id_] = client.order(request.csr)
        chains: dict[str, Sequence[Certificate]] = {}
        warnings: list[str] = []
        with self._proven([one for order in orders.values() for one in order.challenges], warnings):
            for id_, order in orders.items():
                with _refusing(refused, id_):
                    client.answer(order)
            for id_ in [one for one in orders if one not in refused]:
                with _refusing(refused, id_):
                    chains[id_] = self._chain(client.chains(orders[id_]), by_id[id_], trust, clock())
        return Signed(chains, refused, warnings=warnings)

    def _account_key(self, library: acme_library.Library) -> Any:
        """Return the key of the account; make it if there is none."""
        path = os.path.join(self._directory, ACCOUNT_KEY)
        found = files.read(path)
        if found is None:
            location.make(self._directory)
            key = rsa.generate_private_key(65537, 3072)
            found = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            files.write_atomically(path, found, 0o600)
        loaded = None
        with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
            loaded = load_pem_private_key(found, None)
        if not isinstance(loaded, rsa.RSAPrivateKey):
            raise TlsError(
                f"{path}: expected the private RSA key of the ACME account in PEM, found something else.",
                remedy="Restore this file. Without it, the next run makes another account.",
                code="source_account_key_damaged",
            )
        return library.jose.JWKRSA(key=loaded)

    @contextlib.contextmanager
    def _proven(self, challenges: Sequence[Mapping[str, str]], warnings: list[str]) -> Iterator[None]:
        """Have the program show what challenges ask for, and remove it again, whatever happens in between."""
        if not challenges:
            yield
            return
        try:
            self._call("add", challenges)
            yield
        finally:
            try:
                self._call("remove", challenges)
            except TlsError as error:  # the certificates have come, or the first error says more
                warnings.append(error.message)

    def _call(self, action: str, challenges: Sequence[Mapping[str, str]]) -> None:
        question = {"action": action, "challenges": list(challenges)}
        programs.run(self._argv, question, self._option, self._patience)

    def _chain(self, texts: Sequence[str], request: Request, trust: Trust, now: int) -> list[Certificate]:
        """Return the first of the CA's chains that leads to a trusted root. Raises TlsError, that of the first one."""
        problems = []
        for text in texts:
            try:
                return answers.chain(text, request, trust, now)
            except TlsError as error:
                problems.append(error)
        raise TlsError(
            f"requests[{request.id}]: {self.options['url']} issued something else: {problems[0].message}",
            remedy=f"Correct {self.place}.roots if the certificate is below another root.",
            code="source_issued_other",
        )


def _refuse_address_first(request: Request) -> None:
    """Raise TlsError for a server whose first name is an address: CAs take a common name for a name in the DNS."""
    first = request.holder.common_name
    if any(name.kind == "ip" and name.value == first for name in request.holder.names):
        raise TlsError(
            f"requests[{request.id}].names: the first one is {first}, an address. ACME needs a DNS name there.",
            remedy="Begin the names of this server with a DNS name, or use another source.",
            code="source_name_not_dns",
        )


@contextlib.contextmanager
def _refusing(refused: dict[str, str], id_: str) -> Iterator[None]:
    """Note an error that concerns one request."""
    try:
        yield
    except TlsError as error:
        refused[id_] = error.message
