# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ssl settings of PostgreSQL 12 to 19, for those who have no server to ask.

The table follows guc_tables.c (guc.c up to 15); a test compares it with pg_settings of each version that it has.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

_PROTOCOLS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
BOOLEANS = ("on", "off", "true", "false", "yes", "no", "1", "0")  # what is unambiguous of them
_ALIKE = 0.85  # of difflib: a letter or two


class Known(NamedTuple):
    """A setting as pg_settings shows it, and the first and last major version that has it so."""

    name: str
    type: str
    default: str = ""
    choices: tuple[str, ...] = ()
    since: int = 0
    until: int = 99
    context: str = "sighup"


TABLE = (
    Known("ssl", "bool", "off"),
    Known("ssl_ca_file", "string"),
    Known("ssl_cert_file", "string", "server.crt"),
    Known("ssl_ciphers", "string", "HIGH:MEDIUM:+3DES:!aNULL"),
    Known("ssl_crl_dir", "string", since=14),
    Known("ssl_crl_file", "string"),
    Known("ssl_dh_params_file", "string"),
    Known("ssl_ecdh_curve", "string", "prime256v1", until=17),
    Known("ssl_groups", "string", "X25519:prime256v1", since=18),
    Known("ssl_key_file", "string", "server.key"),
    Known("ssl_library", "string", "OpenSSL", context="internal"),
    Known("ssl_max_protocol_version", "enum", "", ("", *_PROTOCOLS)),
    Known("ssl_min_protocol_version", "enum", "TLSv1", _PROTOCOLS, until=12),
    Known("ssl_min_protocol_version", "enum", "TLSv1.2", _PROTOCOLS, since=13),
    Known("ssl_passphrase_command", "string"),
    Known("ssl_passphrase_command_supports_reload", "bool", "off"),
    Known("ssl_prefer_server_ciphers", "bool", "on"),
    Known("ssl_sni", "bool", "off", since=19),
    Known("ssl_tls13_ciphers", "string", since=18),
)


def of_version(major: int) -> dict[str, Known]:
    """Return the settings of a major version by their names."""
    return {one.name: one for one in TABLE if one.since <= major <= one.until}


def problem(name: str, value: str) -> str:
    """Return why no server can take a setting, '' where only a server can say: it may be newer than this table."""
    known = next((one for one in TABLE if one.name == name), None)
    if known is None:
        meant = difflib.get_close_matches(name, [one.name for one in TABLE], n=1, cutoff=_ALIKE)
        return f"there is no setting {name!r}. Write {meant[0]}" if meant else ""
    if known.context == "internal":
        return f"{name} only shows what the server was built with; leave it out"
    choices = BOOLEANS if known.type == "bool" else known.choices
    if choices and value.lower() not in [choice.lower() for choice in choices]:
        listed = "on or off" if known.type == "bool" else "one of " + ", ".join(map(repr, choices))
        return f"{name} is {value!r}, expected {listed}"
    return ""
