# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection strings as libpq reads them (conninfo_parse and conninfo_uri_parse in fe-connect.c), without a connection.

They may hold passwords. So no error quotes one, and ``shown`` gives only what anybody may see.
"""

from __future__ import annotations

import re
from typing import Mapping
from urllib.parse import unquote

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

Parameters = Mapping[str, str]

SCHEMES = ("postgresql://", "postgres://")
# What may be in results, messages and the arguments of a process. Whatever else there is could be a secret.
SHOWN = (
    "host", "hostaddr", "port", "user", "dbname", "service", "application_name",
    "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl",
)  # fmt: skip
SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
_SPACE = " \t\n\v\f\r"
_PLAIN = re.compile(r"[A-Za-z0-9_.]+")
# A value in quotes, or one that ends at white space; a backslash takes the next character as it is
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_BARE = re.compile(r"((?:[^\\\s]|\\.|\\$)*)", re.DOTALL | re.ASCII)
_KEYWORD = re.compile(r"\s*([^=\s]+)\s*=\s*", re.ASCII)


def parse(text: str) -> dict[str, str]:
    """Return the parameters of a connection string of either form. Raises TlsError, which quotes none of it."""
    if text.startswith(SCHEMES):
        return _of_uri(text.partition("://")[2])
    found: dict[str, str] = {}
    at = 0
    while text[at:].strip(_SPACE):
        keyword = _KEYWORD.match(text, at)
        value = keyword and (_QUOTED if text[keyword.end() :].startswith("'") else _BARE).match(text, keyword.end())
        if keyword is None or value is None:
            raise _unreadable("a value of KEYWORD = VALUE is missing, or its closing quote")
        found[keyword[1]] = re.sub(r"\\(.?)", r"\1", value[1], flags=re.DOTALL)
        at = value.end()
    return found


def render(parameters: Parameters) -> str:
    """Return parameters as a connection string of keywords and values."""
    return " ".join(f"{name}={_quoted(value)}" for name, value in parameters.items())


def shown(parameters: Parameters) -> dict[str, str]:
    """Return the parameters that may be shown."""
    return {name: parameters[name] for name in SHOWN if parameters.get(name)}


def in_words(parameters: Parameters) -> str:
    """Return where a connection leads, for a message."""
    named = [f"{name} {parameters[name]}" for name in ("host", "hostaddr", "port", "user") if parameters.get(name)]
    return ", ".join(named) or "no host"


def with_service(parameters: Parameters, service_file: str) -> dict[str, str]:
    """Return parameters with those that they lack and their service, in the text of a service file, has."""
    name, found, is_inside = parameters.get("service"), {}, False
    for line in (one.strip() for one in service_file.splitlines()):
        if line.startswith("["):
            if is_inside:
                break
            is_inside = line.startswith(f"[{name}]")
        elif is_inside and "=" in line and not line.startswith("#"):
            key, _equals, value = line.partition("=")
            found[key] = value
    return {**found, **parameters}


def uses_network(parameters: Parameters) -> bool:
    """Return whether a connection is one over TCP; there is no TLS over Unix sockets."""
    hosts = [one for one in parameters.get("host", "").split(",") if one]
    return bool(parameters.get("hostaddr")) or any(not one.startswith(("/", "@")) for one in hosts)


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _of_uri(rest: str) -> dict[str, str]:
    found: dict[str, str] = {}
    user = re.match(r"([^@/]*)@", rest)
    if user:
        name, colon, password = user[1].partition(":")
        found.update(user=_decoded(name), **({"password": _decoded(password)} if colon else {}))
        rest = rest[user.end() :]
    place, question, query = rest.partition("?")
    hosts, _slash, database = place.partition("/")
    ways = [_host_and_port(one) for one in hosts.split(",")]
    for name, values in (("host", [one for one, _port in ways]), ("port", [one for _host, one in ways])):
        if any(values):
            found[name] = ",".join(values)
    found.update({"dbname": _decoded(database)} if database else {})
    for one in query.split("&") if question and query else ():
        name, equals, value = one.partition("=")
        if not equals or "=" in value:
            raise _unreadable("a parameter of the URI is not NAME=VALUE")
        name, value = _decoded(name), _decoded(value)
        found.update({"sslmode": "require"} if (name, value) == ("ssl", "true") else {name: value})
    return {name: value for name, value in found.items() if value}


def _host_and_port(text: str) -> tuple[str, str]:
    found = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]*))(?::(.*))?", text)
    if not found:
        raise _unreadable("a host of the URI is damaged")
    return _decoded(found[1] or found[2] or ""), _decoded(found[3] or "")


def _decoded(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", text):
        raise _unreadable("a percent sign of the URI begins no character")
    return unquote(text)


def _unreadable(why: str) -> TlsError:
    return TlsError(f"The connection string cannot be read: {why}.", code="conninfo_invalid")
