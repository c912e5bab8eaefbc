# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal of a server's new generation, before anything live is touched."""

from __future__ import annotations

import os
import ssl

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import plan
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rehearsal

# Settings whose value Python's OpenSSL can judge beforehand; the server judges the others.
_CURVE = "ssl_ecdh_curve"


def rehearse(target: Target, directory: str) -> None:
    """Make a TLS handshake in memory with the files in ``directory`` for every declared name. Raises TlsError."""
    pair = rehearsal.Pair(os.path.join(directory, plan.CERTIFICATE), os.path.join(directory, plan.KEY))
    context = rehearsal.server_context(pair, target.trusted_clients, target.settings.get("ssl_ciphers", ""))
    _set_curve(context, target.settings.get(_CURVE, ""))
    client = rehearsal.client_context(target.roots)
    for name in target.names:
        rehearsal.handshake(context, client, name.value.replace("*", "any", 1))


def _set_curve(context: ssl.SSLContext, curve: str) -> None:
    try:
        if curve:
            context.set_ecdh_curve(curve)
    except (ValueError, ssl.SSLError) as error:
        raise TlsError(f"{_CURVE}: {curve!r} is no curve that OpenSSL knows: {rehearsal.reason(error)}.") from error
