# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of refusals against messages that real servers and clients gave, one line per version that words it so."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.verification.refusal_messages import REFUSALS, meaning, readable

AT = 'connection to server at "localhost" (127.0.0.1), port 5499 failed: '  # libpq 14 and later
FROM = 'for host "127.0.0.1", user "app", database "postgres", '
NO_RULE, REJECTED = f"no pg_hba.conf entry {FROM}", f"pg_hba.conf rejects connection {FROM}"

# (kind, message of libpq): 13.23, then 15.18, 17.12 and 18.6, which say the same
REAL_MESSAGES = [
    ("plaintext", f"FATAL:  {NO_RULE}SSL off"),
    ("plaintext", f"{AT}FATAL:  {NO_RULE}no encryption"),
    ("plaintext", f"FATAL:  {REJECTED}SSL off"),
    ("plaintext", f"{AT}FATAL:  {REJECTED}no encryption"),
    ("no_certificate", "FATAL:  connection requires a valid client certificate"),
    ("no_certificate", f"{AT}FATAL:  connection requires a valid client certificate"),
    ("plaintext", f"{AT}FATAL:  SSL required"),  # PgBouncer
    ("no_certificate", f"{AT}SSL error: tlsv13 alert certificate required"),
    ("foreign_certificate", "SSL error: tlsv1 alert unknown ca"),
    (
        "foreign_certificate",
        "SSL error: tlsv1 alert unknown ca\ncould not send startup packet: Connection reset by peer",
    ),
    ("foreign_certificate", f"{AT}SSL error: tlsv1 alert unknown ca"),
    ("another_role", 'FATAL:  certificate authentication failed for user "other"'),
    ("another_role", f'{AT}FATAL:  certificate authentication failed for user "other"'),
    ("another_role", f'{AT}FATAL:  "trust" authentication failed for user "other"'),
    ("another_role", f"FATAL:  {REJECTED}SSL on"),
    ("another_role", f"{AT}FATAL:  {REJECTED}SSL encryption"),
    ("another_role", f"{AT}FATAL:  {NO_RULE}SSL encryption"),
    ("another_role", f"{AT}fe_sendauth: no password supplied"),
    ("another_role", f'{AT}FATAL:  password authentication failed for user "other"'),
    ("wrong_name", 'server certificate for "localhost" does not match host name "wrong.invalid"'),
    (
        "wrong_name",
        (
            f"{AT}Connection refused\n\tIs the server running on that host?\n"
            f'{AT}server certificate for "localhost" (and 1 other name) does not match host name "wrong.invalid"'
        ),
    ),
    ("foreign_root", "SSL error: certificate verify failed"),
    ("foreign_root", f"{AT}SSL error: certificate verify failed"),
]
BY_A_RULE = "LOCATION:  ClientAuthentication, auth.c:547\n"
# The same of servers that speak another language: 15.18, whose LC_CTYPE of C has no letters of other languages
IN_OTHER_LANGUAGES = [
    (
        "plaintext",
        f"{AT}FATAL:  28000: kein pg_hba.conf-Eintrag f?r Host ?127.0.0.1?, Benutzer ?app?\n{BY_A_RULE}",
        "kein pg_hba.conf-Eintrag f?r Host ?127.0.0.1?, Benutzer ?app?",
    ),
    (
        "plaintext",
        f"{AT}FATAL:  28000: aucune entr?e dans pg_hba.conf pour l'h?te, utilisateur << app >>,\nbase\n{BY_A_RULE}",
        "aucune entr?e dans pg_hba.conf pour l'h?te, utilisateur << app >>,; base",
    ),
    ("no_certificate", f"{AT}????:  28000: ????????\n{BY_A_RULE}", "????????"),
    ("another_role", f"{AT}????:  28000: ??????\nLOCATION:  auth_failed, auth.c:345\n", "??????"),
    ("another_role", f"{AT}????:  28P01: ??????\nLOCATION:  auth_failed, auth.c:345\n", "??????"),
]
# The ways in which libpq's source says that the server went away before it said why
CUT_OFF = [
    "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally",
    "SSL SYSCALL error: EOF detected",
    "SSL SYSCALL error: Connection reset by peer",
    "SSL connection has been closed unexpectedly",
    "could not receive data from server: Connection reset by peer",
]
# What goes wrong without being a refusal
ACCIDENTS = [
    f"{AT}????:  3D000: ???\nLOCATION:  InitPostgres, postinit.c:1\n",
    f"{AT}????:  28000: ???\nLOCATION:  InitializeSessionUserId, miscinit.c:1\n",
    f"{AT}????:  28000: ???\n{AT}????:  3D000: ???\nLOCATION:  ClientAuthentication, auth.c:1\n",
    f"{AT}Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
    'could not translate host name "db1" to address: Name or service not known',
    f'{AT}FATAL:  role "other" does not exist',
    f'{AT}FATAL:  database "shop" does not exist',
    f"{AT}FATAL:  sorry, too many clients already",
    f"{AT}FATAL:  the database system is starting up",
    f"{AT}timeout expired",
    f"{AT}server does not support SSL, but SSL was required",
    f"{AT}SSL error: sslv3 alert certificate expired",
    f'{AT}certificate present, but not private key file "/nonexistent/postgresql.key"',
    f'{AT}could not load private key file "k": key values mismatch',
    'definition of service "app" not found',
    "let in, but the query was not answered within 10 s",
    "the process that connects as OS user app gave no sign of life for 70 s and was stopped",
    "the process that connects as OS user app was killed by signal 11 (SIGSEGV)",
    "",
]


@pytest.mark.parametrize(("kind", "message"), REAL_MESSAGES)
def test_a_message_of_a_real_server_is_recognised(kind: str, message: str) -> None:
    assert meaning(kind, message)


@pytest.mark.parametrize(("kind", "message", "shown"), IN_OTHER_LANGUAGES)
def test_a_message_in_another_language_is_recognised_by_code_and_function(kind: str, message: str, shown: str) -> None:
    assert meaning(kind, message)
    assert readable(message) == shown


@pytest.mark.parametrize("kind", ["plaintext", "no_certificate"])
@pytest.mark.parametrize("text", ["pg_hba.conf rejects connection", "no pg_hba.conf entry for a host"])
def test_english_is_told_apart_as_before(kind: str, text: str) -> None:
    assert meaning(kind, f"{AT}FATAL:  28000: {text}\n{BY_A_RULE}") is None


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("message", ACCIDENTS)
def test_an_accident_is_no_refusal(kind: str, message: str) -> None:
    assert meaning(kind, message) is None


@pytest.mark.parametrize(("kind", "message"), REAL_MESSAGES)
def test_a_message_is_not_taken_for_a_refusal_of_another_kind(kind: str, message: str) -> None:
    others = {other for other in REFUSALS if other != kind and meaning(other, message)}
    others -= {"another_authority"} if kind == "foreign_certificate" else set()  # which is refused in the same way
    # No driver has to send a certificate that the server did not ask for
    assert others == ({"foreign_certificate"} if kind == "no_certificate" else set())


@pytest.mark.parametrize("message", CUT_OFF)
def test_a_broken_connection_counts_for_certificates_of_other_authorities_only(message: str) -> None:
    assert [kind for kind in REFUSALS if meaning(kind, message)] == ["foreign_certificate", "another_authority"]


def test_every_reason_has_a_message() -> None:
    known = [*REAL_MESSAGES, ("foreign_certificate", CUT_OFF[0]), *(row[:2] for row in IN_OTHER_LANGUAGES)]
    known.append(("another_role", IN_OTHER_LANGUAGES[0][1]))
    seen = {meaning(kind, message) for kind, message in known}
    assert seen == {reason.meaning for refusal in REFUSALS.values() for reason in refusal.reasons}


def test_a_message_is_shown_without_what_the_report_says_anyway() -> None:
    assert readable(f"{AT}FATAL:  sorry, too many clients already\n") == "sorry, too many clients already"
    assert readable("FATAL:  bad\n") == "bad"
    assert readable(f"{AT}Connection refused\n\tIs the server running?\n{AT}SSL error: x") == (
        "Connection refused; SSL error: x"
    )
    assert readable("") == "libpq gave no reason"
