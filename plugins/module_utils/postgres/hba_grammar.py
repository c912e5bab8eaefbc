# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server would refuse in a text of pg_hba.conf or pg_ident.conf, found before the server sees it.

It follows parse_hba_line, load_hba and parse_ident_line of PostgreSQL's hba.c, versions 13 to 19: a text has a problem
when a reload would refuse it, and in the lines where the server would find one.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    hba_options,
    includes,
    lexer,
    redaction,
    regex_syntax,
)
from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import TYPES, Line, Token
from ansible_collections.pgops.tls.plugins.module_utils.postgres.rule import Rule, is_word, numeric, read

# Method -> types of rules that it works on, where not on all
_PLACES = {"cert": ("hostssl",), "peer": ("local",), "gss": TYPES[1:]}


class Problem(NamedTuple):
    """A line for which a server refuses a text: its file ('' for the text itself), its number (0: the whole), why."""

    file: str
    line: int
    reason: str


def problems(
    text: str,
    major: int,
    *,
    ident: bool = False,
    path: str = "",
    libraries: Sequence[str] | None = None,
    lacks: Sequence[str] = (),
) -> list[Problem]:
    """Return why a server of version ``major`` would refuse a text; an empty list when it would take it.

    ``ident``: it is one of pg_ident.conf. ``path`` is where its file is or is going to be; without one, files that it
    includes are taken for right. ``libraries`` are those of oauth_validator_libraries, None when they are not known.
    ``lacks`` are the methods that the server was built without.

    What cannot be decided counts as right: regular expressions of a kind that ``regex_syntax`` does not decide, whether
    the server's resolver knows a name in radiusservers.
    """
    if path:
        lines: Iterable[tuple[str, Line]] = includes.followed(text, includes.Source(path, major))
    else:
        lines = (("", line) for line in lexer.read(text, major) if not lexer.is_directive(line, major))
    found, is_empty = [], True
    for file, line in lines:
        is_empty = False
        reason = line.error or (
            _ident_fault(line, major) if ident else fault(read(line, file, elsewhere=not path), major, libraries, lacks)
        )
        if reason:
            found.append(Problem("" if file == path else file, line.number, reason))
    if is_empty and path and not ident:
        found.append(Problem("", 0, "it has no rule, expected at least one"))
    return found


def fault(rule: Rule, major: int, libraries: Sequence[str] | None = None, lacks: Sequence[str] = ()) -> str:
    """Return why a server refuses a rule, '' when it does not; see ``problems``."""
    fields, kind, at = rule.line.fields, rule.kind, rule.method_at
    if rule.line.error:
        return rule.line.error
    if any(len(field) > 1 for field in fields[:1]) or kind not in TYPES:
        return _list_fault(fields[:1]) or f"type {kind!r} is unknown. Expected one of {', '.join(TYPES)}"
    reason = _regex_fault((*rule.databases, *rule.users), 16, major) or _list_fault(fields[3 : at + 1])
    reason = reason or _address_fault(rule)
    if not reason and not rule.is_sound:
        form = "local DATABASE USER METHOD" if kind == "local" else f"{kind} DATABASE USER ADDRESS METHOD"
        reason = f"the rule has no method: {redaction.masked(rule.line.text)!r}. Expected {form}"
    return reason or _method_fault(kind, rule.method, major, lacks) or _options_fault(rule, major, libraries)


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


def _address_fault(rule: Rule) -> str:
    """Return why a server makes nothing of an address."""
    token = rule.address
    if token is None or is_word(token) or rule.network is not None or rule.host is not None:
        return ""
    address, slash, _bits = token.text.partition("/")
    packed = numeric(address)
    largest = 128 if packed is None else len(packed) * 8
    if slash and packed is None:
        return f"address {token.text!r} has a mask but is no address; expected ADDRESS/BITS or a host name alone"
    if slash:
        return f"address {token.text!r}, expected 0 to {largest} after the slash"
    mask = rule.line.fields[4][0].text if len(rule.line.fields) > 4 else ""
    if numeric(mask) is None:
        return f"address {token.text!r} has no mask; expected {address}/{largest}, or a mask in the next field"
    return f"mask {mask!r} does not belong to address {token.text!r}; expected one like 255.255.255.0 or ffff::"


def _method_fault(kind: str, method: str, major: int, lacks: Sequence[str]) -> str:
    if method not in hba_options.METHODS:
        return f"method {method!r} is unknown. Expected one of {', '.join(hba_options.METHODS)}"
    if method in hba_options.NOT_BUILT:
        return f"method {method} does not exist on Linux. Expected another one"
    if major < hba_options.SINCE.get(method, 0):
        return f"method {method} needs PostgreSQL {hba_options.SINCE[method]}, this server is {major}"
    if major > hba_options.UNTIL.get(method, major):
        return f"method {method} was removed in PostgreSQL {hba_options.UNTIL[method] + 1}, this server is {major}"
    if method in lacks:
        wanted = f"--with-{hba_options.OPTIONAL[method]}"
        return f"this server was built without method {method} ({wanted}). Expected another one"
    places = _PLACES.get(method, TYPES)
    return (
        ""
        if kind in places
        else f"method {method} works only on {', '.join(places)}, this rule is {kind}"
        + (f". Make it {places[0]}" if len(places) == 1 else ". Take another method")
    )


def _options_fault(rule: Rule, major: int, libraries: Sequence[str] | None) -> str:
    kind, method, line = rule.kind, rule.method, rule.line
    options: dict[str, str] = {}
    for token in (token for field in line.fields[rule.method_at + 1 :] for token in field):
        name, equals, value = token.text.partition("=")
        hides = any(secret in line.text for secret in redaction.OPTIONS)  # of which a word may be a part
        if not equals:
            found = "a word" if hides else repr(name)
            return f"expected an option NAME=VALUE after the method, found {found} without '='"
        reason = hba_options.fault(kind, method, name, value, major)
        if reason and hides and name not in hba_options.allowed(kind, method, major):
            return (
                f"method {method} does not have one of the options after it; the option is not shown, because it may "
                "be part of a password"
            )
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
