# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal of a PgBouncer's new generation: handshakes in memory, before anything is touched."""

from __future__ import annotations

import ssl

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl, rehearsal

# Words of PgBouncer itself, and the names of its options that OpenSSL reads as PgBouncer does
_WORDS = ("default", "secure", "compat", "legacy", "all", "normal", "fast", "auto")
_PROTOCOLS = ("tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3", "tlsv1", "all", "secure", "legacy")


def refuse_settings(target: Target, user: Account) -> None:
    """Raise TlsError for a value of ``settings`` that PgBouncer would not load: a reload would keep the old ones.

    Commands run as ``user``.
    """
    ciphers = target.settings.get("client_tls_ciphers", "default")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if ciphers not in _WORDS:
            context.set_ciphers(ciphers)
    except ssl.SSLError as error:
        raise _refused("client_tls_ciphers", ciphers, rehearsal.reason(error)) from error
    suites = target.settings.get("client_tls13_ciphers", "")  # which Python cannot set
    objection = openssl.objections("-ciphersuites", suites, user) if suites else ""
    if objection:
        raise _refused("client_tls13_ciphers", suites, objection)
    for word in target.settings.get("client_tls_protocols", "secure").replace(":", ",").split(","):
        if word.strip().lower().lstrip("!") not in _PROTOCOLS:
            raise _refused("client_tls_protocols", word, f"expected some of {', '.join(_PROTOCOLS)}")
    curve = target.settings.get("client_tls_ecdhcurve", "auto")
    try:
        if curve not in ("none", "auto"):
            context.set_ecdh_curve(curve)
    except (ssl.SSLError, ValueError) as error:
        raise _refused("client_tls_ecdhcurve", curve, rehearsal.reason(error)) from error
    if target.settings.get("client_tls_dheparams", "auto") not in ("none", "auto", "legacy"):
        raise _refused("client_tls_dheparams", target.settings["client_tls_dheparams"], "expected none, auto or legacy")


def _refused(name: str, value: str, why: str) -> TlsError:
    return TlsError(
        f"{option('settings')}: {name} is {value!r}: {why}. Nothing was changed.",
        remedy="Correct it.",
        code="tls_setting_refused",
    )
