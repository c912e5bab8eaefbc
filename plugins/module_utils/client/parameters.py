# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What libpq is told beyond names and files: in services, and as variables in a file for units of systemd.

libpq refuses a service with a parameter that it does not know, and ignores such a variable.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Iterable, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.postgres import databases, logins

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Endpoint, Identity

# The first libpq with a parameter; the others are in every version that is supported
SINCE = {"channel_binding": 13, "sslcertmode": 16, "require_auth": 16, "sslnegotiation": 17}
_DIRECT = 17  # the first server that takes TLS without being asked for it
_WITH_PASSWORD = {"require_auth": "scram-sha-256", "channel_binding": "require"}
# What a connection must be like, by what the identity logs in with. No other connection is safer than this one
_STRICT = {
    logins.CERTIFICATE: {"sslcertmode": "require", "require_auth": "none"},
    logins.PASSWORD: {"sslcertmode": "disable", **_WITH_PASSWORD},
    logins.BOTH: {"sslcertmode": "require", **_WITH_PASSWORD},
}
# The variable for each parameter
VARIABLES = {
    "user": "PGUSER",
    "dbname": "PGDATABASE",
    "host": "PGHOST",
    "port": "PGPORT",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcertmode": "PGSSLCERTMODE",
    "require_auth": "PGREQUIREAUTH",
    "channel_binding": "PGCHANNELBINDING",
}
# What systemd and a shell read as it is. In double quotes, both take a backslash before the same four characters
_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_SPECIAL = re.compile(r'(["\\$`])')


def place(endpoint: Endpoint) -> dict[str, str]:
    """Return the parameters that lead to a server."""
    return {"host": endpoint.host, "port": str(endpoint.port)}


def files(identity: Identity, current: str, *, has_lists: bool, names_pair: bool = True) -> dict[str, str]:
    """Return the parameters of verification and files. ``current`` is the directory of the generation in use.

    If ``names_pair`` names files that do not exist, libpq shows no certificate.
    """
    if identity.is_managed:  # libpq would ask lists at its default name, which are of other authorities, about this one
        trust = {"sslrootcert": f"{current}/{identity.name}/root.crt", "sslcrl": "/dev/null"}
    else:
        trust = {"sslrootcert": f"{current}/root.crt", **({"sslcrl": f"{current}/root.crl"} if has_lists else {})}
    own = f"{current}/{identity.name}/postgresql"
    pair = {"sslcert": f"{own}.crt", "sslkey": f"{own}.key"} if names_pair else {}
    return {"sslmode": "verify-full", **trust, **pair}


def strict(identity: Identity) -> dict[str, str]:
    """Return the parameters that let no other way of logging in pass; none unless the identity is to have them.

    A pooler knows no channel binding.
    """
    wanted = _STRICT[identity.login] if identity.strict_services else {}
    has_pooler = any(one.is_pooler for one in identity.endpoints)
    return {name: value for name, value in wanted.items() if not (has_pooler and name == "channel_binding")}


def known(values: Mapping[str, str], libpq: int) -> dict[str, str]:
    """Return the parameters that a version of libpq knows."""
    return {name: value for name, value in values.items() if SINCE.get(name, 0) <= libpq}


def negotiation(identity: Identity, endpoint: Endpoint, *, was_direct: bool) -> dict[str, str]:
    """Return how TLS begins at a server. If this run does not know its version, that stays as it is."""
    takes_direct = endpoint.version >= _DIRECT if endpoint.version else was_direct
    is_wanted = identity.strict_services and takes_direct and not endpoint.is_pooler
    return {"sslnegotiation": "direct"} if is_wanted else {}


def environment(identity: Identity, current: str, *, has_lists: bool) -> bytes:
    """Return a file with a variable in each line. The server is in it if the identity has only one."""
    named = databases.named(identity.databases, identity.role)
    values = {"user": identity.role, **({"dbname": named[0]} if named else {})}
    if len(identity.endpoints) == 1:
        values.update(place(identity.endpoints[0]))
    values.update({**files(identity, current, has_lists=has_lists), **strict(identity)})
    return _lines((VARIABLES[name], value) for name, value in values.items())


def _lines(variables: Iterable[tuple[str, str]]) -> bytes:
    text = "".join(f"{name}={_quoted(value)}\n" for name, value in variables)
    return text.encode("utf-8", "surrogateescape")


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else '"' + _SPECIAL.sub(r"\\\1", value) + '"'
