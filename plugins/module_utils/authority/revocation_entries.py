# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory wants revoked: the entries of its option."""

from __future__ import annotations

import json
import re
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown

KINDS = ("role", "host", "serial")
UNSPECIFIED = "unspecified"
# Those of RFC 5280 that a leaf can have permanently.
REASONS = (
    UNSPECIFIED,
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
)
_LONGEST = 253  # characters of a value in messages, as many as a host's name may have


class Entry(NamedTuple):
    """What the inventory wants revoked: all of a role's or a host's certificates, or one by its serial number.

    ``authority`` has issued the certificate with this serial number, in case that the ledger does not know it. Of a
    role it names the client authority whose certificates are meant ('': of all).
    """

    kind: str
    value: str
    reason: str
    authority: str = ""

    def in_words(self) -> str:
        """Return the entry as it is written; a value that is too long for a role or a host is cut."""
        value = self.value if len(self.value) <= _LONGEST else f"{self.value[:_LONGEST]}..."
        whose = f" of the {self.authority} CA" if self.authority and self.kind == "role" else ""
        return f"{self.kind}: {value}{whose}"

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what this entry and the lines that it is about have in common, see ``revocation._keys``."""
        return self.kind, self.value, self.authority if self.kind == "role" else ""

    def needles(self) -> list[bytes]:
        """Return texts of which each line of the ledger that this entry is about holds one."""
        value = json.dumps(self.value)
        if self.kind == "host":
            return [f'"id": {value}'.encode(), f'"id": {value[:-1]}/'.encode()]
        return [f'"{"serial" if self.kind == "serial" else "subject"}": {value}'.encode()]


def parse(items: Sequence[Mapping[str, Any]], option: str) -> list[Entry]:
    """Return the entries in their order. Raises TlsError that names ``option`` and the first one that cannot be."""
    return [parse_one(item, option, number) for number, item in enumerate(items)]


def parse_one(item: Mapping[str, Any], option: str, number: int) -> Entry:
    """Return the entry that is the item of this number. Raises TlsError."""
    option = f"{option}[{number}]"
    if not isinstance(item, Mapping):
        raise TlsError(
            f"{option}: found {shown(item)}, expected a dictionary such as {{serial: 5ac6f1d9}}.",
            code="revocation_entry_invalid",
        )
    given = {kind: item[kind] for kind in KINDS if item.get(kind) is not None}
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise TlsError(
            f"{option}: expected exactly one of {', '.join(KINDS)}, found {found}.", code="revocation_entry_invalid"
        )
    ((kind, value),) = given.items()
    reason = item.get("reason") or UNSPECIFIED
    if reason not in REASONS:
        raise TlsError(
            f"{option}.reason: found {shown(reason)}, expected one of {', '.join(REASONS)}.",
            code="revocation_entry_invalid",
        )
    authority = str(item.get("authority") or "")
    if authority and (kind == "host" or not profiles.is_authority_name(authority)):
        raise TlsError(
            f"{option}.authority: found {shown(authority)}, expected the name of an authority, such as server or "
            "client, beside a serial or a role.",
            code="revocation_entry_invalid",
        )
    text = _serial(value, f"{option}.serial") if kind == "serial" else str(value)
    if not text.isprintable() or not text.strip():
        raise TlsError(
            f"{option}.{kind}: found {shown(value)}, expected the name of a {kind}.", code="revocation_entry_invalid"
        )
    return Entry(kind, text, str(reason), authority)


def refuse_unknown_authority(entries: Sequence[Entry], known: Sequence[str], option: str) -> None:
    """Raise TlsError for an entry that names an authority which is not ``known``."""
    for entry in entries:
        if entry.authority and entry.authority not in known:
            raise TlsError(
                f"{option}: {entry.kind}: {entry.value}: found authority {shown(entry.authority)}, expected one of "
                f"{', '.join(dict.fromkeys(known))}.",
                remedy="Correct the name. Nothing was changed.",
                code="authority_unknown",
            )


def _serial(value: object, option: str) -> str:
    """Return a serial number as the ledger has it, from that or from what ``openssl x509 -serial`` prints."""
    digits = str(value).strip().lower()
    digits = re.sub(r"^(serial=|0x)", "", digits).replace(":", "").lstrip("0")
    if not re.fullmatch(r"[0-9a-f]{1,40}", digits):
        raise TlsError(
            f"{option}: found {shown(value)}, expected a serial number in hexadecimal, such as 2c5ac6f1d90e73b2a4.",
            remedy="Write it in quotes.",
            code="revocation_entry_invalid",
        )
    return digits
