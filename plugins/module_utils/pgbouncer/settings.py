# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer's settings: what a user may set of its TLS towards clients, what it would not load, what is in force."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Iterable, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rehearsal

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl
else:
    openssl = lazy_import("x509.openssl")

SSLMODES = ("allow", "prefer", "require", "verify-ca", "verify-full")
# What a user may set beside the files and modes; what concerns PostgreSQL stays in the user's own lines
SETTINGS = (
    "client_tls_protocols",
    "client_tls_ciphers",
    "client_tls13_ciphers",
    "client_tls_ecdhcurve",
    "client_tls_dheparams",
)
_VALUE = re.compile(r"[A-Za-z0-9_.,:+!@=/\- ]{1,4096}")
# Words of PgBouncer itself, and the names of its options that OpenSSL reads as PgBouncer does
_WORDS = ("default", "secure", "compat", "legacy", "all", "normal", "fast", "auto")
_PROTOCOLS = ("tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3", "tlsv1", "all", "secure", "legacy")


def refuse_setting(name: object, value: object) -> None:
    """Raise TlsError for a setting that is not for users to set, or a value that could be more than one."""
    if name not in SETTINGS:
        raise TlsError(
            f"{option('settings')}: found {shown(name)}, expected some of {', '.join(SETTINGS)}.",
            remedy="This collection sets the other client_tls_* and server_tls_* settings itself.",
            code="pooler_setting_unknown",
        )
    if not isinstance(value, str) or not _VALUE.fullmatch(value) or value != value.strip():
        raise TlsError(
            f"{option('settings')}: {name} is {shown(value)}, expected a text on one line, such as secure.",
            code="setting_value_invalid",
        )


def refuse_unknown(names: Iterable[str], config: Mapping[str, str], version: tuple[int, int]) -> None:
    """Raise TlsError for settings that this version does not know; ``config`` has all that it knows."""
    unknown = [name for name in names if name not in config]
    if unknown:
        raise TlsError(
            f"{option('settings')}: PgBouncer {version[0]}.{version[1]} does not know {', '.join(unknown)}. "
            "Nothing was changed.",
            remedy="Leave it out for this version.",
            code="pooler_setting_unknown",
        )


def refuse_values(settings: Mapping[str, str], user: Account) -> None:
    """Raise TlsError for a value that PgBouncer would not load: a reload would keep the old ones.

    Commands run as ``user``.
    """
    ciphers = settings.get("client_tls_ciphers", "default")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if ciphers not in _WORDS:
            context.set_ciphers(ciphers)
    except ssl.SSLError as error:
        raise _refused("client_tls_ciphers", ciphers, rehearsal.reason(error)) from error
    suites = settings.get("client_tls13_ciphers", "")  # which Python cannot set
    objection = openssl.objections("-ciphersuites", suites, user) if suites else ""
    if objection:
        raise _refused("client_tls13_ciphers", suites, objection)
    for word in settings.get("client_tls_protocols", "secure").replace(":", ",").split(","):
        if word.strip().lower().lstrip("!") not in _PROTOCOLS:
            raise _refused("client_tls_protocols", word, f"expected some of {', '.join(_PROTOCOLS)}")
    curve = settings.get("client_tls_ecdhcurve", "auto")
    try:
        if curve not in ("none", "auto"):
            context.set_ecdh_curve(curve)
    except (ssl.SSLError, ValueError) as error:
        raise _refused("client_tls_ecdhcurve", curve, rehearsal.reason(error)) from error
    if settings.get("client_tls_dheparams", "auto") not in ("none", "auto", "legacy"):
        raise _refused("client_tls_dheparams", settings["client_tls_dheparams"], "expected none, auto or legacy")


def not_in_force(wanted: Mapping[str, str], config: Mapping[str, str]) -> list[str]:
    """Return which of the ``wanted`` settings have another value among those in force, in words."""
    return [
        f"{name} is {config.get(name, 'unknown')!r} in force, expected {value!r}"
        for name, value in wanted.items()
        if config.get(name) != value
    ]


def _refused(name: str, value: str, why: str) -> TlsError:
    return TlsError(
        f"{option('settings')}: {name} is {value!r}: {why}. Nothing was changed.",
        remedy="Correct it.",
        code="tls_setting_refused",
    )
