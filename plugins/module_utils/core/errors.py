# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that the parts of this collection raise for a user to read."""

from __future__ import annotations

import re
from typing import Any

_LONGEST = 120  # characters of a value that a message shows
# The first or last line of a key in PEM, OpenSSH's or PGP's form; the word between them is bounded: it is read once
_PRIVATE_KEY = re.compile(r"(?:BEGIN|END)[^\n-]{0,40}PRIVATE KEY", re.IGNORECASE)


class TlsError(Exception):
    """A failure that is explained to the user; modules turn it into ``fail_json``.

    ``fault`` names the path or option, what was found and what was expected. ``remedy`` says what to do; a message that
    quotes the fault leaves it out. ``code`` is a word for programs, such as ``passphrase_missing``: it stays the same
    when the sentences change. ``details`` become keys of the module's result. None of them may ever hold a secret.
    """

    def __init__(self, fault: str, *, remedy: str = "", code: str = "", **details: Any) -> None:
        self.fault = fault
        self.remedy = remedy
        self.code = code
        self.message = f"{fault} {remedy}" if remedy else fault
        super().__init__(self.message)
        self.details = details

    def as_result(self) -> dict[str, Any]:
        """Return the arguments for ``fail_json``."""
        return {"msg": self.message, "code": self.code, **self.details}


class UnreachableError(TlsError):
    """There is no program to talk to where one is to be changed, or it does not let this module in."""


def holds_private_key(text: str) -> bool:
    """Return whether a text has the first or the last line of a private key, of whatever form."""
    return _PRIVATE_KEY.search(text) is not None


def shown(value: object) -> str:
    """Return a value for a message: on one line, odd characters escaped, cut where it is long, and never a key."""
    text = repr(value)
    if "PRIVATE KEY" in text:
        return "a private key"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"
