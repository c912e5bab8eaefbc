# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory says of the sources of certificates: a table of types and their keys. No source is asked."""

from __future__ import annotations

import os
import urllib.parse
from typing import Any, Callable, Iterable, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown

OWN, FILES, OPENBAO, COMMAND, ACME, EXISTING = "own", "files", "openbao", "command", "acme", "existing"
HTTP_01, DNS_01 = "http-01", "dns-01"
DEDICATED = "dedicated"
_PLACES = ("directory", "roots")  # of an own authority whose issuing CA a company signs: both, or none
CREDENTIALS = ("token", "token_file", "approle")  # of OpenBao: exactly one
_APPROLE = ("role_id", "secret_id")


class Declared(NamedTuple):
    """Where the certificates of one authority come from; ``options`` are as the inventory has them."""

    authority: str
    type: str
    options: Mapping[str, Any]

    @property
    def is_shared(self) -> bool:
        """Return whether others get certificates from below the same roots; rules of servers must bind them then."""
        return self.options.get(DEDICATED) is False

    @property
    def is_below_company(self) -> bool:
        """Return whether this is an own authority whose issuing CA is signed by a company."""
        return self.type == OWN and bool(self.options)


class _Key(NamedTuple):
    """One key of a type. ``is_fit`` looks at its value, ``expected`` says what that has to be."""

    is_fit: Callable[[Any], bool]
    expected: str
    is_required: bool = False


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable() and not any(map(str.isspace, value))


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and os.path.isabs(value) and value.isprintable()


def _is_url(value: Any) -> bool:
    try:
        parts = urllib.parse.urlsplit(value if _is_word(value) else "")
        return (
            parts.scheme == "https" and bool(parts.hostname) and not (parts.username or parts.query or parts.fragment)
        )
    except ValueError:
        return False


def _is_approle(value: Any) -> bool:
    return isinstance(value, Mapping) and sorted(value) == sorted(_APPROLE) and all(map(_is_word, value.values()))


def _is_argv(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(one, str) and bool(one) and "\0" not in one for one in value)
        and bool(value)
        and _is_path(value[0])
    )


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 3600


_PATH = _Key(_is_path, "an absolute path on the host of the authorities")
_WORD = "one word"
_ARGV = _Key(_is_argv, "a list with the absolute path of a program on the host of the authorities, then its arguments")
_SECONDS = _Key(_is_seconds, "a whole number of seconds from 1 to 3600")
_DEDICATED = _Key(lambda value: isinstance(value, bool), "true or false")
KEYS: Mapping[str, Mapping[str, _Key]] = {
    OWN: {"directory": _PATH, "roots": _PATH, "crls": _PATH, DEDICATED: _DEDICATED},
    FILES: {
        "directory": _PATH._replace(is_required=True),
        "roots": _PATH._replace(is_required=True),
        "crls": _PATH,
        DEDICATED: _DEDICATED,
    },
    EXISTING: {"roots": _PATH._replace(is_required=True)},
    OPENBAO: {
        "url": _Key(_is_url, "a URL such as https://bao.example.com:8200", is_required=True),
        "mount": _Key(_is_word, "the path of a PKI secrets engine, such as pki"),
        "role": _Key(_is_word, "the name of a role of that engine", is_required=True),
        "ca_file": _PATH,
        "roots": _PATH,
        "token": _Key(_is_word, _WORD),
        "token_file": _PATH,
        "approle": _Key(_is_approle, f"a dictionary with {' and '.join(_APPROLE)}"),
        DEDICATED: _DEDICATED,
    },
    COMMAND: {
        "command": _ARGV._replace(is_required=True),
        "roots": _PATH._replace(is_required=True),
        "timeout": _SECONDS,
        DEDICATED: _DEDICATED,
    },
    ACME: {
        "url": _Key(_is_url, "the URL of an ACME directory, such as https://ca.example.com/dir", is_required=True),
        "challenge": _Key(lambda value: value in (HTTP_01, DNS_01), f"{HTTP_01} or {DNS_01}", is_required=True),
        "command": _ARGV._replace(is_required=True),
        "roots": _PATH._replace(is_required=True),
        "ca_file": _PATH,
        "email": _Key(_is_word, "an address such as dba@example.com"),
        "terms_agreed": _Key(lambda value: isinstance(value, bool), "true or false"),
        "timeout": _SECONDS,
    },
}


_TEXT: Mapping[str, Any] = {"type": "str"}
_NEEDED_TEXT: Mapping[str, Any] = {"type": "str", "required": True}
_OPTIONS: Mapping[str, Any] = {
    "type": {**_NEEDED_TEXT, "choices": list(KEYS)},
    DEDICATED: {"type": "bool"},
    "directory": {"type": "path"},
    "roots": {"type": "path"},
    "crls": {"type": "path"},
    "url": _TEXT,
    "ca_file": {"type": "path"},
    "mount": _TEXT,
    "role": _TEXT,
    "token": {"type": "str", "no_log": True},
    "token_file": {"type": "path", "no_log": False},
    "approle": {
        "type": "dict",
        "options": {"role_id": _NEEDED_TEXT, "secret_id": {**_NEEDED_TEXT, "no_log": True}},
    },
    "command": {"type": "list", "elements": "str"},
    "timeout": {"type": "int"},
    "challenge": {"type": "str", "choices": [HTTP_01, DNS_01]},
    "email": _TEXT,
    "terms_agreed": {"type": "bool"},
}
# How modules take it; doc fragment sources describes it
ARGUMENT: Mapping[str, Any] = {
    "sources": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"authority": _NEEDED_TEXT, "source": {"type": "dict", "required": True, "options": _OPTIONS}},
    }
}


def by_authority(items: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return what the option of a module says, by the names of authorities."""
    return {str(one["authority"]): one["source"] for one in items}


def parse(declared: Mapping[str, Any], option: str) -> dict[str, Declared]:
    """Return the sources that are not this collection's own authorities, by the names of theirs.

    Raises TlsError, naming ``option``, for the first that cannot be.
    """
    return {name: one for name, one in _parsed(declared, option).items() if one.type != OWN}


def below_company(declared: Mapping[str, Any], option: str) -> dict[str, Declared]:
    """Return the own authorities whose issuing CA is signed by a company, by name. Raises TlsError as ``parse``."""
    return {name: one for name, one in _parsed(declared, option).items() if one.is_below_company}


def _parsed(declared: Mapping[str, Any], option: str) -> dict[str, Declared]:
    return {str(name): parse_one(name, value, option) for name, value in declared.items()}


def parse_one(name: Any, value: Any, option: str) -> Declared:
    """Return one source. Raises TlsError, which shows no value that may be secret."""
    profiles.check_authority(name if isinstance(name, str) else str(name), f"{option}, a key of it")
    place = f"{option}.{name}"
    if not isinstance(value, Mapping):
        raise TlsError(
            f"{place}: expected a dictionary with type, found another kind of value.",
            remedy=f"Write {{type: {OWN}}}, or leave it out.",
            code="source_invalid",
        )
    type_ = value.get("type")
    if type_ not in KEYS:
        found = "nothing" if type_ is None else shown(type_)
        raise TlsError(
            f"{place}.type: found {found}, expected one of {', '.join(KEYS)}.",
            remedy="Correct the type.",
            code="source_type_unknown",
        )
    options = {key: one for key, one in value.items() if key != "type" and one is not None}
    if type_ == ACME and name != profiles.SERVER:
        raise _only_servers(place)
    _refuse_keys(str(type_), options, place)
    if type_ == EXISTING and name != profiles.SERVER:
        raise TlsError(
            f"{place}.type: found {EXISTING}, which is for authority {profiles.SERVER} alone.",
            remedy="Choose another type.",
            code="source_type_unfit",
        )
    if type_ == OPENBAO:
        _refuse_credentials(options, place)
    if (type_ != OWN or options) and name != profiles.SERVER and DEDICATED not in options:
        raise _not_dedicated(place)
    return Declared(str(name), str(type_), options)


def _refuse_keys(type_: str, options: Mapping[str, Any], place: str) -> None:
    known = KEYS[type_]
    for key, value in options.items():
        if key not in known:
            raise TlsError(
                f"{place}: type {type_} has no key {shown(key)}. It has {', '.join(known) or 'none'}.",
                remedy="Correct the key, or remove it.",
                code="source_key_unknown",
            )
        if not known[key].is_fit(value):
            raise TlsError(
                f"{place}.{key}: expected {known[key].expected}, found something else.",
                remedy="Correct the value.",
                code="source_value_invalid",
            )
    needed = _PLACES if type_ == OWN and options else [key for key, one in known.items() if one.is_required]
    missing = next((key for key in needed if key not in options), None)
    if missing:
        raise TlsError(
            f"{place}.{missing}: found nothing, expected {known[missing].expected}.",
            remedy=f"Type {type_} needs this key{' with the others' if type_ == OWN else ''}.",
            code="source_key_missing",
        )


def _refuse_credentials(options: Mapping[str, Any], place: str) -> None:
    given = [key for key in CREDENTIALS if key in options]
    if len(given) != 1:
        raise TlsError(
            f"{place}: expected exactly one of {', '.join(CREDENTIALS)}, found {' and '.join(given) or 'none'}.",
            remedy="Give the one with which this host logs in.",
            code="source_credentials",
        )


def _only_servers(place: str) -> TlsError:
    return TlsError(
        f"{place}.type: found {ACME} for a client authority. ACME proves that somebody controls the names of a server. "
        "The name of a role cannot be proven by it.",
        remedy=f"Leave clients to the own authority (type: {OWN}).",
        code="source_only_servers",
    )


def _not_dedicated(place: str) -> TlsError:
    return TlsError(
        f"{place}: PostgreSQL lets in every certificate below the roots of this source whose common name is that of a "
        "role, whatever it was issued for.",
        remedy=(
            f"Leave clients to the own authority (type: {OWN}). If nobody else gets certificates from below these "
            f"roots, confirm it with {DEDICATED}: true. With {DEDICATED}: false, servers take only rules that compare "
            "whole subjects (clientname: DN and a map)."
        ),
        code="source_not_dedicated",
    )
