# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an identity logs in: by a certificate, by a password, or by both."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown

CERTIFICATE, PASSWORD, BOTH = "certificate", "password", "both"
LOGINS = (CERTIFICATE, PASSWORD, BOTH)
NONE = "none"  # a certificate for a service that is not PostgreSQL; the inventory says so in other words
# The methods by which a server asks the client for a password
PASSWORD_METHODS = ("scram-sha-256", "md5", "password", "ldap", "pam", "radius", "bsd")


def login_of(identity: Mapping[str, Any], source: str) -> str:
    """Return how an identity logs in. Raises TlsError, naming ``source``."""
    found = identity.get("login")
    if found is None:
        return CERTIFICATE
    if found not in (*LOGINS, NONE):
        raise TlsError(
            f"{source}.login: found {shown(found)}, expected {CERTIFICATE}, {PASSWORD} or {BOTH}.", code="login_unknown"
        )
    return str(found)


def is_managed(identity: Mapping[str, Any]) -> bool:
    """Return whether an identity, as the inventory has it, is for servers outside the inventory."""
    return bool(identity.get("endpoints"))


def logs_in(identity: Mapping[str, Any]) -> bool:
    """Return whether an identity, as the inventory has it, is for its servers, and not for others or other services."""
    return not (identity.get("names") or identity.get("authority") or is_managed(identity))


def has_certificate(identity: Mapping[str, Any]) -> bool:
    """Return whether an identity, as the inventory has it, gets a certificate."""
    return identity.get("login") != PASSWORD and not is_managed(identity)
