# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module that keeps the own authorities has to know, and to refuse, of those whose CA is elsewhere."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Protocol, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import location, profiles, revocation
from ansible_collections.pgops.tls.plugins.module_utils.authority.planning import Change
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.source import contract, own_files, remembered
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import Declared
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

Sources = Mapping[str, Declared]


class _Trusted(Protocol):
    """An own authority, or what a source says of one."""

    @property
    def roots(self) -> Sequence[Certificate]:
        """Return the roots to trust."""


class _Wish(Protocol):
    """What the authorities are to be."""

    @property
    def directory(self) -> str:
        """Return the directory of the ledger."""

    @property
    def clients(self) -> Sequence[str]:
        """Return the client authorities that are needed."""

    @property
    def change(self) -> Change:
        """Return what to do with roots."""

    @property
    def sources(self) -> Sources:
        """Return the sources of authorities that are not in the directory."""

    @property
    def companies(self) -> Sources:
        """Return what is said of companies that sign issuing CAs."""


def look(wish: _Wish, now: int) -> dict[str, contract.Trust]:
    """Return what to trust of authorities that are not in the directory at ``now`` (Unix seconds). Raises TlsError."""
    refuse_unknown({**wish.sources, **wish.companies}, [profiles.SERVER, *wish.clients])
    refuse_changes(wish.sources, wish.change)
    return trust(wish.sources, wish.directory, now)


def trust(sources: Sources, directory: str, now: int) -> dict[str, contract.Trust]:
    """Return what to trust, by the names of authorities. ``now`` is in Unix seconds. Raises TlsError."""
    with location.explained(directory):
        revoked = {line["authority"] for line in revocation.read(directory) or ()} if sources else ()
    found = {}
    for name, one in sources.items():
        with own_files.explained(f"{option('sources')}.{name}", directory):
            found[name] = remembered.trust(one, directory, now, are_lists_used=name in revoked)
    return {name: one._replace(is_shared=sources[name].is_shared) for name, one in found.items()}


def refuse_unknown(sources: Sources, needed: Sequence[str]) -> None:
    """Raise TlsError for the source of an authority that no server uses."""
    unknown = next((name for name in sources if name not in needed), None)
    if unknown is not None:
        raise TlsError(
            f"{option('sources')}: no server uses an authority {unknown}. Expected a key among {', '.join(needed)}.",
            remedy=f"Correct the name, or set {option('clients')} of its servers. Nothing was changed.",
            code="source_authority_unknown",
        )


def refuse_changes(sources: Sources, change: Change) -> None:
    """Raise TlsError for a change of roots that only the CAs behind sources can make."""
    for name in change.rotate:
        if name in sources:
            contract.refuse(contract.ROTATE, sources[name], "rotate")
    if change.drop in sources:
        contract.refuse(contract.DROP, sources[change.drop], "drop")


def refuse_to_revoke(sources: Sources, directory: str, lines: Iterable[Mapping[str, Any]]) -> None:
    """Raise TlsError if a certificate from a source is among ``lines`` to revoke, unless it is recorded already."""
    recorded = {line["serial"] for line in revocation.read(directory) or ()}
    for line in lines:
        if line["authority"] in sources and line["serial"] not in recorded:
            what = f"{option('revoked')}: the certificate of {line['id']} with serial {line['serial']}"
            contract.refuse(contract.REVOKE, sources[line["authority"]], what)


def refuse_shared_roots(known: Sequence[Mapping[str, _Trusted]], sources: Sources) -> None:
    """Raise TlsError where an authority has a root of another one, and the inventory declares one of their sources.

    ``known`` are authorities by their names; what comes later counts.
    """
    holders: dict[bytes, str] = {}
    authorities = {name: one for each in known for name, one in each.items()}
    for name in sorted(authorities, key=lambda one: one != profiles.SERVER):
        for root in authorities[name].roots:
            other = holders.setdefault(root.der, name)
            if other != name and (name in sources or other in sources):
                raise TlsError(
                    f"{option('sources')}: the authorities {other} and {name} have the same root, "
                    f"{root.common_name!r}. PostgreSQL lets in every certificate below a trusted root whose common "
                    "name is that of a role, so certificates of both could log in. Nothing was changed.",
                    remedy="Give each authority a root of its own, or leave clients to the own authority (type: own).",
                    code="source_roots_shared",
                )
