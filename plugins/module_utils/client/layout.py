# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an OS user outside the generations as they must be: the links at libpq's default names, and services."""

from __future__ import annotations

import os
from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import service_file
from ansible_collections.pgops.tls.plugins.module_utils.client.default_files import unused
from ansible_collections.pgops.tls.plugins.module_utils.client.home import CERTIFICATE, KEY, Home
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.client.plan import Layout
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target


def of(
    home: Home,
    default: Identity | None,
    identities: Sequence[Identity],
    target: Target,
    service: bytes | None,
    *,
    declared: Sequence[Identity] = (),
) -> Layout:
    """Return what must be. ``service`` is the service file as it is.

    ``default`` is the identity that has the default files. ``declared`` are all identities of the OS user if some wait
    for their first certificate, and ``identities`` are the others. If the default files are those of one that waits,
    their links stay as they are. Raises TlsError for a service file that cannot be merged.
    """
    merged = service_file.merge(
        service,
        identities,
        home.current(),
        home.service_file,
        has_lists=bool(target.crls),
        libpq=target.libpq,
        declared=declared,
    )
    if default and default not in identities:
        return Layout(links={}, service_path=home.service_file, service=merged)
    links = _links(home, default, target)
    # A link to lists stays without them: libpq takes one that leads nowhere for none
    stay = {*links, home.revocations} if default else links
    former = {path: kept for path, kept in home.former_files().items() if path not in stay}
    return Layout(links=links, service_path=home.service_file, service=merged, former=former)


def _links(home: Home, default: Identity | None, target: Target) -> dict[str, str]:
    """Return the links at the default names: none to a key and a certificate that their identity does not have."""
    if default is None:
        return {}
    not_ours = unused(default, target)
    if not default.has_certificate:
        not_ours |= {CERTIFICATE, KEY}
    return {path: to for path, to in home.default_links(default.name).items() if os.path.basename(path) not in not_ours}
