# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files at libpq's default names: when they appear, which other servers they concern, and how they go again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import destinations, user_files
from ansible_collections.pgops.tls.plugins.module_utils.client.home import LISTS, PK8, Home, HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
    from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal

_NAMED = 5  # servers in a message


def appear(found: HomeFiles) -> bool:
    """Return whether no default file is one of this collection yet."""
    return not any(found.links.values())


def unused(default: Identity | None, target: Target) -> set[str]:
    """Return those of the names that libpq or pgjdbc reads by default, and that only some OS users get, that are free.

    ``default`` is the identity that has the others.
    """
    not_ours = set() if target.crls else {LISTS}
    is_for_java = default is not None and user_files.DER in default.formats
    return not_ours if is_for_java else not_ours | {PK8}


def give_back(former: Mapping[str, str | None], journal: Journal) -> None:
    """Remove links of ours, or put the files back that were there before (None: there was none). Raises OSError."""
    for path, kept in former.items():
        if kept is None:
            journal.remove(path)
        else:
            journal.put_back(path, kept)


def refuse_servers_outside(home: Home, identities: Sequence[Identity], known: Sequence[str] | None) -> None:
    """Raise TlsError if default files would appear for an OS user who connects to servers that are not ``known``.

    Nothing is refused without ``known`` servers, where an identity says what is wanted, or where libpq does not look by
    default.
    """
    is_said = any(one.default_files is not None for one in identities)
    if known is None or not identities or is_said or identities[0].home or any(home.links().values()):
        return
    named = [
        *_outside(home.password_file, destinations.of_password_file, known),
        *_outside(home.service_file, destinations.of_services, known),
    ]
    if named:
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        raise TlsError(
            f"OS user {home.user.name!r} also connects to servers outside the inventory: "
            f"{', '.join(named[:_NAMED])}{more}. This run would put files at libpq's default names into "
            f"{home.directory}, which its programs use for every server. If root.crt has no CA of such a server, "
            "sslmode=require fails, and sslmode=prefer (the default) falls back to plaintext. Nothing was changed on "
            "this host.",
            remedy=f"Set default_files for an identity of this OS user in {option('identities')}: false keeps the "
            "default names free, and its services still work. With true the files are created. Then first add the CAs "
            f"of these servers to {option('roots')}.",
            code="servers_outside",
        )


def _outside(path: str, hosts: Callable[[bytes], list[str]], known: Sequence[str]) -> list[str]:
    """Return the hosts that a file of the OS user names and that are not known, each with the name of the file."""
    try:
        content = files.read(path) or b""
    except OSError:
        return []  # libpq cannot read it either
    return [f"{host} ({os.path.basename(path)})" for host in destinations.outside(hosts(content), known)]
