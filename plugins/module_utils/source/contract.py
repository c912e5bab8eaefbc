# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a source of certificates offers, whichever CA is behind it.

A source says what to trust, and signs requests. A request that it cannot answer yet waits: that is neither a failure
nor a change. The ledger is not its business: whoever calls it records what came.
"""

from __future__ import annotations

import abc
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority.requests import Request
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import (
    ACME,
    COMMAND,
    EXISTING,
    FILES,
    OPENBAO,
    Declared,
)
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

ROTATE, DROP, REVOKE = "rotate", "drop", "revoke"
# What to do at the CA instead, since no source but the own authorities can do it from here
_BY_FILE = {
    ROTATE: "Add the new root to the file of roots, run site.yml, have new certificates issued below it, and remove "
    "the old root from that file when every certificate is below the new one.",
    DROP: "Remove the root from the file of roots, and run site.yml.",
}
_NO_LOGIN = "To shut the role out at once, take its right to log in: ALTER ROLE ... NOLOGIN."
_THERE: Mapping[str, Mapping[str, str]] = {
    ROTATE: {
        **dict.fromkeys((FILES, COMMAND, ACME), _BY_FILE[ROTATE]),
        EXISTING: "Add the new root to the file of roots, and run site.yml. When whoever renews the servers' "
        "certificates uses the new root, run it once with {server}: true. Then remove the old root from that file.",
        OPENBAO: "Add an issuer below the new root to the mount, run site.yml, make it the default issuer, renew with "
        "{server} and {client}, and delete the old issuer from the mount when every certificate is below the new root.",
    },
    DROP: {
        **dict.fromkeys((FILES, EXISTING, COMMAND, ACME), _BY_FILE[DROP]),
        OPENBAO: "Delete the issuers below that root from the mount, and run site.yml.",
    },
    REVOKE: {
        EXISTING: "Have whoever renews it revoke it, and put another one in its place.",
        FILES: f"Have the company's CA revoke it. {_NO_LOGIN}",
        COMMAND: f"Revoke it at the CA behind the command. {_NO_LOGIN}",
        ACME: "Revoke it at that CA with another ACME client, by the certificate's own key or the account's.",
        OPENBAO: "Revoke it there: bao write MOUNT/revoke serial_number=... Every run reads the list of the mount.",
    },
}


class Trust(NamedTuple):
    """What a source says of itself: its ``type``, roots, issuing CAs (the one in use first), lists of revoked ones.

    ``crls`` is '' while no list is needed. ``revoked`` are serial numbers in lower-case hexadecimal. ``is_shared``:
    others get certificates from below these roots, too. ``is_remembered``: the source could not be asked.
    """

    type: str
    roots: Sequence[Certificate]
    issuing: Sequence[Certificate] = ()
    crls: str = ""
    revoked: Sequence[str] = ()
    warnings: Sequence[str] = ()
    is_shared: bool = False
    is_remembered: bool = False

    def facts(self) -> dict[str, object]:
        """Return what others need to know of it, in the form of an own authority.

        The roots among ``issuing`` say that any CA below them may issue a certificate.
        """
        first = [*self.issuing, *self.roots][0]
        return {
            "roots": _pem(self.roots),
            "issuing": _pem([*self.issuing, *self.roots]),
            "bundle": _pem([*self.issuing, *self.roots]),
            "crls": self.crls,
            "revoked": list(self.revoked),
            "source": self.type,
            "shared": self.is_shared,
            "phase": "steady",
            "replaced": False,
            "since": clock.instant(min(one.not_before for one in self.roots)),
            "may_stage": False,
            "other_root": False,
            "key_type": first.key_type,
            "root_not_after": clock.instant(max(one.not_after for one in self.roots)),
            "issuing_not_after": clock.instant(first.not_after),
        }


class Signed(NamedTuple):
    """The chains (leaf first, without root) by the ids of requests, and why others have none.

    ``waiting`` says what has to happen until a later run gets the certificate.
    """

    chains: Mapping[str, Sequence[Certificate]]
    refused: Mapping[str, str]
    waiting: Mapping[str, str] = {}
    warnings: Sequence[str] = ()
    changes: Sequence[str] = ()


class Source(abc.ABC):
    """A CA that is not this collection's own."""

    def __init__(self, declared: Declared) -> None:
        self.authority = declared.authority
        self.options: Mapping[str, Any] = declared.options

    @property
    def place(self) -> str:
        """Return what messages call this source."""
        return f"{option('sources')}.{self.authority}"

    @abc.abstractmethod
    def trust(self, now: int) -> Trust:
        """Return what to trust. ``now`` is in Unix seconds. Raises TlsError, OSError."""

    @abc.abstractmethod
    def sign(self, requests: Sequence[Request], lifetime: int, now: int, *, is_dry: bool) -> Signed:
        """Have requests signed. A dry run changes nothing anywhere, and may return no chains.

        ``lifetime`` is in seconds. Raises TlsError and OSError, before anything is signed, for what concerns all
        requests.
        """


def refuse(capability: str, declared: Declared, what: str) -> None:
    """Raise TlsError for what this source cannot do from here; ``what`` names it for the message."""
    there = _THERE[capability][declared.type].format(server=option("server.renew"), client=option("client.renew"))
    raise TlsError(
        f"{what}: the certificates of authority {declared.authority} come from a source of type {declared.type} "
        f"({option('sources')}), which cannot {capability} from here. Nothing was changed.",
        remedy=there,
        code="source_cannot",
    )


def _pem(certificates: Iterable[Certificate]) -> str:
    return "".join({one.der: one.pem for one in certificates}.values())
