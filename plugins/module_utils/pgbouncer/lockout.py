# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a PgBouncer that a change would lock out, also those that are not in the inventory."""

from __future__ import annotations

import contextlib
from typing import Iterable

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.console import Console, Row
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_chain, read_pem

_RANKS = {"allow": 1, "prefer": 1, "require": 2, "verify-ca": 3, "verify-full": 4}  # how much a mode demands
_DEMANDS_TLS = _RANKS["require"]
_MOST = 8  # clients or authorities that a message names


def refuse_lowered(mode: str, coming: str) -> None:
    """Refuse to replace the mode in force by one that demands less of clients. Raises TlsError."""
    if rank(mode) > rank(coming):
        raise TlsError(
            f"PgBouncer's own client_tls_sslmode is {mode}. {coming} would demand less of its clients. Nothing was "
            "changed.",
            remedy=f"Set {option('client_tls_sslmode')}: {mode}. A later run may lower it.",
            code="pooler_sslmode_lowered",
        )


def refuse_plaintext(console: Console, mode: str, coming: str) -> None:
    """Refuse a mode that demands TLS, if that in force does not and clients are connected without. Raises TlsError."""
    if rank(mode) >= _DEMANDS_TLS or rank(coming) < _DEMANDS_TLS:
        return
    found = _named(one for one in console.rows("SHOW CLIENTS") if not one.get("tls") and one.get("addr") != "unix")
    if found:
        raise TlsError(
            f"{option('client_tls_sslmode')} is {coming}, but live connections use no TLS and could not connect again: "
            f"{found}. Nothing was changed.",
            remedy=f"Set {option('client_tls_sslmode')}: prefer until these clients use TLS (SHOW CLIENTS, column "
            f"tls). To ignore these connections, set {option('on_lockout')} to allow.",
            code="session_lockout",
        )


def refuse_without_tls(console: Console, config_file: str) -> None:
    """Refuse to end TLS while clients use it. Raises TlsError."""
    found = _named(one for one in console.rows("SHOW CLIENTS") if one.get("tls"))
    if found:
        raise TlsError(
            f"Live connections use TLS, which PgBouncer would no longer offer: {found}. Nothing was changed.",
            remedy=f"Set client_tls_sslmode and its files in {config_file} first. To ignore these connections, set "
            f"{option('on_lockout')} to allow.",
            code="session_lockout",
        )


def refuse_foreign_trust(path: str, trusted: str, now: int) -> None:
    """Refuse to end trust in authorities of the file at ``path`` that are not ``trusted`` (PEM). Raises TlsError.

    Also where certificates are optional, one that cannot be verified ends a login.
    """
    kept = {(one.subject, one.public_key) for one in read_pem(trusted, "trusted_clients")}
    # An authority that has ended lets in nobody now
    lost = [one for one in _read(path) if now <= one.not_after and (one.subject, one.public_key) not in kept]
    if lost:
        names = _listed([repr(one.common_name) for one in lost], ", ")
        raise TlsError(
            f"{path} (client_tls_ca_file in force) has authorities that PgBouncer would no longer trust: {names}. It "
            "would refuse every client that shows a certificate of these. Nothing was changed.",
            remedy="Give these clients certificates of this collection, or declare their authority as a source of "
            f"client certificates. If there are no such clients, set {option('on_lockout')} to allow.",
            code="pooler_trust_missing",
        )


def rank(mode: str) -> int:
    """Return how much a mode demands of clients, 0 for no TLS."""
    return _RANKS.get(mode, 0)


def _named(clients: Iterable[Row]) -> str:
    """Return who they are, '' for nobody."""
    return _listed([f"{one.get('user')}@{one.get('database')} from {one.get('addr')}" for one in clients], "; ")


def _listed(found: Iterable[str], separator: str) -> str:
    once = list(dict.fromkeys(found))
    more = f" and {len(once) - _MOST} more" if len(once) > _MOST else ""
    return separator.join(once[:_MOST]) + more


def _read(path: str) -> list[Certificate]:
    content = None
    with contextlib.suppress(OSError):  # what cannot be read is no list of clients' authorities either
        content = files.read(path) if path.startswith("/") else None
    return read_chain(content, path)
