# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try a list of expectations on one client host and say which hold."""

from __future__ import annotations

import contextlib
import functools
from typing import Container, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.verification import (
    attempts,
    identity,
    libpq,
    untrusted_ca,
    verdicts,
)
from ansible_collections.pgops.tls.plugins.module_utils.verification.expectation import Expectation
from ansible_collections.pgops.tls.plugins.module_utils.verification.preparation import (
    Prepared,
    prepare,
    presented_since,
)
from ansible_collections.pgops.tls.plugins.module_utils.verification.verdicts import Attempt, Presented, Verdict
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_der

_FOREIGN_KINDS = ("foreign_certificate", "foreign_root")


class Check(NamedTuple):
    """An expectation, how its connection ended (None: it was not tried), and the verdict."""

    expectation: Expectation
    attempt: Attempt | None
    verdict: Verdict


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
        prepared = [prepare(one, accounts[one.os_user], strangers.get((one.os_user, one.role))) for one in expected]
        jobs = [one.job for one in prepared if isinstance(one, Prepared)]
        ended = iter(attempts.attempt_all(library, jobs, connect_timeout))
    checks = []
    for one, what in zip(expected, prepared):
        if isinstance(what, Verdict):
            checks.append(Check(one, None, what))
        else:
            attempt = next(ended)
            presented = presented_since(one, accounts[one.os_user], attempt, what.presented)
            checks.append(Check(one, attempt, _judge(one, attempt, presented, library.major)))
    return _proven(_demanded(checks))


def _strangers(
    expected: Sequence[Expectation], accounts: Mapping[str, processes.Account], stack: contextlib.ExitStack
) -> dict[tuple[str, str], untrusted_ca.Foreign]:
    """Make a throw-away authority for every OS user and role with a check that needs one; ``stack`` removes it."""
    wanted = dict.fromkeys((one.os_user, one.role) for one in expected if one.kind in _FOREIGN_KINDS and not one.skip)
    return {
        (os_user, role): stack.enter_context(untrusted_ca.foreign_authority(accounts[os_user], role))
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
            verdict=verdicts.with_demand(check.verdict, check.attempt.message, is_demanded=_is_demanded(check, demands))
        )
        if check.attempt is not None
        else check
        for check in checks
    ]


def _is_demanded(check: Check, demands: Container[tuple[str, str, str, str]]) -> bool:
    """Return whether the server demands a certificate from who logs in, or need not."""
    return check.expectation.may_end_at_prompt or any(one in demands for one in _login(check))


def _login(check: Check) -> list[tuple[str, str, str, str]]:
    """Return who logs in where: once for each server that may have answered."""
    one, servers = check.expectation, check.expectation.servers
    if check.verdict.answered_by:
        servers = (check.verdict.answered_by,)
    return [(one.os_user, one.role, one.database, server) for server in servers]


def _proven(checks: Sequence[Check]) -> list[Check]:
    """Return the checks, with a refusal counted only where the connection that differs in one thing works.

    Of a certificate of another client authority that is the certificate alone: it works at some other server.
    """
    accepted = [
        check
        for check in reversed(checks)
        if check.expectation.expect == "accepted" and (check.expectation.files == "named" or check.expectation.service)
    ]
    works: dict[tuple[object, ...], Verdict] = {check.expectation.proof: check.verdict for check in accepted}
    works.update(
        (check.expectation.holder, check.verdict)
        for check in accepted
        if check.verdict.status in (verdicts.OK, verdicts.PROMPT)
    )
    return [
        check._replace(verdict=verdicts.with_proof(check.verdict, works.get(_proof(check.expectation))))
        if check.expectation.expect == "refused" and not was_accepted(check)
        else check
        for check in checks
    ]


def _proof(one: Expectation) -> tuple[object, ...]:
    """Return what a refusal has in common with the connection that shows it to be meant."""
    return one.holder if one.kind == "another_authority" else one.proof


def was_accepted(check: Check) -> bool:
    """Tell whether there was a session."""
    return check.attempt is not None and check.attempt.session is not None


def _judge(one: Expectation, attempt: Attempt, presented: Presented | None, major: int) -> Verdict:
    answer = identity.answer(_leaf(attempt.leaf), one.certificates)
    if one.expect == "refused":
        return verdicts.of_refused(attempt, one.kind, answer)
    if attempt.wants_password and (one.asks_for_password or one.needs_password):
        return verdicts.of_prompt(answer, with_certificate=not one.may_end_at_prompt)
    if attempt.session is not None and one.needs_password and not attempt.used_password:
        return verdicts.without_password(attempt.session, answer)
    if one.pooler and attempt.session is not None:
        back = {known.server: known.back for known in one.certificates}
        return verdicts.of_pooled(attempt, attempt.session, answer, back.get(answer.server, ""))
    return verdicts.of_accepted(attempt, presented, one.host, major, answer)


@functools.lru_cache(maxsize=None)  # few servers answer many connections
def _leaf(encoded: str) -> Certificate | None:
    """Return the certificate that a server has shown, if any, from DER in hexadecimal.

    Raises TlsError for one that OpenSSL can read and this collection cannot.
    """
    return read_der(bytes.fromhex(encoded), "the certificate that the server shows") if encoded else None
