# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try a list of expectations on one client host and say which hold."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import home, identities
from ansible_collections.pgops.tls.plugins.module_utils.core import files, privileges, processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.verification import (
    connections,
    foreign,
    identity,
    libpq,
    refusals,
    verdicts,
)
from ansible_collections.pgops.tls.plugins.module_utils.verification.verdicts import Attempt, Presented, Verdict
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_der, read_pem
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import refuse_port

ABSENT = "/nonexistent/pgops.tls"  # a path at which there is no file
_FOREIGN_KINDS = ("foreign_certificate", "foreign_root")


class Expectation(NamedTuple):
    """A connection and what is to become of it; the options of module connection, complete."""

    server: str
    host: str
    hostaddr: str
    port: int
    database: str
    replication: bool
    os_user: str
    home: str
    role: str
    certificate: str
    certificate_role: str
    files: str
    sslcert: str
    sslkey: str
    sslrootcert: str
    sslmode: str
    expect: str
    kind: str
    skip: str
    asks_for_password: bool
    certificates: tuple[identity.Known, ...]

    @property
    def servers(self) -> tuple[str, ...]:
        """Return the servers that may answer: those whose name it is, in the inventory's words."""
        return tuple(one.server for one in self.certificates) or (self.server,)

    @property
    def wanted(self) -> str:
        """Return what is expected, in the words of the report."""
        if self.kind:
            whose = f" ({self.certificate_role})" if self.kind == "another_role" else ""
            return f"refused: {refusals.REFUSALS[self.kind].title}{whose}"
        how = {"named": "", "default": ", default files", "service": ", service"}[self.files]
        return f"accepted{', replication' if self.replication else ''}{how}"

    @property
    def proof(self) -> tuple[str, str, str, int, str]:
        """Return what a refusal and the connection that shows it to be meant have in common."""
        return (self.os_user, self.host, self.hostaddr, self.port, self.certificate_role)


class Check(NamedTuple):
    """An expectation, how its connection ended (None: it was not tried), and the verdict."""

    expectation: Expectation
    attempt: Attempt | None
    verdict: Verdict


class Prepared(NamedTuple):
    """A connection that can be tried, and the certificate that the server is going to show (None: none)."""

    job: connections.Job
    presented: Presented | None


class Files(NamedTuple):
    """Paths of an identity's certificate, key, trusted roots and revocation list."""

    certificate: str
    key: str
    roots: str
    revoked: str


def expectation(options: Mapping[str, Any], option: str) -> Expectation:
    """Return the expectation that an item of ``expectations`` describes. Raises TlsError, naming ``option``."""
    given = {key: value for key, value in options.items() if value is not None and key in Expectation._fields}
    host, role = given.get("host", ""), given.get("role", "")
    if not host or host[0] in "/@" or "," in host:
        raise TlsError(
            f"{option}.host: {shown(host)} is no host name or address. A Unix socket would ignore sslmode, "
            "and a list would hide which host answered."
        )
    for name, value in given.items():
        if isinstance(value, str) and not value.isprintable():
            raise TlsError(f"{option}.{name}: {shown(value)} has control characters or invisible ones. Take them out.")
    refuse_port(given.get("port", 5432), f"{option}.port")
    listed = given.get("certificates") or ()
    given["certificates"] = tuple(identity.known(one, f"{option}.certificates[{i}]") for i, one in enumerate(listed))
    given.setdefault("server", ", ".join(one.server for one in given["certificates"]) or host)
    given.setdefault("certificate_role", role)
    defaults = {
        "replication": False,
        "asks_for_password": False,
        "home": "",
        "hostaddr": "",
        "kind": "",
        "skip": "",
        "sslcert": "",
        "sslkey": "",
        "sslrootcert": "",
    }
    found = Expectation(**{**defaults, **given})
    if (found.expect == "refused") != bool(found.kind):
        raise TlsError(f"{option}: kind belongs to expect=refused, and to nothing else.")
    if found.kind == "another_role" and found.role == found.certificate_role:
        raise TlsError(f"{option}: kind=another_role needs a certificate_role other than role ({role!r}).")
    return found


def verify(expected: Sequence[Expectation], library: libpq.Library, connect_timeout: float) -> list[Check]:
    """Try all connections and judge them, in their order. Raises TlsError when that is not possible at all.

    ``connect_timeout`` are seconds for each address.
    """
    accounts = {
        one.os_user: identities.at_home(processes.account(one.os_user, "expectations: os_user"), one.home)
        for one in expected
    }
    with contextlib.ExitStack() as stack:
        strangers = _strangers(expected, accounts, stack)
        prepared = [_prepare(one, accounts[one.os_user], strangers.get((one.os_user, one.role))) for one in expected]
        jobs = [one.job for one in prepared if isinstance(one, Prepared)]
        attempts = iter(connections.attempt_all(library, jobs, connect_timeout))
    checks = []
    for one, what in zip(expected, prepared):
        if isinstance(what, Verdict):
            checks.append(Check(one, None, what))
        else:
            attempt = next(attempts)
            presented = _presented_since(one, accounts[one.os_user], attempt, what.presented)
            checks.append(Check(one, attempt, _judge(one, attempt, presented, library.major)))
    return _proven(_demanded(checks))


def _strangers(
    expected: Sequence[Expectation], accounts: Mapping[str, processes.Account], stack: contextlib.ExitStack
) -> dict[tuple[str, str], foreign.Foreign]:
    """Make a throw-away authority for every OS user and role with a check that needs one; ``stack`` removes it."""
    wanted = dict.fromkeys((one.os_user, one.role) for one in expected if one.kind in _FOREIGN_KINDS and not one.skip)
    return {
        (os_user, role): stack.enter_context(foreign.foreign_authority(accounts[os_user], role))
        for os_user, role in wanted
    }


def _demanded(checks: Sequence[Check]) -> list[Check]:
    """Return the checks, with a prompt for a password counted only where the server also demands a certificate."""
    demands = {
        one
        for check in checks
        if check.expectation.kind == "no_certificate" and check.verdict.status == verdicts.OK
        for one in _login(check)
    }
    return [
        check._replace(
            verdict=verdicts.with_demand(
                check.verdict, check.attempt.message, is_demanded=not demands.isdisjoint(_login(check))
            )
        )
        if check.attempt is not None
        else check
        for check in checks
    ]


def _login(check: Check) -> list[tuple[str, str, str, str]]:
    """Return who logs in where: once for each server that may have answered."""
    one, servers = check.expectation, check.expectation.servers
    if check.verdict.answered_by:
        servers = (check.verdict.answered_by,)
    return [(one.os_user, one.role, one.database, server) for server in servers]


def _proven(checks: Sequence[Check]) -> list[Check]:
    """Return the checks, with a refusal counted only where the connection that differs in one thing works."""
    works = {
        check.expectation.proof: check.verdict
        for check in reversed(checks)
        if check.expectation.expect == "accepted" and check.expectation.files == "named"
    }
    return [
        check._replace(verdict=verdicts.with_proof(check.verdict, works.get(check.expectation.proof)))
        if check.expectation.expect == "refused" and not was_accepted(check)
        else check
        for check in checks
    ]


def was_accepted(check: Check) -> bool:
    """Tell whether there was a session."""
    return check.attempt is not None and check.attempt.session is not None


def _judge(one: Expectation, attempt: Attempt, presented: Presented | None, major: int) -> Verdict:
    answer = identity.answer(_leaf(attempt.leaf), one.certificates)
    if one.expect == "refused":
        return verdicts.of_refused(attempt, one.kind, answer)
    if attempt.wants_password and one.asks_for_password:
        return verdicts.of_prompt(answer)
    return verdicts.of_accepted(attempt, presented, one.host, major, answer)


@functools.lru_cache(maxsize=None)  # few servers answer many connections
def _leaf(encoded: str) -> Certificate | None:
    """Return the certificate that a server has shown, if any, from DER in hexadecimal.

    Raises TlsError for one that OpenSSL can read and this collection cannot.
    """
    return read_der(bytes.fromhex(encoded), "the certificate that the server shows") if encoded else None


def _files(one: Expectation, account: processes.Account) -> Files:
    """Return the files that libpq is to use: those given, or those that module client keeps for this identity."""
    kept = home.Home(account)
    revoked = kept.current("root.crl")
    if one.files == "default":
        names = (home.CERTIFICATE, home.KEY, home.TRUST, "root.crl")
        return Files(*(os.path.join(kept.directory, name) for name in names))
    return Files(
        one.sslcert or kept.current(one.certificate_role, home.CERTIFICATE),
        one.sslkey or kept.current(one.certificate_role, home.KEY),
        one.sslrootcert or kept.current(home.TRUST),
        revoked,
    )


def _prepare(one: Expectation, account: processes.Account, stranger: foreign.Foreign | None) -> Prepared | Verdict:
    """Return the connection to try, or why there is none."""
    if one.skip:
        return Verdict(verdicts.SKIPPED, one.skip)
    own = _files(one, account)
    try:
        with privileges.acting_as(account):
            presented = _presented(one, own)
    except TlsError as error:
        return Verdict(verdicts.DEVIATION, f"was not tried: {error.message}")
    # What the service of a role says of addresses has to stand
    resolved = "" if one.hostaddr or one.files == "service" else one.host
    shown_by_server = None if one.replication else presented  # such a connection cannot ask for pg_stat_ssl
    return Prepared(connections.Job(account, _parameters(one, own, stranger), resolved), shown_by_server)


def _presented(one: Expectation, own: Files) -> Presented | None:
    """Return the certificate that libpq is going to find. Raises TlsError when a file is of no use.

    libpq itself ignores a missing certificate in silence: a refusal for its lack would look like one that is wanted.
    """
    for path in [own.roots, *([own.certificate, own.key] if one.certificate == "own" else [])]:
        if not os.path.exists(path):
            raise TlsError(f"{path} does not exist for OS user {one.os_user} (role postgres_client makes it)")
        if not os.path.isfile(path):
            raise TlsError(f"{path} cannot be read: expected a regular file")  # libpq would hang on a pipe
    if one.certificate == "none":
        return None
    try:
        content = files.read(own.certificate) or b""
    except OSError as error:
        raise TlsError(f"{own.certificate} cannot be read: {error.strerror}") from error
    return Presented(one.certificate_role, read_pem(content.decode("ascii", "replace"), own.certificate)[0].serial)


def _presented_since(
    one: Expectation, account: processes.Account, attempt: Attempt, before: Presented | None
) -> Presented | None:
    """Return the certificate that libpq found: another run may have renewed it after it was read and before that."""
    if before is None or attempt.session is None or attempt.session.client_serial == str(before.serial):
        return before
    with contextlib.suppress(TlsError), privileges.acting_as(account):
        return _presented(one, _files(one, account))
    return before


def _parameters(one: Expectation, own: Files, stranger: foreign.Foreign | None) -> dict[str, str]:
    """Return libpq's parameters."""
    common = {"host": one.host, "port": str(one.port), "dbname": one.database}
    if one.hostaddr:
        common["hostaddr"] = one.hostaddr
    if one.replication:
        common["replication"] = "true"
    if one.files == "service":
        return {"service": one.role, **common}
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


def _changes(one: Expectation, stranger: foreign.Foreign | None) -> dict[str, str]:
    """Return the parameters that make a connection one that has to be refused."""
    if not one.kind:
        return {}
    values = {"absent": ABSENT}
    if stranger is not None:
        values.update(foreign_certificate=stranger.certificate, foreign_key=stranger.key)
    return {key: value.format(**values) for key, value in refusals.REFUSALS[one.kind].changes.items()}
