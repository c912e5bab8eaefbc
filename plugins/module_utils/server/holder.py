# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a TLS directory is: a comment in the ssl.conf of each generation names the host of the inventory.

Two names of one server in an inventory would take turns: each run would give it the certificate of the one, then that
of the other, and both would be told that all is well.
"""

from __future__ import annotations

import json

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option

_MARK = b"\n# Inventory host: "


def marked(conf: bytes, host: str) -> bytes:
    """Return a declared ssl.conf as it lies in a generation that was made for ``host``; '' leaves it as it is."""
    return conf + _MARK + json.dumps(host).encode("ascii") + b"\n" if host else conf  # one line, whatever the name is


def unmarked(conf: bytes) -> bytes:
    """Return the declared ssl.conf of one that lies in a generation."""
    declared, mark, _host = conf.rpartition(_MARK)
    return declared if mark else conf


def renamed(conf: bytes | None, host: str, former_host: str, directory: str) -> list[str]:
    """Return that the host had another name in the inventory, in words, [] if it had not.

    ``conf`` is the ssl.conf of the generation in use. Raises TlsError for another name than ``former_host``: then two
    hosts of the inventory are this server, or nobody has said yet that it is called otherwise now.
    """
    before = _host_of(conf or b"")
    if not host or not before or before == host:
        return []
    if before != former_host:
        raise TlsError(
            f"{directory}: this server was set up as host {before!r} of the inventory, and this run calls it {host!r}. "
            "Nothing was changed.",
            remedy="If both are in the inventory, remove one from the managed servers, and add the server's other "
            f"names to {option('names')}. If the host was renamed, or is a copy of the other one, set "
            f"{option('former_host')}: {before}.",
            code="inventory_host_mismatch",
        )
    return [f"inventory host: {before} -> {host}"]


def _host_of(conf: bytes) -> str:
    """Return the host that an ssl.conf names, '' if it names none, such as one that an earlier version has left."""
    _declared, mark, host = conf.rpartition(_MARK)
    try:
        return str(json.loads(host)) if mark else ""
    except ValueError:
        return ""
