# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords in texts of pg_hba.conf: where they are, so that nobody is shown them."""

from __future__ import annotations

import re

OPTIONS = ("ldapbindpasswd", "radiussecrets")
# Quotes may begin anywhere in NAME=VALUE, may not end, and a backslash at the end of a line joins the next one.
_SECRETS = re.compile(
    r'"(ldapbindpasswd|radiussecrets)=(?:[^"]|"")*"?'
    r'|\b(ldapbindpasswd|radiussecrets)=(?:\\\r?\n|"(?:[^"]|"")*"|"[^\n]*|[^\s"])*'
)
_PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)


def masked(text: str) -> str:
    """Return a text of a configuration file without private keys and the passwords that some methods take."""
    text = _PRIVATE_KEY.sub("(a private key)", text)
    return _SECRETS.sub(lambda found: f"{found.group(1) or found.group(2)}=********", text)


def printable(text: str) -> str:
    """Return a masked text for results and messages, without the bytes that are no UTF-8."""
    return masked(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def secrets(text: str) -> set[str]:
    """Return the passwords in a text of pg_hba.conf, with and without the quotes that PostgreSQL wants inside them."""
    values = {found.group().partition("=")[2].strip('"') for found in _SECRETS.finditer(text)}
    return {written for value in values for written in (value, value.replace('""', '"')) if written}
