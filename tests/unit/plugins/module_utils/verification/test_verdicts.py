# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts on connections."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.verification import verdicts
from ansible_collections.pgops.tls.plugins.module_utils.verification.identity import Answer
from ansible_collections.pgops.tls.plugins.module_utils.verification.verdicts import (
    Attempt,
    Presented,
    Session,
    Verdict,
)

GOOD_SESSION = Session(True, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "77", "/CN=app")
OWN_CERTIFICATE = Presented("app", 77)
NO_ADDRESS = 'server certificate for "db1" does not match host name "192.0.2.1"'


def judge(session: Session, presented: Presented | None = OWN_CERTIFICATE) -> Verdict:
    return verdicts.of_accepted(Attempt(session), presented, "db1", 15, Answer())


def test_a_session_with_the_right_certificate_is_ok() -> None:
    assert judge(GOOD_SESSION) == Verdict("ok", "TLSv1.3 TLS_AES_256_GCM_SHA384 /CN=app")


@pytest.mark.parametrize(
    ("session", "word"),
    [
        (GOOD_SESSION._replace(encrypted=False), "without TLS"),
        (GOOD_SESSION._replace(protocol=""), "no protocol and cipher"),
        (GOOD_SESSION._replace(cipher=""), "no protocol and cipher"),
        (GOOD_SESSION._replace(client_dn=""), "verified no client certificate"),
        (GOOD_SESSION._replace(client_dn="/CN=batch"), "as /CN=batch, expected /CN=app"),
        (GOOD_SESSION._replace(client_dn="/CN=application"), "expected /CN=app"),
        (GOOD_SESSION._replace(client_dn="/O=app"), "expected /CN=app"),
        (GOOD_SESSION._replace(client_serial="78"), "serial number 78, the file holds 77"),
    ],
)
def test_a_session_that_lacks_something_is_a_deviation(session: Session, word: str) -> None:
    verdict = judge(session)
    assert verdict.status == "deviation"
    assert word in verdict.reason


def test_a_session_without_a_certificate_is_ok_only_when_none_was_presented() -> None:
    assert judge(GOOD_SESSION._replace(client_dn=""), None).status == "ok"
    assert judge(GOOD_SESSION, None).status == "deviation"


@pytest.mark.parametrize(
    ("role", "client_dn"),
    [
        ("app", "/O=Shop/CN=app"),
        ("app", "/CN=app/OU=Web"),
        ("a,b", "/CN=a\\,b"),
        ("a/b", "/CN=a/b"),
        ("r" * 60, "/CN=" + "r" * 59),  # 63 bytes: cut
        ("é" * 31, "/CN=" + "é" * 29 + "\ufffd"),  # cut in the middle of a letter
        ("app", "/O=" + "o" * 60),  # cut before the name; the serial number has to do
    ],
)
def test_a_role_is_recognised_in_a_dn_as_postgresql_writes_it(role: str, client_dn: str) -> None:
    assert judge(GOOD_SESSION._replace(client_dn=client_dn), Presented(role, 77)).status == "ok"


def test_an_old_libpq_skips_an_address_and_nothing_else() -> None:
    refused = Attempt(None, NO_ADDRESS)
    assert verdicts.of_accepted(refused, OWN_CERTIFICATE, "192.0.2.1", 14, Answer()).status == "skipped"
    assert verdicts.of_accepted(refused, OWN_CERTIFICATE, "192.0.2.1", 15, Answer()).status == "deviation"
    assert verdicts.of_accepted(refused, OWN_CERTIFICATE, "db1", 14, Answer()).status == "deviation"
    assert (
        verdicts.of_accepted(Attempt(None, "timeout expired"), OWN_CERTIFICATE, "192.0.2.1", 14, Answer()).status
        == "deviation"
    )


def test_a_refusal_that_was_accepted_says_how() -> None:
    plain = verdicts.of_refused(Attempt(Session(False)), "plaintext")
    assert plain == Verdict("deviation", "was accepted (without TLS)")


def test_a_refusal_for_another_reason_says_which() -> None:
    found = verdicts.of_refused(Attempt(None, 'FATAL:  role "x" does not exist'), "another_role")
    assert found == Verdict("deviation", 'failed for another reason: role "x" does not exist')


@pytest.mark.parametrize(
    ("proof", "status"),
    [
        (Verdict("ok", ""), "ok"),
        (Verdict("deviation", "was refused: x"), "unproven"),
        (Verdict("skipped", "libpq 13"), "skipped"),
        (None, "unproven"),
    ],
)
def test_a_refusal_counts_only_beside_a_connection_that_works(proof: Verdict | None, status: str) -> None:
    assert verdicts.with_proof(Verdict("ok", "as expected"), proof).status == status


@pytest.mark.parametrize(
    ("proof", "status"),
    [
        (Verdict("ok", ""), "deviation"),
        (Verdict("deviation", "was refused: Connection refused"), "unproven"),
        (Verdict("skipped", "libpq 13"), "deviation"),
        (None, "deviation"),
    ],
)
def test_a_refusal_for_another_reason_follows_from_a_connection_that_fails_too(
    proof: Verdict | None, status: str
) -> None:
    bad = Verdict("deviation", "failed for another reason: Connection refused")
    assert verdicts.with_proof(bad, proof).status == status


@pytest.mark.parametrize("fields", [[], ["t"], ["t", "a", "b", "c", "d", "e"]])
def test_fields_that_are_no_row_are_no_session(fields: list[str]) -> None:
    assert verdicts.read_session(fields) is None


def test_a_row_is_read_with_its_empty_fields() -> None:
    assert verdicts.read_session(["f", "", "", "", ""]) == Session(False, "", "", "", "")


def test_a_session_of_another_server_is_a_deviation_and_the_right_one_is_named() -> None:
    found = verdicts.of_accepted(
        Attempt(GOOD_SESSION), OWN_CERTIFICATE, "db1", 15, Answer(fault="by another server than db1")
    )
    assert found == Verdict("deviation", "was accepted by another server than db1")
    assert verdicts.of_accepted(Attempt(GOOD_SESSION), OWN_CERTIFICATE, "db1", 15, Answer("db2")).answered_by == "db2"
    refused = Attempt(None, "FATAL:  connection requires a valid client certificate")
    assert verdicts.of_refused(refused, "no_certificate", Answer(fault="by another")).status == "deviation"
    assert verdicts.of_refused(refused, "no_certificate", Answer("db2")).answered_by == "db2"


def test_a_prompt_counts_only_where_a_certificate_is_demanded() -> None:
    message = "fe_sendauth: no password supplied"
    prompt = verdicts.of_prompt(Answer("db1"))
    assert (prompt.status, prompt.answered_by) == ("prompt", "db1")
    assert verdicts.with_demand(prompt, message, is_demanded=True) == prompt
    without = verdicts.with_demand(prompt, message, is_demanded=False)
    assert without.status == "deviation"
    assert without.reason.startswith(f"was refused: {message}. The server asks for a password, and did not show that")
    assert verdicts.of_prompt(Answer(fault="by another server")).status == "deviation"
    bad = Verdict("deviation", "x")
    assert verdicts.with_demand(bad, message, is_demanded=False) == bad


def test_what_was_refused_counts_beside_a_connection_that_got_to_the_prompt() -> None:
    prompt = verdicts.of_prompt(Answer("db1"))
    assert verdicts.with_proof(Verdict("ok", "rejected"), prompt).status == "ok"
    assert verdicts.with_proof(Verdict("deviation", "failed for another reason"), prompt).status == "deviation"


def test_a_prompt_without_a_certificate_says_what_it_proves() -> None:
    assert verdicts.of_prompt(Answer("db1"), with_certificate=False).reason == (
        "up to the password prompt: TLS and the server's certificate are right, and .pgpass of this OS user has no "
        "password for it"
    )
    assert "the server took the certificate" in verdicts.of_prompt(Answer("db1")).reason


def test_who_gets_in_without_being_asked_for_a_password_is_a_deviation() -> None:
    found = verdicts.without_password(GOOD_SESSION, Answer("db1"))
    assert (found.status, found.answered_by) == ("deviation", "db1")
    assert found.reason.startswith("was accepted without a password (TLSv1.3 ")


POOLED = Attempt(
    Session(True, "TLSv1.3", "OF_THE_POOLER", "178", "/CN=pgbouncer"), "", "", False, False, "TLSv1.2", "OWN"
)


@pytest.mark.parametrize(
    ("attempt", "answer", "back", "status", "words"),
    [
        (POOLED, Answer("pool1"), "b2", "ok", "PostgreSQL saw the certificate of the pooler"),
        (POOLED, Answer("pool1"), "b3", "deviation", "certificate of serial number b2, expected b3"),
        (
            POOLED,
            Answer("pool1", "renewed"),
            "b3",
            "ok",
            "renewed; which certificate of the pooler PostgreSQL saw is not",
        ),
        (POOLED, Answer(""), "", "ok", "which certificate of the pooler PostgreSQL saw is not known"),
        (POOLED, Answer(fault="by another server"), "b2", "deviation", "was accepted by another server"),
        (POOLED._replace(protocol=""), Answer("pool1"), "b2", "deviation", "was accepted without TLS"),
    ],
)
def test_behind_a_pooler_postgresql_sees_the_certificate_of_the_pooler(
    attempt: Attempt, answer: Answer, back: str, status: str, words: str
) -> None:
    assert attempt.session is not None
    verdict = verdicts.of_pooled(attempt, attempt.session, answer, back)
    assert verdict.status == status
    assert words in f"{verdict.reason}; {verdict.note}"
