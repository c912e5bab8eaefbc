# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal of a server's new generation, or of its settings alone, before anything live is touched."""

from __future__ import annotations

import os
import ssl
from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.postgres import passphrase, wire
from ansible_collections.pgops.tls.plugins.module_utils.server.found import CERTIFICATE, KEY
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl, rehearsal

_CURVE = "ssl_ecdh_curve"
_OPAQUE_CURVES = ("X25519", "X448")  # PostgreSQL up to 17 cannot use them: it needs the parameters of a curve
_DH = "ssl_dh_params_file"
_PROTOCOLS = {"ssl_min_protocol_version": "minimum_version", "ssl_max_protocol_version": "maximum_version"}
# Python cannot set these; the command has an option for each that OpenSSL reads in the same way.
_BY_COMMAND = {"ssl_groups": "-groups", "ssl_tls13_ciphers": "-ciphersuites"}
_JUDGED = ("ssl_ciphers", _CURVE, _DH, *_PROTOCOLS, *_BY_COMMAND)


class DataDirectory(NamedTuple):
    """The directory that relative paths start from, and the OS user who runs the server and commands for it.

    ``command`` is the ssl_passphrase_command that the server will have.
    """

    data_directory: str
    account: Account
    command: str = ""

    def passphrase(self, key: bytes) -> str:
        """Return the passphrase of a key (PEM), '' if it needs none. Raises TlsError when the command has none."""
        if not passphrase.is_needed(key) or not self.command:
            return ""
        return passphrase.ask(self.command, self.data_directory, self.account)


def rehearse(target: Target, directory: str, place: DataDirectory) -> None:
    """Make a TLS handshake in memory with the files in ``directory`` for every declared name. Raises TlsError."""
    key = os.path.join(directory, KEY)
    pair = rehearsal.Pair(os.path.join(directory, CERTIFICATE), key, place.passphrase(files.read(key) or b""))
    rehearse_pair(target, pair, place)


def rehearse_pair(target: Target, pair: rehearsal.Pair, place: DataDirectory) -> None:
    """Do so with a certificate and key wherever they are. Raises TlsError."""
    context = server_context(target, pair, place)
    client = rehearsal.client_context(target.roots)
    for name in target.names:
        rehearsal.handshake(context, client, name.value.replace("*", "any", 1))


def rehearse_settings(target: Target, place: DataDirectory) -> None:
    """Make a handshake with the target's settings and a temporary certificate in memory.

    Does nothing without settings that OpenSSL checks. Raises TlsError.
    """
    if not any(target.settings.get(name) for name in _JUDGED):
        return
    if not rehearsal.HAS_MEMORY_FILES:  # the staged files are rehearsed anyway
        return
    with rehearsal.memory_file(openssl.throw_away(target.key_type, place.account).encode("ascii")) as path:
        context = server_context(target, rehearsal.Pair(path, path), place)
        rehearsal.handshake(context, wire.observing_context(), None)


def server_context(target: Target, pair: rehearsal.Pair, place: DataDirectory) -> ssl.SSLContext:
    """Return the server side of a pair with everything that the target's settings say. Raises TlsError."""
    settings = target.settings
    context = rehearsal.server_context(pair, target.trusted_clients, settings.get("ssl_ciphers", ""))
    if target.crls:
        rehearsal.check_revocations(context, target.crls, "crls")
    _set_curve(context, settings.get(_CURVE, ""))
    _set_protocols(context, settings)
    _load_dh(context, settings.get(_DH, ""), place.data_directory)
    for name, option in _BY_COMMAND.items():
        objection = openssl.objections(option, settings[name], place.account) if settings.get(name) else ""
        if objection:
            raise TlsError(
                f"{name}: OpenSSL does not accept {settings[name]!r}: {objection}",
                remedy="Correct it.",
                code="tls_setting_refused",
            )
    return context


def _set_curve(context: ssl.SSLContext, curve: str) -> None:
    try:
        if curve in _OPAQUE_CURVES:
            raise ValueError("PostgreSQL takes it from version 18 on, in ssl_groups")
        if curve:
            context.set_ecdh_curve(curve)
    except (ValueError, ssl.SSLError) as error:
        raise TlsError(
            f"{_CURVE}: {curve!r} is not a curve that the server can use: {rehearsal.reason(error)}.",
            remedy="Choose another (openssl ecparam -list_curves), such as prime256v1.",
            code="curve_unusable",
        ) from error


def _set_protocols(context: ssl.SSLContext, settings: dict[str, str]) -> None:
    """Set the range of protocols. Versions before TLS 1.2 are left out: our clients do not use them."""
    for name, attribute in _PROTOCOLS.items():
        value = settings.get(name, "")
        version = {"tlsv1.2": ssl.TLSVersion.TLSv1_2, "tlsv1.3": ssl.TLSVersion.TLSv1_3}.get(value.lower())
        if version is not None:
            setattr(context, attribute, version)
        elif value and attribute == "maximum_version":
            raise TlsError(
                f"{name} is {value!r}: this collection proves every change by a handshake with TLS 1.2 or later.",
                remedy="Choose TLSv1.2 or TLSv1.3, or leave it out.",
                code="protocol_too_old",
            )


def _load_dh(context: ssl.SSLContext, file: str, data_directory: str) -> None:
    path = os.path.join(data_directory, file)
    try:
        if file:
            context.load_dh_params(path)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        found = rehearsal.reason(error) if isinstance(error, ssl.SSLError) else getattr(error, "strerror", str(error))
        raise TlsError(
            f"{_DH}: {path}: {found}; expected Diffie-Hellman parameters (PEM) that the server's OS user can read. "
            "Without them the server would silently use others.",
            remedy="Create them with openssl dhparam.",
            code="dh_params_unusable",
        ) from error
