# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address by which Patroni announces a server to the members of its cluster and to clients of the store."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings, host_of
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name, covers_host


def is_covered(address: str, names: Sequence[Name]) -> bool:
    """Return whether a certificate with these names holds the host of an address; without one nothing is missing."""
    return not address or covers_host(names, host_of(address))


def remedy(address: str) -> str:
    """Return how the host of an address becomes a name of the server."""
    return f"Add it to {option('names')}, as {{name: {host_of(address)}, from: []}} if no client uses it."


def refuse_lost(config: str, said: Settings, coming: Sequence[Name], served: Sequence[Name] | None) -> None:
    """Refuse a certificate that other members would refuse, unless they refuse the one that is served. Raises TlsError.

    Members are configured alike, so this one's file says whether they verify. ``coming`` are the names of the new
    certificate, ``served`` those of the one in use, None where this collection manages none yet.
    """
    address, logins = said.server_address, said.verifying
    if not logins or is_covered(address, coming) or (served is not None and not is_covered(address, served)):
        return
    raise TlsError(
        f"{config}: other members reach this server at {address} (postgresql.connect_address), and "
        f"{host_of(address)!r} is none of the names of its new certificate ({', '.join(one.value for one in coming)}). "
        f"They would refuse it, because postgresql.authentication has sslmode: verify-full ({', '.join(logins)}). "
        "Nothing was changed.",
        remedy=remedy(address),
        code="patroni_name_missing",
    )
