# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare what a connection showed with what was expected of it."""

from __future__ import annotations

from typing import NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres import peers
from ansible_collections.pgops.tls.plugins.module_utils.verification import refusal_messages
from ansible_collections.pgops.tls.plugins.module_utils.verification.identity import Answer
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address

# PROMPT: all is as expected up to the password prompt, and nobody has the password
OK, PROMPT, DEVIATION, UNPROVEN, SKIPPED = "ok", "prompt", "deviation", "unproven", "skipped"
_UP_TO_THE_PROMPT = "up to the password prompt: {}, and .pgpass of this OS user has no password for it"
_PROVEN = {True: "the server took the certificate", False: "TLS and the server's certificate are right"}
_NOBODY = Answer()
QUERY = (
    "SELECT s.ssl, s.version, s.cipher, s.client_serial, s.client_dn "
    "FROM pg_catalog.pg_stat_ssl AS s WHERE s.pid = pg_catalog.pg_backend_pid()"
)


class Session(NamedTuple):
    """What the server says of a connection in pg_stat_ssl; texts are empty where it says nothing."""

    encrypted: bool
    protocol: str = ""
    cipher: str = ""
    client_serial: str = ""
    client_dn: str = ""


class Attempt(NamedTuple):
    """How a connection ended: with a session, or with libpq's error message (``message``).

    ``leaf`` is the certificate that the server has shown, DER in hexadecimal; ``wants_password``: it ended at the
    server's question for a password, because there is none; ``used_password``: the server has asked for one and got it.
    ``protocol``, ``cipher`` and ``group`` (of the key exchange) are what libpq and its OpenSSL say. ``answer`` is that
    to a query of the job's own.
    """

    session: Session | None
    message: str = ""
    leaf: str = ""
    wants_password: bool = False
    used_password: bool = False
    protocol: str = ""
    cipher: str = ""
    answer: str = ""
    group: str = ""


class Verdict(NamedTuple):
    """``status`` is ok, prompt, deviation, unproven or skipped; ``reason`` says why in words.

    ``answered_by`` is the server that has shown its own certificate, '' if unknown; ``note`` says more about it.
    """

    status: str
    reason: str
    answered_by: str = ""
    note: str = ""


class Presented(NamedTuple):
    """The certificate that the client was to show: its common name and serial number."""

    role: str
    serial: int


def read_session(fields: Sequence[str]) -> Session | None:
    """Return the row that QUERY gave as a session, or None when it is none."""
    if len(fields) != len(Session._fields):
        return None
    return Session(fields[0] == "t", *fields[1:])


def of_accepted(attempt: Attempt, presented: Presented | None, host: str, libpq: int, answer: Answer) -> Verdict:
    """Judge a connection that must work, with TLS and the right client certificate (None: with none).

    ``libpq`` is its major version: before 15 it does not compare addresses with a certificate. ``answer`` says which
    server it was.
    """
    if attempt.session is None:
        message = refusal_messages.readable(attempt.message)
        if libpq < 15 and packed_address(host) is not None and "does not match host name" in message:
            return Verdict(SKIPPED, f"libpq {libpq} cannot verify an address (15 and later can)")
        return Verdict(DEVIATION, f"was refused: {message}")
    return _of_session(attempt.session, presented, answer)


def of_pooled(attempt: Attempt, session: Session, answer: Answer, back: str) -> Verdict:
    """Judge a ``session`` through a pooler, which had to be let in: PostgreSQL shows the connection of the pooler.

    ``back`` is the serial number (hexadecimal) of its certificate, '' where this run does not know it.
    """
    shown = f"{int(session.client_serial):x}" if session.client_serial.isdigit() else ""
    fault = answer.fault if attempt.protocol else "without TLS"
    if shown and back and shown != back and not answer.note:
        fault = fault or (
            f"but the pooler logged in to PostgreSQL with a certificate of serial number {shown}, expected {back}"
        )
    if fault:
        return Verdict(DEVIATION, f"was accepted {fault}", answer.server)
    proof = _SEEN if shown and shown == back else _NOT_SEEN
    note = "; ".join(filter(None, [answer.note, proof]))
    return Verdict(OK, f"{attempt.protocol} {attempt.cipher}", answer.server, note)


_SEEN = "PostgreSQL saw the certificate of the pooler"
_NOT_SEEN = "which certificate of the pooler PostgreSQL saw is not known"


def of_prompt(answer: Answer, *, with_certificate: bool = True) -> Verdict:
    """Judge a connection that ended at a prompt for a password, where rules may ask for one.

    ``with_certificate``: beside a certificate. Then it counts only where the same connection without a certificate is
    refused for that: see ``with_demand``.
    """
    if answer.fault:
        return Verdict(DEVIATION, f"was answered {answer.fault}")
    return Verdict(PROMPT, _UP_TO_THE_PROMPT.format(_PROVEN[with_certificate]), answer.server, answer.note)


def without_password(session: Session, answer: Answer) -> Verdict:
    """Judge a connection that was accepted, but had to be asked for a password."""
    return Verdict(
        DEVIATION,
        f"was accepted without a password ({described(session)}). The rule that decides must ask for one, such as by "
        "method scram-sha-256",
        answer.server,
        answer.note,
    )


def with_demand(verdict: Verdict, message: str, *, is_demanded: bool) -> Verdict:
    """Return the verdict on a connection that ended at a prompt (``message``); ``is_demanded``: a certificate is."""
    if verdict.status != PROMPT or is_demanded:
        return verdict
    return Verdict(
        DEVIATION,
        f"was refused: {refusal_messages.readable(message)}. The server asks for a password, and did not show "
        "that it requires a certificate",
        verdict.answered_by,
        verdict.note,
    )


def of_refused(attempt: Attempt, kind: str, answer: Answer = _NOBODY) -> Verdict:
    """Judge a connection that must be refused, for one of the reasons of ``kind``, by the server of ``answer``."""
    if attempt.session is not None:
        return Verdict(DEVIATION, f"was accepted ({described(attempt.session)})")
    meaning = refusal_messages.meaning(kind, attempt.message)
    if meaning is None:
        return Verdict(DEVIATION, f"failed for another reason: {refusal_messages.readable(attempt.message)}")
    if answer.fault:
        return Verdict(DEVIATION, f"was answered {answer.fault}")
    return Verdict(OK, meaning, answer.server, answer.note)


def with_proof(verdict: Verdict, proof: Verdict | None) -> Verdict:
    """Return the verdict on what was not accepted in the light of the same connection with the right parameters.

    It proves nothing, neither a refusal nor a fault of its own, when that connection does not work either.
    """
    if proof is not None and proof.status == PROMPT:  # it has got further than what was refused
        return verdict
    if verdict.status == DEVIATION and proof is not None and proof.status == DEVIATION:
        return Verdict(UNPROVEN, "could not be tried: the connection that must work failed too")
    if verdict.status != OK or (proof is not None and proof.status == OK):
        return verdict
    if proof is None:
        return Verdict(UNPROVEN, "no accepted connection to compare with is among the expectations")
    if proof.status == SKIPPED:
        return Verdict(SKIPPED, f"the connection to compare with was skipped: {proof.reason}")
    return Verdict(UNPROVEN, "was refused, but the connection that must work failed too")


def described(session: Session) -> str:
    """Return a session in words."""
    if not session.encrypted:
        return "without TLS"
    return " ".join(part for part in (session.protocol, session.cipher, session.client_dn) if part)


def _of_session(session: Session, presented: Presented | None, answer: Answer) -> Verdict:
    fault = _fault_of_encryption(session) or answer.fault or _fault_of_certificate(session, presented)
    if fault:
        return Verdict(DEVIATION, f"was accepted {fault}")
    return Verdict(OK, described(session), answer.server, answer.note)


def _fault_of_encryption(session: Session) -> str:
    if not session.encrypted:
        return "without TLS"
    return "" if session.protocol and session.cipher else "but pg_stat_ssl shows no protocol and cipher"


def _fault_of_certificate(session: Session, presented: Presented | None) -> str:
    if presented is None:
        return f"with a client certificate ({session.client_dn}), expected none" if session.client_dn else ""
    if not session.client_dn:
        return "but the server has verified no client certificate (pg_stat_ssl shows no client_dn)"
    if not peers.has_common_name(session.client_dn, presented.role):
        return f"as {session.client_dn}, expected /CN={presented.role}"
    if session.client_serial != str(presented.serial):
        return f"with a certificate of serial number {session.client_serial}, the file holds {presented.serial}"
    return ""
