# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is connected to a server that is reached by a login over the network: one connection of libpq, with TLS."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, UnreachableError, shown
from ansible_collections.pgops.tls.plugins.module_utils.server import sessions
from ansible_collections.pgops.tls.plugins.module_utils.verification import attempts, libpq
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_der

_HOST = re.compile(r"[\w.:%-]{1,253}")  # libpq would take a comma for a list, and a slash for a socket's directory
_TIMEOUT = 10.0  # seconds to connect to each address, and for the answer
# Without a path of its own, a function that somebody has made in the database could run with this role's rights
_SETTINGS = "-c search_path=pg_catalog -c statement_timeout=10s"
_LOOK = f"""
    SELECT json_build_object(
      'version', current_setting('server_version_num')::int,
      'sees_all', pg_has_role('pg_read_all_stats', 'USAGE'),
      'sessions', ({sessions.SESSIONS}))"""


def look(options: Mapping[str, Any]) -> sessions.SessionFacts:
    """Ask a server who is connected. Its certificate is the one of this connection. Raises TlsError."""
    _refuse_unusable(options)
    account = processes.account_of(os.geteuid())
    job = attempts.Job(account, _parameters(options), options["login_host"], _LOOK)
    place = f"{options['login_host']} port {options['port']}"
    (attempt,) = attempts.attempt_all(libpq.load(), [job], _TIMEOUT)
    if not attempt.answer:
        why = " ".join((attempt.message or "the server gave no answer").split()).rstrip(".?")
        raise UnreachableError(
            f"The login of role {shown(options['login_user'])} at {place} failed: {why}.",
            remedy="Correct the login, or let this role in.",
            code="login_failed",
        )
    found = json.loads(attempt.answer)
    if not found["sees_all"]:
        raise TlsError(
            f"Role {shown(options['login_user'])} at {place} sees only its own sessions. Expected a role "
            "that can see those of others.",
            remedy="Run GRANT pg_read_all_stats, or GRANT pg_monitor, to this role.",
            code="login_role_limited",
        )
    leaf = read_der(bytes.fromhex(attempt.leaf), "the certificate that the server shows")
    return sessions.SessionFacts(found["version"], leaf, None, None, found["sessions"])


def _refuse_unusable(options: Mapping[str, Any]) -> None:
    host = options["login_host"]
    if not _HOST.fullmatch(host):
        raise TlsError(
            f"login_host: found {shown(host)}, expected one DNS name or address.",
            remedy="Write one name. For a Unix socket, leave it out.",
            code="login_host_invalid",
        )


def _parameters(options: Mapping[str, Any]) -> dict[str, str]:
    """Return libpq's parameters. Those that are left out are libpq's defaults."""
    given = {
        "host": options["login_host"],
        "port": str(options["port"]),
        "dbname": options["login_database"],
        "user": options["login_user"],
        "password": options["login_password"],
        "sslmode": options["login_sslmode"],
        "sslrootcert": options["login_sslrootcert"],
        "sslcert": options["login_sslcert"],
        "sslkey": options["login_sslkey"],
        "options": _SETTINGS,
    }
    return {name: value for name, value in given.items() if value}
