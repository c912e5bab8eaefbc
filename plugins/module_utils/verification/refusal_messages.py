# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be refused, how it is tried, and how PostgreSQL and PgBouncer word the refusal.

The messages are those of libpq and servers 13 to 19, of which tests/matrix tries each with each; PostgreSQL 14 changed
``SSL off`` to ``no encryption`` and put ``connection to server at ... failed:`` before every message.

A server may speak another language (``lc_messages``). So libpq is asked for verbose messages: they have the SQLSTATE,
and the name of the function in PostgreSQL that refused (``LOCATION``), which are the same in all languages.
"""

from __future__ import annotations

import re
from typing import Mapping, NamedTuple

WRONG_NAME = "pgops-wrong-name.invalid"  # RFC 6761: never a name of anything


class Reason(NamedTuple):
    """One acceptable way to be refused: what it means, and a regular expression for the message."""

    meaning: str
    pattern: str


class Refusal(NamedTuple):
    """One thing that must be refused.

    ``changes`` are the libpq parameters that differ from a connection that works. ``{absent}`` is the path of no file,
    ``{foreign_...}`` are files of a throw-away authority.
    """

    title: str
    changes: Mapping[str, str]
    reasons: tuple[Reason, ...]


# What a server says in another language, by SQLSTATE and function. ClientAuthentication refuses by a rule, and for want
# of a certificate: in English that is told apart.
_MORE = r"(?s:(?! failed: ).)*?"  # the rest of that message, which may have several lines
_ENGLISH = r"(?!no pg_hba\.conf entry|pg_hba\.conf rejects|connection requires a valid)"
_BY_A_RULE = rf"28000: {_ENGLISH}{_MORE}LOCATION: +ClientAuthentication,"
_BY_A_METHOD = rf"(28000|28P01): {_MORE}LOCATION: +auth_failed,"
_NO_ENTRY = r"no pg_hba\.conf entry for (replication connection from )?host"
_REJECTS = r"pg_hba\.conf rejects (replication )?connection for host"
_NO_CERTIFICATE = Reason("the server asked for a client certificate", r"connection requires a valid client certificate")
_NO_CERTIFICATE_ELSEWHERE = Reason("the server refused to go without a client certificate", _BY_A_RULE)
_CERTIFICATE_REQUIRED = Reason(
    "the pooler requires a client certificate", r"SSL error: .*alert (certificate required|handshake failure)"
)
# With TLS 1.3 the server refuses after the client's part of the handshake is over: its closing of the connection may
# overtake the alert that says why.
_UNKNOWN_CA = Reason("the server does not know the CA", r"SSL error: .*alert unknown ca")
_BROKEN = Reason(
    "the server broke the connection after it saw the certificate",
    r"(server closed the connection unexpectedly"
    r"|SSL connection has been closed unexpectedly"
    r"|SSL SYSCALL error: (EOF detected|Connection reset by peer|Broken pipe)"
    r"|could not (receive data from|send data to) server: (Connection reset by peer|Broken pipe)"
    r"|could not send startup packet: (Connection reset by peer|Broken pipe))",
)

REFUSALS: Mapping[str, Refusal] = {
    "plaintext": Refusal(
        "plaintext",
        {"sslmode": "disable", "passfile": "{absent}"},  # a password must not go over such a connection
        (
            Reason("no rule for plaintext", rf"{_NO_ENTRY} .*, (no encryption|SSL off)"),
            Reason("a rule rejects plaintext", rf"{_REJECTS} .*, (no encryption|SSL off)"),
            Reason("a rule refuses plaintext, or none allows it", _BY_A_RULE),
            Reason("the pooler requires TLS", r"FATAL: +(08P01: )?SSL required$"),
        ),
    ),
    "no_certificate": Refusal(
        "no client certificate",
        {"sslcert": "{absent}", "sslkey": "{absent}"},  # every libpq takes this for "none"; sslcertmode needs 16
        (_NO_CERTIFICATE, _NO_CERTIFICATE_ELSEWHERE, _CERTIFICATE_REQUIRED),
    ),
    "foreign_certificate": Refusal(
        "certificate of a foreign CA",
        {"sslcert": "{foreign_certificate}", "sslkey": "{foreign_key}"},
        (
            _UNKNOWN_CA,
            _NO_CERTIFICATE,
            _NO_CERTIFICATE_ELSEWHERE,
            _CERTIFICATE_REQUIRED,
            _BROKEN,
        ),
    ),
    "another_authority": Refusal(
        "certificate of another client authority",
        {},  # the expectation itself has the identity of another server
        (_UNKNOWN_CA, _BROKEN),  # libpq sends it, whichever authorities the server asks for
    ),
    "another_role": Refusal(
        "another role's certificate",
        {},  # the expectation itself has the role of one identity and the certificate of another
        (
            Reason(
                "the certificate is another role's",
                r'(certificate|"trust") authentication failed for user',
            ),
            Reason("no rule for that role", rf"{_NO_ENTRY} .*, (SSL encryption|SSL on)"),
            # With a password, its method is what the server names when the certificate is another role's
            Reason("the server refused this certificate or that role's password", r"password authentication failed"),
            Reason("the server refused this role", _BY_A_METHOD),
            Reason("a rule refuses that role, or none allows it", _BY_A_RULE),
            # Without a rule of its own the role may meet an older one, which wants its password and no certificate
            Reason("the server asks for that role's password", r"fe_sendauth: no password supplied"),
            Reason("a rule rejects that role", rf"{_REJECTS} .*, (SSL encryption|SSL on)"),
        ),
    ),
    "wrong_name": Refusal(
        "wrong host name",
        {"host": WRONG_NAME},  # hostaddr is an address of the right one
        (Reason("the server's certificate has other names", r"server certificate for .* does not match host name"),),
    ),
    "foreign_root": Refusal(
        "foreign root at the client",
        {"sslrootcert": "{foreign_certificate}"},
        (Reason("the client does not trust the server", r"SSL error: certificate verify failed"),),
    ),
}


def meaning(kind: str, message: str) -> str | None:
    """Return what a refusal with this message means, or None when it is not how ``kind`` is refused."""
    for reason in REFUSALS[kind].reasons:
        if re.search(reason.pattern, message):
            return reason.meaning
    return None


def readable(errors: str) -> str:
    """Return a message of libpq as one line, without what the report says anyway."""
    lines = [line for line in errors.splitlines() if line.strip() and not line.startswith(("\t", "LOCATION:"))]
    # each address of a name says it, mostly in the same words
    reasons = dict.fromkeys(_PREAMBLE.sub("", line).strip() for line in lines)
    return "; ".join(reasons) or "libpq gave no reason"


_PREAMBLE = re.compile(
    r"^(connection to server (at|on) .*?, port [0-9]+ failed: )?(could not connect to server: )?"
    r"([^\s:]+: {2}([0-9A-Z]{5}: )?)?"  # the severity may be in any language
)
