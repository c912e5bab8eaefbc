# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from a PgBouncer to PostgreSQL, tried with psql as PgBouncer's OS user before PgBouncer uses a pair.

PgBouncer loads bad files for PostgreSQL without a word, and then its clients hang. What is judged here is TLS and the
certificates. Whether PostgreSQL then lets the role in is a matter of its rules, and is only told.
"""

from __future__ import annotations

import os
import re
from typing import Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account, Completed, Running, find, start
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.ini import Database
from ansible_collections.pgops.tls.plugins.module_utils.x509.rehearsal import ClientFiles

ACCEPTED, ROLE_REFUSED, UNREACHABLE, REFUSED = "accepted", "role_refused", "unreachable", "refused"
_AT_ONCE = 8
_TIMEOUT = 5  # seconds for a connection
_SERIAL = "SELECT client_serial FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()"
_REACH = re.compile(
    r"could not translate host name|Connection refused|timeout expired|timed out|No route to host|is unreachable"
    r"|could not connect to server: "
)
# PostgreSQL begins with the severity, in its language and with two blanks behind it
_OF_ROLE = re.compile(r": {2}\S|no password supplied|password authentication failed")
_OF_TLS = re.compile(r"SSL error|SSL SYSCALL|server certificate|does not support SSL|certificate verify failed")


class Way(NamedTuple):
    """A host and port of ``[databases]``, and one of the databases there."""

    host: str
    port: int
    database: str
    user: str

    def __str__(self) -> str:
        """Return HOST:PORT for messages."""
        return f"{self.host}:{self.port}"


class Trial(NamedTuple):
    """How a connection ended, and PostgreSQL's or libpq's words for it. ``serial``: what PostgreSQL saw, if asked."""

    way: Way
    verdict: str
    words: str
    serial: str = ""


def ways(databases: Iterable[Database], role: str) -> list[Way]:
    """Return each host and port once. ``role`` logs in where the configuration names no user."""
    found: dict[tuple[str, int], Way] = {}
    for one in databases:
        for host in one.hosts:
            found.setdefault((host, one.port), Way(host, one.port, one.database, one.user or role))
    return list(found.values())


def trials(to: Sequence[Way], files: ClientFiles, account: Account) -> list[Trial]:
    """Connect by each way with these files, several at once. Raises TlsError where there is no psql."""
    if not to:
        return []
    psql = find("psql", "to try the way to PostgreSQL before PgBouncer takes it (package postgresql-client)")
    found: list[Trial] = []
    for at in range(0, len(to), _AT_ONCE):
        batch = [(one, _started(psql, one, files, account)) for one in to[at : at + _AT_ONCE]]
        found += [judged(one, _finished(running)) for one, running in batch]
    return found


def judged(way: Way, done: Completed) -> Trial:
    """Return what the end of psql says of a way."""
    lines = [line.strip() for line in done.errors.splitlines() if line.strip()]
    words = " ".join(lines) or "no message"
    if done.status == 0:
        return Trial(way, ACCEPTED, "", done.output.strip())
    if _OF_TLS.search(words):
        return Trial(way, REFUSED, words)
    if _OF_ROLE.search(words):
        return Trial(way, ROLE_REFUSED, words)
    return Trial(way, UNREACHABLE if _REACH.search(words) else REFUSED, words)


def refuse(found: Sequence[Trial], before: Mapping[Way, str]) -> None:
    """Raise TlsError for ways that PostgreSQL or libpq refuses with a new pair.

    ``before`` are the verdicts with the pair in use: a way that is broken already is not made worse.
    """
    broken = [one for one in found if one.verdict == REFUSED and before.get(one.way) != REFUSED]
    if broken:
        shown = "; ".join(f"{one.way}: {one.words}" for one in broken)
        raise TlsError(
            f"The new files do not lead from PgBouncer to PostgreSQL, and its clients would hang: {shown}. "
            "Nothing was changed.",
            remedy="PostgreSQL must offer TLS, with a certificate from the roots given here for the name in host= of "
            "[databases], and trust the authority of the client certificate (ssl_ca_file).",
            code="back_refused",
        )


def refuse_other_serial(found: Sequence[Trial], serial: int) -> None:
    """Raise TlsError when PostgreSQL saw another certificate than the one with this serial number."""
    for one in found:
        if one.verdict == ACCEPTED and one.serial and one.serial != str(serial):
            raise TlsError(
                f"{one.way}: PostgreSQL saw client certificate {one.serial}, expected {serial} (decimal).",
                remedy="Is something between PgBouncer and PostgreSQL that ends TLS?",
                code="back_other_certificate",
            )


def warnings(found: Sequence[Trial], before: Mapping[Way, str]) -> list[str]:
    """Return what is not proven, in words."""
    told = []
    for one in found:
        if one.verdict == UNREACHABLE:
            told.append(f"{one.way}: not reached, so the way to PostgreSQL is not proven: {one.words}")
        elif one.verdict == ROLE_REFUSED:
            told.append(
                f"{one.way}: TLS and certificates are accepted. PostgreSQL refuses role {one.way.user!r} itself: "
                f"{one.words} That is right if clients log in as their own roles, by rules with a map for this "
                "certificate."
            )
        elif one.verdict == REFUSED and before.get(one.way) == REFUSED:
            told.append(f"{one.way}: refused with the files before, and with the new ones: {one.words}")
    return told


def _started(psql: str, way: Way, files: ClientFiles, account: Account) -> Running:
    return start(
        [psql, "--no-psqlrc", "--tuples-only", "--no-align", "--no-password", "--command", _SERIAL],
        user=account,
        environment={
            "PGHOST": way.host,
            "PGPORT": str(way.port),
            "PGDATABASE": way.database,
            "PGUSER": way.user,
            "PGSSLMODE": "verify-full",
            "PGSSLCERT": files.certificate,
            "PGSSLKEY": files.key,
            "PGSSLROOTCERT": files.roots,
            "PGSSLCRL": os.devnull,
            "PGGSSENCMODE": "disable",
            "PGPASSFILE": os.devnull,
            "PGCONNECT_TIMEOUT": str(_TIMEOUT),
            "PGAPPNAME": "pgops.tls",
        },
    )


def _finished(running: Running) -> Completed:
    try:
        return running.finish(timeout=4 * _TIMEOUT)
    except TlsError as error:
        return Completed(1, "", f"timeout expired: {error.fault}")
