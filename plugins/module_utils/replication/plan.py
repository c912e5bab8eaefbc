# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server's connections for replication have to become: a pure decision on what was found."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.replication import conninfo
from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import STANDBY, Connection


class Files(NamedTuple):
    """The stable paths of an identity's files: certificate, key, root, and lists of revoked ones ('' without any)."""

    certificate: str
    key: str
    root: str
    lists: str


class Step(NamedTuple):
    """A connection that has to be made anew, with which parameters. ``is_new``: these are others than before."""

    connection: Connection
    parameters: conninfo.Parameters
    is_new: bool

    @property
    def change(self) -> str:
        """Return what changes, in words without secrets."""
        name = self.connection.name
        if not self.is_new:
            return f"{name}: a new connection, with the certificate in use now"
        before = self.connection.given or {}
        names = [one for one in conninfo.SHOWN if before.get(one) != self.parameters.get(one)]
        return f"primary_conninfo: {', '.join(f'{one}={self.parameters[one]}' for one in names)}"


def identity_of(identities: Sequence[Mapping[str, Any]], role: str, os_user: str) -> Mapping[str, Any]:
    """Return the identity with the role and OS user. Raises TlsError where there is none."""
    for one in identities:
        if (one.get("role"), one.get("os_user")) == (role, os_user):
            return one
    raise TlsError(
        f"{option('replication.role')}: there is no identity of role {shown(role)} and OS user {os_user!r}, who runs "
        "the server and whose files it replicates with.",
        remedy=f"Add one with this role, os_user: {os_user} and databases: [replication] to "
        f"{option('replication.identities')} of this host.",
        code="replication_identity_missing",
    )


def managed(before: conninfo.Parameters, role: str, files: Files) -> dict[str, str]:
    """Return the parameters of a standby that logs in as a role by certificate; where it connects to stays."""
    found = {**before, "user": role, "sslmode": "verify-full"}
    found.update(sslcert=files.certificate, sslkey=files.key, sslrootcert=files.root)
    if files.lists:
        found["sslcrl"] = files.lists
    if found.get("sslcertmode") == "disable":  # which would not show the certificate
        del found["sslcertmode"]
    return found


def steps(connections: Sequence[Connection], role: str, files: Files) -> list[Step]:
    """Return what to do for each connection that is not as it should be. Raises TlsError for what cannot be managed."""
    found = []
    for one in connections:
        if one.given is None:
            raise TlsError(
                f"{one.in_words}: its connection string cannot be read. Nothing was changed.",
                remedy="Correct it.",
                code="conninfo_invalid",
            )
        if one.kind == STANDBY:
            _refuse_socket(one)
            wanted = managed(one.given, role, files)
            if wanted != one.given:
                found.append(Step(one, wanted, is_new=True))
                continue
        if one.is_old:
            found.append(Step(one, one.given, is_new=False))
    return found


def _refuse_socket(one: Connection) -> None:
    if not conninfo.uses_network(one.parameters):
        raise TlsError(
            f"{one.in_words}: primary_conninfo leads to a Unix socket, which never uses TLS. Nothing was changed.",
            remedy=f"Name the primary in host=, or leave {option('replication.role')} out for this server.",
            code="replication_over_socket",
        )
