# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the methods in pg_hba.conf: which a version knows, what it takes for them, and which exclude others.

It follows parse_hba_auth_opt, and the end of parse_hba_line, of PostgreSQL's hba.c.
"""

from __future__ import annotations

import re
from typing import Callable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.postgres.rule import NUMBER, numeric

# Method -> its own options
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
SINCE, UNTIL = {"oauth": 18}, {"radius": 18}
NOT_BUILT = ("sspi", "bsd")  # for Windows and OpenBSD; what runs on Linux refuses them
# Method -> the option of configure without which a server has been built without it
OPTIONAL = {"gss": "gssapi", "ldap": "ldap", "pam": "pam"}
_MAPPED = ("ident", "peer", "gss", "sspi", "cert", "oauth")
_SEARCH = ("ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter")
_SCOPES = ("base", "one", "onelevel", "sub", "subtree", "subordinate", "children")
_URL = re.compile(r"(<?)(?:url:)?(p?ldaps?|ldapi|cldap)://(.*)", re.IGNORECASE | re.DOTALL)
_LISTED = re.compile(r'[ \t\n\r\f\v]*("(?:[^"]|"")*"|[^\s",][^\s,]*)[ \t\n\r\f\v]*(,|\Z)', re.ASCII)
_UNTIL_13 = {"1": "Write clientcert=verify-ca", "0": "Leave it out", "no-verify": "Leave it out"}
_CUSTOM = re.compile(r"validator\.[A-Za-z0-9_-]+")  # options that a validator of PostgreSQL 19 defines


def lacking(configure: str) -> list[str]:
    """Return which methods a server lacks, given what pg_config says of its build under ``CONFIGURE``.

    Every build that knows TLS has an option for it. Where there is none, it was made in another way, and nothing is
    known of its methods.
    """
    options = re.findall(r"--with-([a-z]+)(?:=([^'\s]*))?", configure)
    given = {name for name, value in options if value != "no"}
    is_known = given & {"openssl", "ssl"}
    return [method for method, name in OPTIONAL.items() if name not in given] if is_known else []


def allowed(kind: str, method: str, major: int) -> tuple[str, ...]:
    """Return the options that a rule of this type and method takes."""
    names = METHODS[method] + (("map",) if method in _MAPPED else ())
    if kind == "hostssl":
        names += ("clientcert", "clientname") if major >= 14 else ("clientcert",)
    return names


def fault(kind: str, method: str, name: str, value: str, major: int) -> str:
    """Return what is wrong with one option of a rule, '' for nothing. No value that may be a password is shown."""
    taken = allowed(kind, method, major)
    if name in ("clientcert", "clientname") and kind != "hostssl":
        return f"{name} works only on hostssl, this rule is {kind}. Make it hostssl"
    if name == "clientname" and major < 14:
        return f"clientname needs PostgreSQL 14, this server is {major}"
    if name not in taken and not (method == "oauth" and major >= 19 and _CUSTOM.fullmatch(name)):
        reason = f"method {method} has no option {name!r}. It takes {', '.join(taken) or 'no options'}"
        is_for_certificate = name == "map" and kind == "hostssl"
        return f"{reason}. With this method, the CN of a certificate must be the role" if is_for_certificate else reason
    if name == "clientcert":
        return _clientcert_fault(method, value, major)
    if name == "clientname" and value not in ("CN", "DN"):
        return f"clientname={value}, expected CN or DN"
    check = _CHECKS.get(name)
    return check(name, value) if check else ""


def combined_fault(method: str, options: Mapping[str, str], libraries: Sequence[str] | None) -> str:
    """Return what is wrong with all options of a rule together, '' for nothing.

    ``libraries`` are those of the setting oauth_validator_libraries, None when they are not known.
    """
    if method == "ldap":
        return _ldap_fault(options)
    if method == "radius":
        return _radius_fault(options)
    return _oauth_fault(options, libraries) if method == "oauth" else ""


def listed(value: str) -> list[str] | None:
    """Return the words of a list in a value, None for what is no list; inside it quotes hold blanks and commas."""
    words, at = [], 0
    if not value.strip(" \t\n\r\f\v"):
        return []
    while True:
        found = _LISTED.match(value, at)
        if found is None:
            return None
        word, at = found.group(1), found.end()
        words.append(word[1:-1].replace('""', '"') if word[0] == '"' else word)
        if not found.group(2):
            return words


def number(text: str) -> int:
    """Return the number that a text begins with as C's atoi does, 0 for none."""
    found = NUMBER.match(text)
    value = int(found.group(1)[:30]) if found else 0
    value = max(-(2**63), min(2**63 - 1, value)) & 0xFFFFFFFF
    return value - 2**32 if value >= 2**31 else value


def _clientcert_fault(method: str, value: str, major: int) -> str:
    if major < 14:
        expected = ("verify-ca", "verify-full", "1") + (() if method == "cert" else ("no-verify", "0"))
    elif method == "cert" and value == "verify-ca":
        return "method cert always means clientcert=verify-full; leave clientcert=verify-ca out"
    else:
        expected = ("verify-ca", "verify-full")
    if value in expected:
        return ""
    reason = f"clientcert={value}, expected one of {', '.join(expected)}"
    if major >= 14 and value in _UNTIL_13:
        reason += (
            ". Leave it out" if method == "cert" else f". {_UNTIL_13[value]}: this is how PostgreSQL 14 and later work"
        )
    return reason


def _port_fault(name: str, value: str) -> str:
    return "" if number(value) else f"{name}={value}, expected the number of a port"


def _list_fault(name: str, value: str) -> str:
    words = listed(value)
    if words is None:
        shown = "" if name == "radiussecrets" else f"={value}"
        return f"{name}{shown} is no list; expected values separated by commas, in quotes if they contain a blank"
    if name == "radiusports" and not all(map(number, words)):
        return f"{name}={value}, expected numbers of ports"
    if name == "radiusservers":
        unknown = [word for word in words if numeric(word) is None and not _may_be_name(word)]
        return f"{name}={value}, expected names or addresses, found {unknown[0]!r}" if unknown else ""
    return ""


def _may_be_name(word: str) -> bool:
    """Return whether a server's resolver may know a name; whether it does cannot be decided here."""
    return re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", word) is not None and ".." not in word


def url_parts(url: str) -> dict[str, str] | None:
    """Return what an LDAP URL sets (options by their names), None when OpenLDAP or the server refuses it."""
    found = _URL.fullmatch(url)
    if found is None or found.group(2).lower() not in ("ldap", "ldaps"):
        return None
    rest = found.group(3)
    if found.group(1):
        if not rest.endswith(">"):
            return None
        rest = rest[:-1]
    host, slash, path = rest.partition("/")
    if not _is_host_and_port(host if slash else host.partition("?")[0]):
        return None
    if not slash:
        return {}
    base, attributes, scope, search, extensions = (path.split("?") + [""] * 4)[:5]
    wrong = path.count("?") > 4 or (path.count("?") == 4 and not extensions.strip(","))
    if wrong or (scope and _unescaped(scope).lower() not in _SCOPES) or (search and not _unescaped(search)):
        return None
    parts = {"ldapbasedn": _unescaped(base)}
    parts.update({"ldapsearchattribute": _unescaped(attributes)} if attributes else {})
    parts.update({"ldapsearchfilter": _unescaped(search)} if search else {})
    return parts


def _is_host_and_port(text: str) -> bool:
    if text.startswith("["):
        _address, bracket, port = text.partition("]")
        if not bracket or (":" in port and not port.startswith(":")):
            return False
        colon, port = port[:1] == ":", port[1:]
    else:
        _host, separator, port = text.partition(":")
        colon = bool(separator)
    return not colon or NUMBER.fullmatch(_unescaped(port)) is not None


def _unescaped(text: str) -> str:
    """Return a part of an LDAP URL without %XX; a % that is none makes nothing of it."""
    if re.search(r"%(?![0-9a-fA-F]{2})", text):
        return ""
    return re.sub(r"%(..)", lambda found: chr(int(found.group(1), 16)), text).partition("\0")[0]


def _url_fault(name: str, value: str) -> str:
    return "" if url_parts(value) is not None else f"{name} is no URL of LDAP; expected ldap[s]://HOST[:PORT]/BASEDN"


def _ldap_fault(options: Mapping[str, str]) -> str:
    if "ldapprefix" in options or "ldapsuffix" in options:
        mixed = [name for name in _SEARCH if name in options]
        if mixed:
            return f"ldapprefix and ldapsuffix cannot be combined with {', '.join(_SEARCH)}; found {', '.join(mixed)}"
        return ""
    if "ldapbasedn" not in options:
        return "method ldap needs ldapbasedn, ldapprefix or ldapsuffix, or an ldapurl with a base DN; found none"
    if "ldapsearchattribute" in options and "ldapsearchfilter" in options:
        return "found ldapsearchattribute and ldapsearchfilter, expected one of them"
    return ""


def _radius_fault(options: Mapping[str, str]) -> str:
    counts = {name: len(listed(options.get(name, "")) or ()) for name in METHODS["radius"]}
    servers = counts["radiusservers"]
    for name in ("radiusservers", "radiussecrets"):
        if not counts[name]:
            return f"method radius needs {name}, found none"
    for name, count in counts.items():
        if count not in (0, 1, servers):
            return f"{name} has {count} values, expected 1 or one for each of the {servers} radiusservers"
    return ""


def _oauth_fault(options: Mapping[str, str], libraries: Sequence[str] | None) -> str:
    for name in ("scope", "issuer"):
        if name not in options:
            return f"method oauth needs {name}, found none"
    if libraries is not None and not libraries:
        return "method oauth needs the setting oauth_validator_libraries, found an empty one"
    if libraries is not None and "validator" not in options and len(libraries) > 1:
        return f"method oauth needs validator, one of oauth_validator_libraries ({', '.join(libraries)}); found none"
    if libraries is not None and options.get("validator", libraries[0]) not in libraries:
        return f"validator={options['validator']}, expected one of oauth_validator_libraries ({', '.join(libraries)})"
    if options.get("delegate_ident_mapping") == "1" and "map" in options:
        return "found map and delegate_ident_mapping=1, expected one of them"
    return ""


_CHECKS: dict[str, Callable[[str, str], str]] = {
    "ldapport": _port_fault,
    "ldapurl": _url_fault,
    **dict.fromkeys(METHODS["radius"], _list_fault),
}
