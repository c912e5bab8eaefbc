# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to another server, tried by psql before the server makes it: nothing is touched by that."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Completed, run
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import CONNECT_TIMEOUT, Administrator
from ansible_collections.pgops.tls.plugins.module_utils.replication import conninfo
from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import STANDBY
from ansible_collections.pgops.tls.plugins.module_utils.replication.plan import Step


def refuse_broken(step: Step, administrator: Administrator, system_identifier: str) -> None:
    """Raise TlsError, with the other server's words, where a step's parameters lead to no replication.

    ``system_identifier`` is that of this server. A standby's primary has the same.
    """
    one = step.connection
    mode = "true" if one.kind == STANDBY else "database"
    done = connect({**step.parameters, "replication": mode}, "IDENTIFY_SYSTEM", administrator)
    if done.status != 0:
        raise TlsError(
            f"{one.in_words}: a new connection for replication would fail: {words_of(done)}. Nothing was changed, and "
            "the connection that it has continues.",
            remedy="The other server must be set up, trust the client authority, and have a rule for this role "
            "(hostssl replication ROLE ... cert).",
            code="replication_refused",
        )
    found = done.output.partition("|")[0].strip()
    if one.kind == STANDBY and found != system_identifier:
        raise TlsError(
            f"{one.in_words}: the server there belongs to another cluster (system identifier {found}, expected "
            f"{system_identifier}). Nothing was changed.",
            remedy="Correct host and port in primary_conninfo.",
            code="replication_other_cluster",
        )


def connect(parameters: conninfo.Parameters, command: str, administrator: Administrator) -> Completed:
    """Have the server's OS user connect with parameters, and give a command. Raises TlsError where psql cannot run."""
    # In the arguments of a process, everybody can read them. No password but this one is needed by these files.
    public = {name: value for name, value in parameters.items() if name not in conninfo.SECRETS}
    password = parameters.get("password")
    return run(
        [
            administrator.psql, "--no-psqlrc", "--tuples-only", "--no-align", "--no-password",
            f"--command={command}", f"--dbname={conninfo.render(public)}",
        ],
        user=administrator.account,
        environment={
            "PGAPPNAME": "pgops.tls",
            "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT),
            **({"PGPASSWORD": password} if password else {}),
        },
        timeout=60.0,
    )  # fmt: skip


def words_of(done: Completed) -> str:
    """Return what the other server, or libpq, has said."""
    return " ".join(done.errors.split()).rstrip(".") or "no message"
