# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real connections: psql with libpq, as the OS user that owns the files, with nothing of anybody's environment."""

from __future__ import annotations

import collections
import contextlib
import glob
import os
import re
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.verification import verdicts

_DEBIAN_VERSIONS = "/usr/lib/postgresql/*/bin/psql"


class Psql(NamedTuple):
    """A psql command and its major version, which is also that of its libpq, or less."""

    path: str
    major: int


class Limits(NamedTuple):
    """Seconds until a connection has to stand, seconds until psql has to end, and how many run at once."""

    connect_timeout: int
    timeout: int
    parallel: int


class Job(NamedTuple):
    """A connection to try: the OS user who tries it and libpq's parameters."""

    account: processes.Account
    parameters: Mapping[str, str]


def find_psql(path: str | None) -> Psql:
    """Return the psql at ``path`` or the one that the host has. Raises TlsError when there is none.

    Debian's psql is a Perl script that chooses a version; it costs ten times what psql does, so it is passed by.
    """
    found = path or processes.find("psql", "to connect the way applications do")
    if os.path.basename(os.path.realpath(found)) == "pg_wrapper":
        found = max(glob.glob(_DEBIAN_VERSIONS), key=_version_of_path, default=found)
    output = processes.run([found, "--version"]).output
    match = re.search(r"\(PostgreSQL\) ([0-9]+)", output)
    if not match:
        raise TlsError(f"{found}: expected psql of PostgreSQL, but --version answers {output.strip()!r}.")
    return Psql(found, int(match.group(1)))


def conninfo(parameters: Mapping[str, str]) -> str:
    """Return libpq's connection string of parameters, every value quoted."""
    quoted = {key: re.sub(r"([\\'])", r"\\\1", value) for key, value in parameters.items()}
    return " ".join(f"{key}='{value}'" for key, value in quoted.items())


def attempt_all(psql: Psql, jobs: Sequence[Job], limits: Limits) -> list[verdicts.Attempt]:
    """Return how each connection ended, in the order of ``jobs``. Raises TlsError when psql cannot be started.

    Several run at once as processes; nothing here is a thread, so that switching the user in the child is safe.
    """
    attempts = []
    with _stopping() as running:
        for job in jobs:
            if len(running) >= limits.parallel:
                attempts.append(_finish(running.popleft(), limits))
            running.append(_start(psql, job, limits))
        while running:
            attempts.append(_finish(running.popleft(), limits))
    return attempts


@contextlib.contextmanager
def _stopping() -> Iterator[collections.deque[processes.Running]]:
    """Give a queue for running commands; whatever is in it at the end is stopped."""
    running: collections.deque[processes.Running] = collections.deque()
    try:
        yield running
    finally:
        for one in running:
            one.stop()


def _start(psql: Psql, job: Job, limits: Limits) -> processes.Running:
    parameters = {
        **job.parameters,
        "gssencmode": "disable",  # an encrypted GSSAPI connection would win over any sslmode
        "connect_timeout": str(limits.connect_timeout),
        "application_name": "pgops.tls",
    }
    return processes.start(
        [
            psql.path, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password",
            f"--field-separator={verdicts.SEPARATOR}", "--command", verdicts.QUERY, "--dbname", conninfo(parameters),
        ],
        user=job.account,
    )  # fmt: skip


def _finish(running: processes.Running, limits: Limits) -> verdicts.Attempt:
    try:
        done = running.finish(timeout=limits.timeout)
    except TlsError as error:
        return verdicts.Attempt(None, error.message)
    session = verdicts.read_session(done.output) if done.status == 0 else None
    return verdicts.Attempt(session, done.errors or "" if session is None else "")


def _version_of_path(path: str) -> Any:
    return [int(part) for part in re.findall(r"[0-9]+", path.split("/")[-3])]
