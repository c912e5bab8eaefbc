# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory host of a TLS directory: a comment in the ssl.conf of each generation names it.

Two inventory names for one server would take turns: each run would install the certificate of one, then of the other,
and report success for both.
"""

from __future__ import annotations

import json

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option

_MARK = b"\n# Inventory host: "


def marked(conf: bytes, host: str) -> bytes:
    """Return a declared ssl.conf as stored in a generation for ``host``; '' leaves it as it is."""
    return conf + _MARK + json.dumps(host).encode("ascii") + b"\n" if host else conf  # one line, whatever the name is


def unmarked(conf: bytes) -> bytes:
    """Return the declared part of an ssl.conf in a generation."""
    declared, mark, _host = conf.rpartition(_MARK)
    return declared if mark else conf


def renamed(conf: bytes | None, host: str, former_host: str, directory: str) -> list[str]:
    """Return the change of the host's name in the inventory, in words, [] if it is the same.

    ``conf`` is the ssl.conf of the generation in use. Raises TlsError for another name than ``former_host``: then two
    hosts of the inventory are this server, or its new name is not declared yet.
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
    """Return the host that an ssl.conf names, '' if it names none, such as one from an earlier version."""
    _declared, mark, host = conf.rpartition(_MARK)
    try:
        return str(json.loads(host)) if mark else ""
    except ValueError:
        return ""
