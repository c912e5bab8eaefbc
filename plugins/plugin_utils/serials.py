# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates the clients of a fleet have, as a run has learned it."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

# What the roles note of module client, the newest first
_RESULTS = ("__postgres_client_certificates", "__postgres_client_installed", "__postgres_client_converged")


def client_serials(hostvars: Mapping[str, Mapping[str, Any]], clients: Iterable[str]) -> dict[str, list[str]]:
    """Return the serial numbers of the certificates that ``clients`` have, a list for each role.

    A role is left out if one of its hosts has not told: which of its certificates are old is not known then.
    """
    found: dict[str, list[str]] = {}
    unknown = set()
    for host in clients:
        variables = hostvars[host]
        declared = {str(one["role"]) for one in variables.get("postgres_client_identities") or ()}
        told = next((one for one in map(variables.get, _RESULTS) if one and "identities" in one), None)
        if told is None:
            unknown |= declared
            continue
        for identity in told["identities"]:
            if identity["role"] in declared and identity["serial"]:
                found.setdefault(str(identity["role"]), []).append(str(identity["serial"]))
    return {role: serials for role, serials in found.items() if role not in unknown}
