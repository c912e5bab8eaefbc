# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other ends of standbys' and subscribers' connections show, which hosts have said in the same run."""

from __future__ import annotations

from typing import Iterable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import results
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Hostvars, Variables
from ansible_collections.pgops.tls.plugins.plugin_utils.server_names import NAMES


def proof(
    connections: Iterable[Variables],
    upstreams: Mapping[str, Sequence[str]],
    assumed: Sequence[str],
    hostvars: Hostvars,
) -> tuple[list[str], list[str]]:
    """Return what the other ends of a host's connections show, in words, and warnings.

    ``upstreams`` and ``assumed`` are as in a batch. One that could not be asked shows nothing, and a connection without
    a certificate has none to show. Raises TlsError for another certificate.
    """
    found, warnings = [], []
    for one in connections:
        if one["serial"] is None:
            continue
        asked = {host: results.senders(hostvars[host]).get("sessions") for host in upstreams.get(one["name"], ())}
        sessions = {host: seen for host, seen in asked.items() if seen is not None}
        names, serial = ", ".join(sessions), one["serial"]
        if not sessions:
            found.append(f"{one['name']}: only this server was asked, because the other end is not part of this run.")
            continue
        showing = [host for host, own in sessions.items() if any(_is_shown(serial, seen) for seen in own)]
        if showing:
            found.append(f"{one['name']}: {', '.join(showing)} shows certificate {serial}.")
        elif one["name"] in assumed:
            warnings.append(
                f"{one['name']}: only this server was asked. Its host and port are no name of a server, and {names} "
                f"has no session for replication with certificate {serial}. Add them to {NAMES} of the server there."
            )
        else:
            raise TlsError(
                f"{one['name']}: {names} has no session for replication with certificate {serial}, which this server "
                "connects with now.",
                remedy="Is something between the servers that ends TLS, or does another server answer there?",
                code="replication_other_certificate",
            )
    return found, warnings


def _is_shown(serial: str, session: Variables) -> bool:
    return bool(session["type"] == "walsender" and session["serial"] == serial)
