# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What libpq is told beyond names and files: in services, and as variables in a file for units of systemd.

libpq refuses a service with a parameter that it does not know, and ignores such a variable.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Iterable

from ansible_collections.pgops.tls.plugins.module_utils.postgres import databases

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Endpoint, Identity

# The variable for each parameter. Those of a version are in SINCE, the others are in every libpq that is supported
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
    lists = {"sslcrl": f"{current}/root.crl"} if has_lists else {}
    own = f"{current}/{identity.name}/postgresql"
    pair = {"sslcert": f"{own}.crt", "sslkey": f"{own}.key"} if names_pair else {}
    return {"sslmode": "verify-full", "sslrootcert": f"{current}/root.crt", **lists, **pair}


def environment(identity: Identity, current: str, *, has_lists: bool) -> bytes:
    """Return a file with a variable in each line. The server is in it if the identity has only one."""
    named = databases.named(identity.databases, identity.role)
    known = {"user": identity.role, **({"dbname": named[0]} if named else {})}
    if len(identity.endpoints) == 1:
        known.update(place(identity.endpoints[0]))
    known.update(files(identity, current, has_lists=has_lists))
    return _lines((VARIABLES[name], value) for name, value in known.items())


def _lines(variables: Iterable[tuple[str, str]]) -> bytes:
    text = "".join(f"{name}={_quoted(value)}\n" for name, value in variables)
    return text.encode("utf-8", "surrogateescape")


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else '"' + _SPECIAL.sub(r"\\\1", value) + '"'
