# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a server's files and the certificate that it shows, as read: the input of plans."""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.postgres import lexer, settings
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_chain

# The files of a generation and their permission bits; the manifest says what it was made for.
CERTIFICATE, KEY, TRUSTED, CONF = "server.crt", "server.key", "trusted-clients.crt", "ssl.conf"
LISTS = settings.LISTS_FILE  # lists of revoked certificates, if there are any
DECLARED = (TRUSTED, LISTS, CONF)  # files that hold declared content unchanged
MODES = {CERTIFICATE: 0o644, KEY: 0o600, TRUSTED: 0o644, LISTS: 0o644, CONF: 0o644}


class Existing(NamedTuple):
    """Paths of a certificate (its chain may follow) and of its key, which somebody else renews."""

    certificate: str
    key: str


class Offered(NamedTuple):
    """What such files hold: the chain, leaf first, and the key (PEM)."""

    chain: list[Certificate]
    key: bytes


class Found(NamedTuple):
    """What was found: bytes and repairs of the current generation, texts of the server's files, what it serves.

    ``repairs`` says which files have a wrong owner or mode, ``unfit`` why certificate and key cannot be used together.
    ``served`` is the fingerprint of the leaf that the server shows, '' when it offers no TLS, ``drift`` which settings
    in use differ from its files. ``observable``: the log would show a refused reload. ``major`` is the server's
    version. ``offered`` is what others have put there for the server, None if its certificates are ours.
    """

    generation: dict[str, bytes]
    repairs: list[str]
    config: str
    hba: str
    ident: str
    served: str
    unfit: str = ""
    drift: tuple[str, ...] = ()
    observable: bool = True
    major: int = lexer.NEWEST
    offered: Offered | None = None


def leaf_of(content: bytes | None) -> Certificate | None:
    """Return the leaf of a chain on disk; None when there is none or it is damaged."""
    return next(iter(chain_of(content)), None)


def chain_of(content: bytes | None) -> list[Certificate]:
    """Return a server's chain on disk, leaf first; an empty one when there is none or it is damaged."""
    return read_chain(content, CERTIFICATE)
