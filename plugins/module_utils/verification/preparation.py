# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How libpq is called for an expectation: with whose files, and with which parameters."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.client import home
from ansible_collections.pgops.tls.plugins.module_utils.core import files, privileges, processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.verification import (
    attempts,
    refusal_messages,
    untrusted_ca,
    verdicts,
)
from ansible_collections.pgops.tls.plugins.module_utils.verification.expectation import Expectation
from ansible_collections.pgops.tls.plugins.module_utils.verification.verdicts import Attempt, Presented, Verdict
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem

ABSENT = "/nonexistent/pgops.tls"  # a path at which there is no file


class Prepared(NamedTuple):
    """A connection that can be tried, and the certificate that the server is going to show (None: none)."""

    job: attempts.Job
    presented: Presented | None


class Files(NamedTuple):
    """Paths of an identity's certificate, key, trusted roots and revocation list."""

    certificate: str
    key: str
    roots: str
    revoked: str


def _files(one: Expectation, account: processes.Account) -> Files:
    """Return the files that libpq is to use: those given, or those that module client keeps for this identity."""
    kept = home.Home(account)
    revoked = kept.current("root.crl")
    if one.files == "default":
        names = (home.CERTIFICATE, home.KEY, home.TRUST, "root.crl")
        return Files(*(os.path.join(kept.directory, name) for name in names))
    return Files(
        one.sslcert or kept.current(one.identity, home.CERTIFICATE),
        one.sslkey or kept.current(one.identity, home.KEY),
        one.sslrootcert or kept.current(home.TRUST),
        revoked,
    )


def prepare(one: Expectation, account: processes.Account, stranger: untrusted_ca.Foreign | None) -> Prepared | Verdict:
    """Return the connection to try, or why there is none."""
    if one.skip:
        return Verdict(verdicts.SKIPPED, one.skip)
    own = _files(one, account)
    try:
        with privileges.acting_as(account):
            presented = _presented(one, own)
    except TlsError as error:
        return Verdict(verdicts.DEVIATION, f"was not tried: {error.message}")
    # What the service of a role says about addresses must stay
    resolved = "" if one.hostaddr or one.files == "service" else one.host
    shown_by_server = None if one.replication else presented  # such a connection cannot ask for pg_stat_ssl
    return Prepared(attempts.Job(account, _parameters(one, own, stranger), resolved), shown_by_server)


def _presented(one: Expectation, own: Files) -> Presented | None:
    """Return the certificate that libpq is going to find. Raises TlsError when a file is useless.

    libpq itself ignores a missing certificate in silence: a refusal for its lack would look like one that is wanted.
    """
    for path in [own.roots, *([own.certificate, own.key] if one.certificate == "own" else [])]:
        if not os.path.exists(path):
            raise TlsError(
                f"{path} does not exist for OS user {one.os_user} (module client creates it)",
                code="client_file_missing",
            )
        if not os.path.isfile(path):
            raise TlsError(  # libpq would hang on a pipe
                f"{path} cannot be read: expected a regular file", code="client_file_unreadable"
            )
    if one.certificate == "none":
        return None
    try:
        content = files.read(own.certificate) or b""
    except OSError as error:
        raise TlsError(f"{own.certificate} cannot be read: {error.strerror}", code="client_file_unreadable") from error
    return Presented(one.certificate_role, read_pem(content.decode("ascii", "replace"), own.certificate)[0].serial)


def presented_since(
    one: Expectation, account: processes.Account, attempt: Attempt, before: Presented | None
) -> Presented | None:
    """Return the certificate that libpq found: another run may have renewed it after it was read and before that."""
    if before is None or attempt.session is None or attempt.session.client_serial == str(before.serial):
        return before
    with contextlib.suppress(TlsError), privileges.acting_as(account):
        return _presented(one, _files(one, account))
    return before


def _parameters(one: Expectation, own: Files, stranger: untrusted_ca.Foreign | None) -> dict[str, str]:
    """Return libpq's parameters."""
    common = {"host": one.host, "port": str(one.port), "dbname": one.database}
    if one.hostaddr:
        common["hostaddr"] = one.hostaddr
    if one.replication:
        common["replication"] = "true"
    if one.files == "service":
        return {"service": one.service} if one.service else {"service": one.identity, **common}
    common.update(user=one.role, sslmode=one.sslmode)
    if one.files == "default":
        return common
    parameters = {
        **common,
        "sslcert": own.certificate if one.certificate == "own" else ABSENT,
        "sslkey": own.key if one.certificate == "own" else ABSENT,
        "sslrootcert": own.roots,
        "sslcrl": own.revoked,  # no such file, no check: libpq ignores a missing one
    }
    return {**parameters, **_changes(one, stranger)}


def _changes(one: Expectation, stranger: untrusted_ca.Foreign | None) -> dict[str, str]:
    """Return the parameters that make a connection that must be refused."""
    if not one.kind:
        return {}
    values = {"absent": ABSENT}
    if stranger is not None:
        values.update(foreign_certificate=stranger.certificate, foreign_key=stranger.key)
    return {key: value.format(**values) for key, value in refusal_messages.REFUSALS[one.kind].changes.items()}
