# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lists of revoked certificates must be, before an OS user or a service of it gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import user_files
from ansible_collections.pgops.tls.plugins.module_utils.client.home import CLIENT_LISTS, LISTS, TRUST, HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
else:
    revocations = lazy_import("x509.revocations")


def refuse_to_forget(identities: Sequence[Identity], found: HomeFiles, target: Target, now: int) -> None:
    """Raise TlsError when lists in use revoke certificates that the coming ones do not. ``now`` is in Unix seconds."""
    deployed = found.contents.get(LISTS)
    if deployed is not None and deployed != user_files.lists(target).get(LISTS):
        revocations.refuse_to_forget(deployed, target.crls, target.roots, "crls", "server", now=now)
    for one in identities:
        accepted = found.contents.get(f"{one.name}/{CLIENT_LISTS}") if one.trusts_clients else None
        if accepted is not None:
            issuer = target.authorities[one.authority]
            option, name = "trusted_clients_crls", one.authority or "client"
            revocations.refuse_to_forget(accepted, issuer.crls, issuer.roots, option, name, now=now)


def refuse_gaps(identities: Sequence[Identity], found: HomeFiles, target: Target, now: int) -> None:
    """Raise TlsError when lists that are about to be used lack one, or are not valid now. ``now`` is in Unix seconds.

    One that is missing or out of date makes every connection fail. Those in use already stop no renewal.
    """
    coming = {TRUST: user_files.trust(target), **user_files.lists(target)}
    if target.crls and any(found.contents.get(name) != content for name, content in coming.items()):
        revocations.refuse_gaps(target.crls, target.roots, "crls", now)
    for one in (each for each in identities if each.trusts_clients):
        trusted = target.authorities[one.authority]
        content = trusted.crls.encode("ascii", "replace")
        if content and found.contents.get(f"{one.name}/{CLIENT_LISTS}") != content:
            revocations.refuse_gaps(trusted.crls, trusted.trusted, "trusted_clients_crls", now)


def ending(identities: Sequence[Identity], target: Target, now: int) -> list[str]:
    """Return a warning for each list that may end before another run replaces it. ``now`` is in Unix seconds."""
    found = revocations.ending(target.crls, "crls", now) if target.crls else []
    for crls in dict.fromkeys(target.authorities[one.authority].crls for one in identities if one.trusts_clients):
        found += revocations.ending(crls, "trusted_clients_crls", now) if crls else []
    return found
