# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections of a client host that must be refused, as module connection_info takes them."""

from __future__ import annotations

from typing import AbstractSet, Any, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres import logins
from ansible_collections.pgops.tls.plugins.module_utils.postgres.databases import REPLICATION
from ansible_collections.pgops.tls.plugins.module_utils.verification.refusal_messages import REFUSALS
from ansible_collections.pgops.tls.plugins.plugin_utils.client_identities import Identity
from ansible_collections.pgops.tls.plugins.plugin_utils.crossings import Crossing
from ansible_collections.pgops.tls.plugins.plugin_utils.fleet import Server
from ansible_collections.pgops.tls.plugins.plugin_utils.server_names import Name

ANOTHER_AUTHORITY = "another_authority"
_OF_LIBPQ = ("wrong_name", "foreign_root")  # kinds that one identity has to try with one server
_OF_RULES = ("plaintext", "no_certificate", "another_role")
# What a pooler refuses, by what it demands of every client; how it lets clients in is not known here
_OF_POOLERS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("allow", "prefer", "require"), ("plaintext", "foreign_certificate", *_OF_LIBPQ)),
    **dict.fromkeys(("verify-ca", "verify-full"), ("plaintext", "no_certificate", "foreign_certificate", *_OF_LIBPQ)),
}
_OF_PASSWORDS = ("plaintext", *_OF_LIBPQ)  # all that an identity without a certificate has to try


class Refusals:
    """What one client host tries to be refused, each thing once; ``before`` is what other client hosts have tried.

    ``refused`` are the kinds to try.
    """

    def __init__(self, refused: Sequence[str], before: AbstractSet[tuple[str, ...]]) -> None:
        self._refused, self._before = refused, before
        self._of_libpq = set(_OF_LIBPQ)
        self.tried: set[tuple[str, ...]] = set()

    def at(
        self, identity: Identity, owners: Sequence[Server], name: Name, other: tuple[Identity, bool]
    ) -> list[dict[str, Any]]:
        """Return the refusals that an identity has to try by a name of servers.

        The default rules decide of the fleet's roles alone; of another one, what stood in the file before.
        """
        by_role = {(one.name, identity.role, identity.database) for one in owners}
        by_server = {(one.name,) for one in owners} if identity.has_certificate else set()
        is_of_fleet = other[1] or not identity.has_certificate
        is_spared = is_of_fleet and all(one.has_default_rules for one in owners) and by_role <= self._before
        kinds = self._of_libpq | (set() if is_spared else set(_OF_RULES))
        kinds |= {"foreign_certificate"} if by_server - self._before - self.tried else set()
        kinds &= set(self._refused)
        kinds &= set(REFUSALS if identity.has_certificate else _OF_PASSWORDS)
        kinds &= set(_OF_POOLERS.get(owners[0].pooler, REFUSALS))
        self._of_libpq = set()
        self.tried |= by_role | by_server
        return _ruled_out(identity, owners, name, other[0], kinds)


def _ruled_out(
    identity: Identity, owners: Sequence[Server], name: Name, other: Identity, kinds: AbstractSet[str]
) -> list[dict[str, Any]]:
    # Without it, a prompt for a password would not show that the certificate counts
    demanded = {"no_certificate"} if identity.login == logins.BOTH else set()
    found = []
    if demanded and identity.replicates and identity.database != REPLICATION:
        found += _ruled_out(identity._replace(database=REPLICATION), owners, name, other, demanded)
    for kind in [one for one in REFUSALS if one in kinds | demanded]:
        one = {**common(identity, owners, name), "expect": "refused", "kind": kind}
        if kind == "another_role":
            one.pop("replication", None)
            one.update(role=other.role, certificate_role=identity.role, **target(other.database))
        if kind == "plaintext" and not all(owner.rejects_plaintext for owner in owners):
            one["skip"] = "postgres_server_plaintext of this server allows it"
            if owners[0].pooler:
                one["skip"] = "postgres_pooler_client_tls_sslmode of this pooler allows it"
        found.append(one)
    return found


def crossed(one: Crossing) -> dict[str, Any]:
    """Return what must be refused of an identity whose certificate is of another client authority."""
    mine = one.identity
    identity = one.there._replace(os_user=mine.os_user, home=mine.home, role=mine.role, own_name=mine.own_name)
    shared = {**common(identity, (one.server,), one.name), "asks_for_password": False}
    return {**shared, "expect": "refused", "kind": ANOTHER_AUTHORITY}


def common(identity: Identity, owners: Sequence[Server], name: Name) -> dict[str, Any]:
    """Return the options of each connection of an identity to servers by a name."""
    return {
        "server": ", ".join(one.name for one in owners),
        "certificates": [one.certificate for one in owners],
        **({"asks_for_password": True} if any(one.asks_for_password for one in owners) else {}),
        **({"pooler": owners[0].pooler} if owners[0].pooler else {}),
        "host": name.text,
        "port": name.port,
        "os_user": identity.os_user,
        **identity.shown,
        **({"home": identity.home} if identity.home else {}),
        "role": identity.role,
        **({"identity": identity.name} if identity.own_name else {}),
        **target(identity.database),
    }


def target(database: str) -> dict[str, Any]:
    """Return the options that say what to connect to: a database, or replication as pg_hba.conf calls it."""
    return {"database": database, **({"replication": True} if database == REPLICATION else {})}
