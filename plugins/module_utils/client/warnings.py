# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unexpected effects of a client's files, or of files of others beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.pgops.tls.plugins.module_utils.client import default_files
from ansible_collections.pgops.tls.plugins.module_utils.client.home import LISTS, Home, HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
else:
    revocations = lazy_import("x509.revocations")


def of_news(home: Home, found: HomeFiles, target: Target) -> list[str]:
    """Return what libpq uses by default from now on, even for unrelated servers."""
    has_first_lists = bool(target.crls) and LISTS not in found.contents
    return [
        *([_of_default_names(home)] if default_files.appear(found) else []),
        *([_of_first_lists(home)] if has_first_lists else []),
    ]


def of_lists(home: Home, target: Target) -> list[str]:
    """Return a warning about somebody's list that will keep programs of this user from connecting."""
    try:
        content = files.read(home.revocations) if not target.crls else None  # with lists of ours, it is one of them
    except OSError:
        return []  # nor can libpq read it
    known = revocations.about(content, target.roots) if content is not None else target.roots
    missing = next((one.common_name for one in target.roots if one not in known), None)
    if missing is None:
        return []
    unread = (
        f"{home.revocations}: libpq always reads this list of revoked certificates, and then refuses every server "
        f"whose authorities have no list in it. It has none of {missing!r}, but this user connects to servers of that "
        "authority. Add that list. Or rename this file, and set sslcrl to it in the connections that it is for."
    )
    return [unread]


def _of_default_names(home: Home) -> str:
    return (
        f"{home.directory}: OS user {home.user.name!r} gets files at libpq's default names, for the first "
        "time from this collection. Its programs use them for every server, even outside the inventory. "
        "If root.crt has no CA of such a server, sslmode=require fails, and sslmode=prefer (the default) falls "
        f"back to plaintext. Add the CAs of such servers to {option('roots')}. A server that asks for a "
        "certificate of another CA refuses this one: name the old files in those connections. Or set "
        "default_files of the identity to false: the default names stay free, and its services work."
    )


def _of_first_lists(home: Home) -> str:
    return (
        f"{home.revocations}: OS user {home.user.name!r} gets lists of revoked certificates at libpq's "
        "default name, for the first time from this collection. Its programs check them for every server, even "
        "with an sslrootcert of their own, and refuse a server whose CA has no list in that file. In connections to "
        "servers outside the inventory, set sslcrl to the list of their CA, or to /dev/null if it has none."
    )
