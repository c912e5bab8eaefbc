# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rules of pg_hba.conf must name for clients to log in."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option


def databases(lists: Iterable[Iterable[Any] | None]) -> dict[str, list[str]]:
    """Return for each role in lists of identities the databases of all its identities; those without any: ``all``.

    Raises TlsError for an identity without a role.
    """
    found: dict[str, list[str]] = {}
    for identity in (one for identities in lists for one in identities or ()):
        if not isinstance(identity, Mapping) or not identity.get("role"):
            raise TlsError(
                f"{option('clients')}: expected dictionaries with role and os_user, found {shown(identity)}.",
                code="identity_not_dictionary",
            )
        named = identity.get("databases") or ["all"]
        if not isinstance(named, (list, tuple)):
            raise TlsError(
                f"{option('clients')}: databases is {shown(named)}, expected a list of names, such as [shop].",
                code="databases_invalid",
            )
        found.setdefault(str(identity["role"]), []).extend(named)
    return {role: _listed(set(names)) for role, names in sorted(found.items())}


def rules(identities: Iterable[Any]) -> list[dict[str, Any]]:
    """Return one rule of method cert for each role of the identities, as filter hba_rule takes it. Raises TlsError."""
    found = databases([identities])
    return [{"database": names, "user": literally(role), "method": "cert"} for role, names in found.items()]


def _listed(names: set[str]) -> list[str]:
    """Return databases for a rule; ``all`` stands for every one, but not for replication."""
    return sorted(names & {"all", "replication"} if "all" in names else names)


def literally(role: str) -> str:
    """Return a role for a rule, in quotes where it would be read as a word, a group, a file or as quoted already."""
    is_special = role == "all" or role[0] in "+@" or '"' in role
    return '"' + role.replace('"', '""') + '"' if is_special else role
