# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the next generation of a server's files holds: a pure decision on what was found."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File
from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings
from ansible_collections.pgops.tls.plugins.module_utils.server import holder
from ansible_collections.pgops.tls.plugins.module_utils.server.found import (
    CERTIFICATE,
    CONF,
    DECLARED,
    KEY,
    LISTS,
    MODES,
    TRUSTED,
    Found,
)
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.x509 import chain as chains
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


class Coming(NamedTuple):
    """What the next generation would hold, apart from a new certificate.

    ``differing`` are the names of files that are not as declared. ``shortened`` says what the chain loses, in words.
    """

    contents: dict[str, bytes]
    differing: list[str]
    shortened: list[str]


def coming(target: Target, found: Found, chain: Sequence[Certificate], now: int, *, keeps_leaf: bool) -> Coming:
    """Return the contents that follow those in use. ``chain`` is the one in use, leaf first; ``now`` in Unix seconds.

    ``keeps_leaf``: no new certificate is needed, so the chain in use must fit what is trusted now.
    """
    declared = {TRUSTED: target.trusted_clients.encode(), CONF: target.ssl_conf.encode()}
    if target.crls:
        declared[LISTS] = target.crls.encode()
    kept = {name: content for name, content in found.generation.items() if name not in DECLARED}
    shortened = []
    whole = found.offered.chain if found.offered else chain  # of the same leaf, if it stays
    fitted = target.offer.fitting(whole, now) if chain and keeps_leaf else list(chain)
    if fitted != chain:
        shortened = [f"{CERTIFICATE}: {chains.difference(chain, fitted)}"]
        kept[CERTIFICATE] = chains.pem(fitted)
    differing = [name for name in DECLARED if found.generation.get(name) != declared.get(name)]
    return Coming({**kept, **declared}, differing, shortened)


def files_to_stage(
    contents: Mapping[str, bytes], target: Target, generation: str, certificate: str | None, key: bytes | None
) -> dict[str, File]:
    """Return the files of a ``generation`` to stage: the contents of a plan, and the new certificate and key if any."""
    conf = settings.pinned(target.ssl_conf.encode(), target.directory, generation)
    files = {**contents, CONF: holder.marked(conf, target.host)}
    if certificate is not None and key is not None:
        files[CERTIFICATE], files[KEY] = certificate.encode(), key
    return {name: File(files[name], mode) for name, mode in MODES.items() if name in files}
