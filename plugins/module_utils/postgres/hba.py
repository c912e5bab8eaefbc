# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server holds against a text of pg_hba.conf or pg_ident.conf, told before the server sees it.

It follows parse_hba_line, load_hba and parse_ident_line of PostgreSQL's hba.c, versions 13 to 19: a text has a problem
when a reload would refuse it, and in the lines where the server would find one.
"""

from __future__ import annotations

import socket
from typing import Iterable, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    hba_options,
    includes,
    lexer,
    passwords,
    regex_syntax,
)
from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import TYPES, Line, Token

# Method -> types of rules that it works on, where not on all
_PLACES = {"cert": ("hostssl",), "peer": ("local",), "gss": TYPES[1:]}
_ANYWHERE = ("all", "samehost", "samenet")


class Problem(NamedTuple):
    """A line for which a server refuses a text: its file ('' for the text itself), its number (0: the whole), why."""

    file: str
    line: int
    reason: str


def problems(
    text: str, major: int, *, ident: bool = False, path: str = "", libraries: Sequence[str] | None = None
) -> list[Problem]:
    """Return why a server of version ``major`` would refuse a text; an empty list when it would take it.

    ``ident``: it is one of pg_ident.conf. ``path`` is where its file is or is going to be; without one, files that it
    includes are taken for right. ``libraries`` are those of oauth_validator_libraries, None when they are not known.

    What cannot be told counts as right: regular expressions of a kind that ``regex_syntax`` does not decide, whether
    the server's resolver knows a name in radiusservers, methods that its build lacks but most have.
    """
    if path:
        lines: Iterable[tuple[str, Line]] = includes.followed(text, includes.Place(path, major))
    else:
        lines = (("", line) for line in lexer.read(text, major) if not lexer.is_directive(line, major))
    found, is_empty = [], True
    for file, line in lines:
        is_empty = False
        reason = line.error or (_ident_fault(line, major) if ident else _rule_fault(line, major, libraries))
        if reason:
            found.append(Problem("" if file == path else file, line.number, reason))
    if is_empty and path and not ident:
        found.append(Problem("", 0, "it has no rule, expected one at least"))
    return found


def _method_at(fields: Sequence[Sequence[Token]]) -> int:
    """Return the index of the method's field: an address may be followed by a mask in a field of its own."""
    if _first(fields, 0) == "local":
        return 3
    return 5 if _family(_first(fields, 3)) else 4


def _first(fields: Sequence[Sequence[Token]], index: int) -> str:
    """Return the first word of a field, '' when there is none."""
    return fields[index][0].text if len(fields) > index else ""


def _rule_fault(line: Line, major: int, libraries: Sequence[str] | None) -> str:
    """Return why a server refuses a line of pg_hba.conf, '' when it does not."""
    fields = line.fields
    kind, at = _first(fields, 0), _method_at(fields)
    single = [fields[0], *fields[3 : at + 1]]
    if any(len(field) > 1 for field in single[:1]) or kind not in TYPES:
        return _list_fault(single[:1]) or f"type {kind!r} is unknown. Expected one of {', '.join(TYPES)}"
    reason = _regex_fault((token for field in fields[1:3] for token in field), 16, major) or _list_fault(single)
    if not reason and kind != "local" and len(fields) > 3:
        reason = _address_fault(fields[3][0], _first(fields, 4))
    if not reason and len(fields) <= at:
        form = "local DATABASE USER METHOD" if kind == "local" else f"{kind} DATABASE USER ADDRESS METHOD"
        reason = f"the rule has no method: {passwords.masked(line.text)!r}. Expected {form}"
    return reason or _method_fault(kind, _first(fields, at), major) or _options_fault(line, at, major, libraries)


def _list_fault(fields: Iterable[Sequence[Token]]) -> str:
    for field in fields:
        if len(field) > 1:
            listed = ",".join(token.text for token in field)
            return f"expected one value, found the list {listed!r}; write a rule for each"
    return ""


def _regex_fault(tokens: Iterable[Token], since: int, major: int) -> str:
    for token in tokens:
        if token.text[:1] == "/" and major >= since:
            found = regex_syntax.fault(token.text[1:], major)
            if found:
                return f"{token.text!r} is no regular expression of PostgreSQL: {found}"
    return ""


def _family(text: str) -> int:
    """Return the family of the address that a word of a rule begins with, 0 when the server takes it for a name."""
    address, slash, _bits = text.partition("/")
    return 0 if slash else _numeric_family(address)


def _numeric_family(address: str) -> int:
    """Return what the C library of this host makes of an address, which is more than four numbers or colons."""
    if not address or "\0" in address or address in _ANYWHERE:
        return 0
    try:
        found = socket.getaddrinfo(
            address.encode("utf-8", "surrogateescape"), None, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST
        )
    except (OSError, ValueError):
        return 0
    return int(found[0][0])


def _address_fault(token: Token, mask: str) -> str:
    address, slash, bits = token.text.partition("/")
    if not token.quoted and token.text in _ANYWHERE:
        return ""
    family = _numeric_family(address)
    largest = 32 if family == socket.AF_INET else 128
    if slash and not family:
        return f"address {token.text!r} has a mask but is no address; expected ADDRESS/BITS or a host name alone"
    number = hba_options.NUMBER.fullmatch(bits)
    if slash:
        if number is None or not 0 <= int(number.group(1)[:30]) <= largest:
            return f"address {token.text!r}, expected 0 to {largest} behind the slash"
    elif family and not _numeric_family(mask):
        return f"address {token.text!r} has no mask; expected {address}/{largest}, or a mask in the next field"
    elif family and _numeric_family(mask) != family:
        return f"mask {mask!r} does not belong to address {token.text!r}; expected one like 255.255.255.0 or ffff::"
    return ""


def _method_fault(kind: str, method: str, major: int) -> str:
    if method not in hba_options.METHODS:
        return f"method {method!r} is unknown. Expected one of {', '.join(hba_options.METHODS)}"
    if method in hba_options.NOT_BUILT:
        return f"method {method} is not there on Linux. Expected another one"
    if major < hba_options.SINCE.get(method, 0):
        return f"method {method} needs PostgreSQL {hba_options.SINCE[method]}, this server is {major}"
    if major > hba_options.UNTIL.get(method, major):
        return f"method {method} is gone since PostgreSQL {hba_options.UNTIL[method] + 1}, this server is {major}"
    places = _PLACES.get(method, TYPES)
    return (
        ""
        if kind in places
        else f"method {method} works only on {', '.join(places)}, this rule is {kind}"
        + (f". Make it {places[0]}" if len(places) == 1 else ". Take another method")
    )


def _options_fault(line: Line, at: int, major: int, libraries: Sequence[str] | None) -> str:
    kind, method = _first(line.fields, 0), _first(line.fields, at)
    options: dict[str, str] = {}
    for token in (token for field in line.fields[at + 1 :] for token in field):
        name, equals, value = token.text.partition("=")
        hides = any(secret in line.text for secret in passwords.OPTIONS)  # of which a word may be a part
        if not equals:
            found = "a word" if hides else repr(name)
            return f"expected an option NAME=VALUE behind the method, found {found} without '='"
        reason = hba_options.fault(kind, method, name, value, major)
        if reason and hides and name not in hba_options.allowed(kind, method, major):
            return f"method {method} has no such option as one behind it; it is not shown, near a password"
        if reason:
            return reason
        options.update({name: value} if name != "ldapurl" else hba_options.url_parts(value) or {})
    return hba_options.combined_fault(method, options, libraries)


def _ident_fault(line: Line, major: int) -> str:
    """Return why a server refuses a line of pg_ident.conf, '' when it does not."""
    fields = line.fields
    if len(fields) < 3 or any(len(field) > 1 for field in fields[:3]):
        return (
            f"found {line.text.strip()!r}, expected MAP SYSTEM-USER DATABASE-USER, each one word (quote one that holds "
            "a blank, a comma or #)"
        )
    return _regex_fault(fields[1], 13, major) or _regex_fault(fields[2], 16, major)
