# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal of a client's login, or of another service's handshakes, in memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import user_files
from ansible_collections.pgops.tls.plugins.module_utils.client.home import BUNDLE, CERTIFICATE, KEY, PK8, Home
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rehearsal
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import SERVER_AUTH, read_chain
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client import keystore
    from ansible_collections.pgops.tls.plugins.module_utils.x509 import openssl
else:
    keystore = lazy_import("client.keystore")
    openssl = lazy_import("x509.openssl")


def rehearse(directory: str, target: Target, authority: str | None = None) -> None:
    """Log in with the certificate in a directory, at a server in memory that trusts the roots of a client authority.

    ``authority`` is its name, '' for the usual one; None trusts those of all. Raises TlsError.
    """
    pair = rehearsal.Pair(os.path.join(directory, CERTIFICATE), os.path.join(directory, KEY))
    trusted = target.authorities.values() if authority is None else [target.authorities[authority]]
    roots = "".join(root.pem for one in trusted for root in one.roots)
    client = rehearsal.client_context("".join(one.pem for one in target.roots), pair, check_name=False)
    if target.crls:
        rehearsal.check_revocations(client, target.crls, "crls")
    rehearsal.log_in(pair, roots, client)


def serve(directory: str, target: Target, names: Sequence[Name], identity: Identity | None = None) -> None:
    """Make handshakes with the certificate in a directory, one for each name, with clients that trust the roots.

    The server trusts the clients that ``identity`` says. Raises TlsError.
    """
    pair = rehearsal.Pair(os.path.join(directory, CERTIFICATE), os.path.join(directory, KEY))
    trusted = target.authorities[identity.authority] if identity and identity.trusts_clients else None
    server = rehearsal.server_context(pair, "".join(one.pem for one in trusted.trusted) if trusted else "")
    if trusted and trusted.crls:
        rehearsal.check_revocations(server, trusted.crls, "trusted_clients_crls")
    client = rehearsal.client_context("".join(one.pem for one in target.roots))
    if target.crls:
        rehearsal.check_revocations(client, target.crls, "crls")
    for name in names:
        rehearsal.handshake(server, client, name.value.replace("*", "any", 1))


def rehearse_of(identity: Identity, directory: str, target: Target) -> None:
    """Use the files of an identity in a generation as its program will. Raises TlsError with its id."""
    own = os.path.join(directory, identity.name)
    try:
        if identity.names:
            serve(own, target, identity.names, identity)
        else:
            rehearse(own, target, identity.authority)
    except TlsError as error:
        raise TlsError(f"{identity.id}: {error.message}", code=error.code) from error


def usable(identities: Sequence[Identity], directory: str, target: Target, now: int) -> list[Identity]:
    """Return the identities whose certificate in a generation is to work: one that waits may keep an ended one.

    ``now`` is in Unix seconds.
    """

    def has_ended(one: Identity) -> bool:
        chain = read_chain(files.read(os.path.join(directory, one.name, CERTIFICATE)), one.id)
        return not chain or chain[0].not_after <= now

    return [one for one in identities if one.id not in target.later or not has_ended(one)]


def rehearse_first(
    identities: Sequence[Identity], default: Identity | None, home: Home, target: Target, *, now: int
) -> None:
    """Log in by libpq's default files, or by those of the first identity if nobody has them. Raises TlsError."""
    found = usable(identities, home.current(), target, now)
    if default in found:
        rehearse(home.directory, target, default.authority if default else None)
    elif found:
        rehearse_of(found[0], home.current(), target)


def rehearse_formats(identity: Identity, directory: str, home: Home) -> None:
    """Read the other forms of certificate and key in a generation, and compare them. Raises TlsError."""
    own = os.path.join(directory, identity.name)
    if user_files.ONE_FILE in identity.formats:
        bundle = os.path.join(own, BUNDLE)
        rehearsal.server_context(rehearsal.Pair(bundle, bundle))
        user_files.refuse_other_bundle(own)
    if user_files.DER in identity.formats:
        _refuse_other_key(own, home)
    if identity.has_keystore:
        keystore.refuse_other(identity, own, home)


def _refuse_other_key(directory: str, home: Home) -> None:
    """Raise TlsError if the key in DER is not that of the certificate beside it."""
    path = os.path.join(directory, PK8)
    chain = read_chain(files.read(os.path.join(directory, CERTIFICATE)), CERTIFICATE)
    if not chain or openssl.public_key(path, home.user, form="DER") != chain[0].public_key:
        raise TlsError(
            f"{path}: expected the key of {CERTIFICATE}, found something else.", remedy="Rerun.", code="pk8_differs"
        )


def faults(directories: Sequence[str], target: Target) -> list[str]:
    """Return why the first of these certificates that cannot be used cannot, as a list; any authority will do."""
    try:
        for one in directories:
            chain = read_chain(files.read(os.path.join(one, CERTIFICATE)) or b"", CERTIFICATE)
            if chain and chain[0].extended_key_usage == (SERVER_AUTH,):
                serve(one, target, chain[0].names)
            else:
                rehearse(one, target)
    except TlsError as error:
        return [error.message]
    return []
