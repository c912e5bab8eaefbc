# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of pg_hba.conf and pg_ident.conf: writing them from rules, reading them as the server does, refusing bad ones.

The grammar is that of PostgreSQL's hba.c; the tables follow its documentation of pg_hba.conf, versions 12 to 19.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address

TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
_MAPPED = ("ident", "peer", "gss", "sspi", "cert", "oauth")
# Method -> its own options. Secrets among the options are masked wherever a line is shown.
METHODS: dict[str, tuple[str, ...]] = {
    "trust": (),
    "reject": (),
    "scram-sha-256": (),
    "md5": (),
    "password": (),
    "gss": ("include_realm", "krb_realm"),
    "sspi": ("include_realm", "krb_realm", "compat_realm", "upn_username"),
    "ident": (),
    "peer": (),
    "ldap": (
        "ldapurl", "ldaptls", "ldapscheme", "ldapserver", "ldapport", "ldapbinddn", "ldapbindpasswd",
        "ldapsearchattribute", "ldapsearchfilter", "ldapbasedn", "ldapprefix", "ldapsuffix",
    ),
    "radius": ("radiusservers", "radiusports", "radiussecrets", "radiusidentifiers"),
    "cert": (),
    "pam": ("pamservice", "pam_use_hostname"),
    "bsd": (),
    "oauth": ("issuer", "scope", "validator", "delegate_ident_mapping"),
}  # fmt: skip
_SINCE = {"oauth": 18}
_CLIENTCERT = ("verify-ca", "verify-full")
# Quotes may begin anywhere in NAME=VALUE, may not end, and a backslash at the end of a line joins the next one.
_SECRETS = re.compile(
    r'"(ldapbindpasswd|radiussecrets)=(?:[^"]|"")*"?'
    r'|\b(ldapbindpasswd|radiussecrets)=(?:\\\r?\n|"(?:[^"]|"")*"|"[^\n]*|[^\s"])*'
)
_RULE_KEYS = ("type", "database", "user", "address", "method")
_IDENT_KEYS = ("map", "system_user", "database_user")


class Token(NamedTuple):
    """A word of a line; quotes take the special meaning from keywords."""

    text: str
    quoted: bool


class Line(NamedTuple):
    """A line with something on it: its number and its fields, each a list of words that commas join."""

    number: int
    fields: list[list[Token]]
    text: str


def rule_line(rule: object, option: str = "rule") -> str:
    """Return the line of pg_hba.conf that a rule (a dictionary) describes. ``option`` names it in errors.

    Keys: type (hostssl), database (all), user, address (all), method, and the method's options by their names.
    Raises TlsError.
    """
    if not isinstance(rule, Mapping):
        raise TlsError(f"{option}: expected a dictionary with user and method, found {type(rule).__name__}.")
    for key in ("user", "method"):
        if not rule.get(key):
            raise TlsError(
                f"{option}: the rule has no {key}. Found {', '.join(map(str, rule)) or 'nothing'}; add {key}."
            )
    kind = str(rule.get("type", "hostssl"))
    fields = [kind, _words(rule.get("database", "all"), option), _words(rule["user"], option)]
    if kind != "local":
        fields.append(_words(rule.get("address", "all"), option))
    elif "address" in rule:
        raise TlsError(f"{option}: a rule of type local has no address; found {rule['address']!r}.")
    fields.append(str(rule["method"]))
    fields += [f"{name}={_word(value, option)}" for name, value in rule.items() if name not in _RULE_KEYS]
    line = " ".join(fields)
    _refuse_breaks(line, option)
    _check_line(read(line)[0], option)
    return line


def ident_line(mapping: object, option: str = "mapping") -> str:
    """Return the line of pg_ident.conf of a dictionary with map, system_user and database_user. Raises TlsError."""
    if not isinstance(mapping, Mapping) or sorted(mapping) != sorted(_IDENT_KEYS) or not all(mapping.values()):
        keys = ", ".join(map(str, mapping)) if isinstance(mapping, Mapping) else type(mapping).__name__
        raise TlsError(f"{option}: expected the keys {', '.join(_IDENT_KEYS)}, each with a value; found {keys}.")
    return " ".join(_word(mapping[key], option) for key in _IDENT_KEYS)


def identity_rules(hosts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one rule of method cert for each role in the hosts' postgres_client_identities.

    It names the databases of all identities of the role; one without ``databases`` may connect to any. Raises TlsError
    for an identity without a role.
    """
    databases: dict[str, list[str]] = {}
    for identity in (one for host in hosts for one in host.get("postgres_client_identities") or ()):
        if not isinstance(identity, Mapping) or not identity.get("role"):
            raise TlsError(
                f"postgres_client_identities: expected dictionaries with role and os_user, found {shown(identity)}."
            )
        named = identity.get("databases") or ["all"]
        if not isinstance(named, (list, tuple)):
            raise TlsError(
                f"postgres_client_identities: databases is {shown(named)}, expected a list of names, such as [shop]."
            )
        databases.setdefault(str(identity["role"]), []).extend(named)
    return [
        {"database": ["all"] if "all" in found else sorted(set(found)), "user": role, "method": "cert"}
        for role, found in sorted(databases.items())
    ]


def read(text: str) -> list[Line]:
    """Return the lines of a configuration text that hold something, a trailing backslash joining two (14+)."""
    lines, pending, first = [], "", 0
    raws = [raw.rstrip("\r") for raw in text.split("\n")]
    for number, raw in enumerate(raws, start=1):
        first = first if pending else number
        pending += raw[:-1] if raw.endswith("\\") else raw
        if raw.endswith("\\") and number < len(raws):
            continue
        fields = _fields(pending)
        if fields:
            lines.append(Line(first, fields, pending))
        pending = ""
    return lines


def check(text: str, major: int, ident: str, option: str) -> None:
    """Refuse rules that a server of version ``major`` would refuse, or that name a map ``ident`` does not have.

    ``ident`` is the whole text of pg_ident.conf as it is going to be. Raises TlsError.
    """
    maps = {line.fields[0][0].text for line in read(ident)}
    for line in read(text):
        place = f"{option} line {line.number}"
        method, options = _check_line(line, place)
        if major < _SINCE.get(method, 0):
            raise TlsError(f"{place}: method {method} needs PostgreSQL {_SINCE[method]}, this server is {major}.")
        if "clientname" in options and major < 14:
            raise TlsError(f"{place}: clientname needs PostgreSQL 14, this server is {major}.")
        if "map" in options and options["map"] not in maps:
            raise TlsError(
                f"{place}: map={options['map']} names a map that pg_ident.conf does not have; the server would refuse "
                "everybody without saying why. Add it to postgres_server_ident."
            )


def check_maps(text: str, major: int, option: str) -> None:
    """Refuse lines of pg_ident.conf that are no mappings. Raises TlsError."""
    for line in read(text):
        if major >= 16 and len(line.fields) == 2 and line.fields[0][0].text.startswith("include"):
            continue
        if len(line.fields) < 3 or any(len(field) > 1 for field in line.fields[:3]):
            raise TlsError(
                f"{option} line {line.number}: found {line.text.strip()!r}, expected MAP SYSTEM-USER DATABASE-USER, "
                "each one word (quote one that holds a blank, a comma or #). Correct the line."
            )


def masked(text: str) -> str:
    """Return a text of pg_hba.conf without the passwords that some methods take."""
    return _SECRETS.sub(lambda found: f"{found.group(1) or found.group(2)}=********", text)


def secrets(text: str) -> set[str]:
    """Return the passwords in a text of pg_hba.conf, with and without the quotes that PostgreSQL wants inside them."""
    values = {found.group().partition("=")[2].strip('"') for found in _SECRETS.finditer(text)}
    return {written for value in values for written in (value, value.replace('""', '"')) if written}


def refuse_plaintext(text: str) -> None:
    """Refuse a whole text of pg_hba.conf by which a connection over TCP without TLS could log in. Raises TlsError."""
    closed: set[str] = set()
    for line in read(text):
        kind, databases = line.fields[0][0].text, [token for field in line.fields[1:2] for token in field]
        method = line.fields[_method_at(line) : _method_at(line) + 1]
        never_plain = kind in ("local", "hostssl", "hostgssenc")
        if never_plain or (databases and all(_is_closed(one, closed) for one in databases)):
            continue
        if not method or method[0][0].text != "reject":
            raise TlsError(
                f"pg_hba.conf line {line.number} ({masked(line.text).strip()}) lets connections without TLS in, but "
                "postgres_server_plaintext is reject. Make it a rule of type hostssl, or set postgres_server_plaintext "
                "to allow and write rules of type hostnossl and method reject of your own."
            )
        if [[Token("all", quoted=False)]] * 2 == line.fields[2:4]:
            closed |= {token.text for token in databases if not token.quoted and token.text in ("all", "replication")}
        if len(closed) == 2:
            return


def _is_closed(database: Token, closed: set[str]) -> bool:
    """Return whether every connection without TLS to a database is refused; ``all`` does not match replication."""
    is_replication = database == Token("replication", quoted=False)
    return ("replication" if is_replication else "all") in closed


def _check_line(line: Line, place: str) -> tuple[str, dict[str, str]]:
    """Return method and options of a rule. Raises TlsError for what no version of the server takes."""
    kind = line.fields[0][0].text
    if kind not in TYPES:
        raise TlsError(f"{place}: type {kind!r} is unknown. Expected one of {', '.join(TYPES)}.")
    rest = line.fields[_method_at(line) :]
    for field in [line.fields[0], *line.fields[3 : _method_at(line) + 1]]:
        if len(field) > 1:
            listed = ",".join(token.text for token in field)
            raise TlsError(f"{place}: expected one value, found the list {listed!r}; write a rule for each.")
    if not rest:
        raise TlsError(f"{place}: the rule has no method: {masked(line.text)!r}. Expected {_form(kind)}.")
    method = rest[0][0].text
    if method not in METHODS:
        raise TlsError(f"{place}: method {method!r} is unknown. Expected one of {', '.join(METHODS)}.")
    options: dict[str, str] = {}
    for field in rest[1:]:
        # a comma inside a value (a list of servers) is part of the value
        name, equals, value = ",".join(token.text for token in field).partition("=")
        if not equals:
            found = "a word" if _SECRETS.search(line.text) else repr(name)  # which may be a part of a password
            raise TlsError(f"{place}: expected an option NAME=VALUE behind the method, found {found} without '='.")
        options[name] = value
    _check_options(kind, method, options, place)
    return method, options


def _check_options(kind: str, method: str, options: dict[str, str], place: str) -> None:
    allowed = METHODS[method] + (("map",) if method in _MAPPED else ())
    allowed += ("clientcert", "clientname") if kind == "hostssl" else ()
    for name in options:
        if name in ("clientcert", "clientname") and kind != "hostssl":
            raise TlsError(f"{place}: {name} works only on hostssl, this rule is {kind}. Make it hostssl.")
        if name not in allowed:
            raise TlsError(
                f"{place}: method {method} has no option {name!r}. It takes {', '.join(allowed) or 'no options'}."
            )
    if method == "cert" and kind != "hostssl":
        raise TlsError(f"{place}: method cert works only on hostssl, this rule is {kind}. Make it hostssl.")
    clientcert = options.get("clientcert")
    if clientcert is not None and clientcert not in _CLIENTCERT:
        raise TlsError(f"{place}: clientcert={clientcert}, expected one of {', '.join(_CLIENTCERT)}.")
    if method == "cert" and clientcert == "verify-ca":
        raise TlsError(f"{place}: method cert always means clientcert=verify-full; leave clientcert=verify-ca out.")
    if options.get("clientname", "CN") not in ("CN", "DN"):
        raise TlsError(f"{place}: clientname={options['clientname']}, expected CN or DN.")


def _method_at(line: Line) -> int:
    """Return the index of the method's field: an address may be followed by a mask in a field of its own."""
    if line.fields[0][0].text == "local":
        return 3
    has_address = len(line.fields) > 3
    return 5 if has_address and packed_address(line.fields[3][0].text) is not None else 4


def _form(kind: str) -> str:
    return "local DATABASE USER METHOD" if kind == "local" else f"{kind} DATABASE USER ADDRESS METHOD"


def _words(value: object, option: str) -> str:
    parts: Sequence[object] = value if isinstance(value, (list, tuple)) else [value]
    if not parts:
        raise TlsError(f"{option}: found an empty list where a name was expected.")
    return ",".join(_word(part, option) for part in parts)


def _word(value: object, option: str) -> str:
    """Return one word, quoted where the grammar needs it; who writes quotes around it has them kept."""
    if isinstance(value, (Mapping, list, tuple)) or value is None or value == "":
        found = repr(value) if not value else f"a {type(value).__name__}"  # which may hold a password
        raise TlsError(f"{option}: expected a word, found {found}.")
    if isinstance(value, bool):
        return "1" if value else "0"
    text = str(value)
    _refuse_breaks(text, option)
    if re.fullmatch(r'"(?:[^"]|"")*"', text) or not re.search(r'[\s,"#]|\\$', text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _refuse_breaks(text: str, option: str) -> None:
    if re.search(r"[\0\r\n]", text):
        raise TlsError(f"{option}: a value holds a line break or a NUL; a rule is one line.")  # it may be a password


def _fields(line: str) -> list[list[Token]]:
    fields: list[list[Token]] = []
    at, joined = 0, False
    while True:
        token, at, comma = _token(line, at)
        if token is None:
            return fields
        if joined:
            fields[-1].append(token)
        else:
            fields.append([token])
        joined = comma


def _token(line: str, at: int) -> tuple[Token | None, int, bool]:
    """Return the next word from ``at``, the position behind it, and whether a comma closes it."""
    while at < len(line) and line[at] in " \t\r,":
        at += 1
    text, in_quote, was_quote, saw_quote, quoted = "", False, False, False, line[at : at + 1] == '"'
    while at < len(line) and (in_quote or line[at] not in " \t\r"):
        char = line[at]
        if not in_quote and char == "#":
            at = len(line)
            break
        if not in_quote and char == ",":
            return Token(text, quoted), at + 1, True
        if char != '"' or was_quote:
            text += char
        was_quote = in_quote and char == '"' and not was_quote
        if char == '"':
            in_quote, saw_quote = not in_quote, True
        at += 1
    return (Token(text, quoted) if saw_quote or text else None), at, False
