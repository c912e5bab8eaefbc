# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values in a declared identity, each checked by itself. Errors name their place, ``source``."""

from __future__ import annotations

import os
import re

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown

LONGEST_NAME = 63  # bytes: NAMEDATALEN - 1; PostgreSQL cuts longer names
_LONGEST_PASSWORD = 128  # characters
_RESERVED = ("root.crt", "root.crl", "truststore.p12", "manifest.json")  # files beside the roles' directories


def databases(value: object, source: str) -> tuple[str, ...]:
    """Return the databases in a list. Raises TlsError."""
    if value is not None and not isinstance(value, (list, tuple)):
        raise TlsError(
            f"{source}: found {shown(value)}, expected a list of names, such as [shop].", code="databases_invalid"
        )
    return tuple(name(database, source) for database in value or ())


def home(value: object, source: str) -> str:
    """Return a directory in place of a home, '' for none. Raises TlsError."""
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or not os.path.isabs(value) or not value.isprintable():
        raise TlsError(
            f"{source}: found {shown(value)}, expected the absolute path of a directory that the OS user owns.",
            code="home_invalid",
        )
    return value


def yes_or_no(value: object, source: str) -> bool | None:
    """Return what is said, None for nothing. Raises TlsError."""
    if value is not None and not isinstance(value, bool):
        raise TlsError(f"{source}: found {shown(value)}, expected true or false.", code="boolean_invalid")
    return value


def name(value: object, source: str) -> str:
    """Return a name of a role, database or OS user. Raises TlsError for one that is invalid or would break a line."""
    if not isinstance(value, str) or not value:
        raise TlsError(f"{source}: found {shown(value)}, expected a name that is not empty.", code="name_invalid")
    refuse_unprintable(value, source)
    size = len(value.encode("utf-8"))
    if size > LONGEST_NAME:
        raise TlsError(
            f"{source}: {shown(value)} has {size} bytes, expected at most {LONGEST_NAME}; PostgreSQL cuts the rest.",
            code="name_too_long",
        )
    return value


def is_password(value: str, shortest: int) -> bool:
    """Return whether openssl, Java and shells encode a text alike, and it has at least ``shortest`` characters."""
    return shortest <= len(value) <= _LONGEST_PASSWORD and re.fullmatch(r"[!-~](?:[ -~]*[!-~])?", value) is not None


def password(value: object, source: str, shortest: int, code: str) -> str:
    """Return a password. Raises TlsError with this ``code``, which does not show it."""
    if not isinstance(value, str) or not is_password(value, shortest):
        length = f"{len(value)} characters" if isinstance(value, str) else ""
        raise TlsError(
            f"{source}: found {length or f'a value of type {type(value).__name__}'}, expected a password of {shortest} "
            f"to {_LONGEST_PASSWORD} printable ASCII characters without blanks at its ends.",
            remedy="Choose such a password. Quote one that is a number.",
            code=code,
        )
    return value


def refuse_unprintable(value: str, source: str) -> None:
    """Raise TlsError for a text that would break a line, or that is not what is seen."""
    if not value.isprintable() or value != value.strip():
        raise TlsError(
            f"{source}: {shown(value)} has control characters, invisible ones, or white space at an end. "
            "Expected printable text.",
            code="control_characters_in_value",
        )


def refuse_unusable(name: str, source: str) -> None:
    """Raise TlsError for a name that cannot be a directory, or the name of a service."""
    remedy = "Give the identity another name in name."
    if name.startswith(".") or "/" in name or name in _RESERVED:
        raise TlsError(
            f"{source}: {name!r} also becomes the name of a directory, so it cannot start with a dot, contain a slash, "
            f"or be one of {', '.join(_RESERVED)}.",
            remedy=remedy,
            code="role_name_unusable",
        )
    if "]" in name:
        raise TlsError(
            f"{source}: {name!r} also becomes the name of a section of the service file, where a closing bracket "
            "ends it.",
            remedy=remedy,
            code="role_name_unusable",
        )
