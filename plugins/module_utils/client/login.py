# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal of a client's login, in memory."""

from __future__ import annotations

import os
from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client.home import CERTIFICATE, KEY
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rehearsal


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


def rehearse_of(identity: Identity, directory: str, target: Target) -> None:
    """Log in as ``rehearse`` does, with the files of an identity in a generation. Raises TlsError with its id."""
    try:
        rehearse(os.path.join(directory, identity.name), target, identity.authority)
    except TlsError as error:
        raise TlsError(f"{identity.id}: {error.message}", code=error.code) from error


def faults(directories: Sequence[str], target: Target) -> list[str]:
    """Return why the first of these certificates that cannot log in cannot, as a list; any authority will do."""
    try:
        for one in directories:
            rehearse(one, target)
    except TlsError as error:
        return [error.message]
    return []
