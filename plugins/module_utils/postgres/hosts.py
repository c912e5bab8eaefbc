# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_hosts.conf: from PostgreSQL 19 on, with ssl_sni = on, its certificates count and not those of the settings."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.postgres import lexer
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState


def in_use(state: ServerState) -> str:
    """Return in words that a server takes its certificates from that file, '' when it does not."""
    path = state.value("hosts_file")
    if state.value("ssl_sni") != "on" or not path:
        return ""
    try:
        lines = lexer.read(files.text(path) or "", state.major)
    except OSError as error:
        return f"ssl_sni is on, but {path} cannot be read ({error.strerror}), which may name other certificates."
    if not lines:
        return ""
    first = state.value("ssl_cert_file")
    return (
        f"ssl_sni is on, and {path} line {lines[0].number} names a certificate: while that file has lines, the server "
        "takes certificates, keys and trusted authorities from it, and not those that this collection keeps. Name "
        f"those in it ({first} and so on), remove its lines, or set ssl_sni to off."
    )
