# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module server says of the Patroni that runs a server: everything is read here, and nothing is decided."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files, processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.patroni import api, findings, settings
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_chain
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.restapi import asking, convergence, target
else:
    asking = lazy_import("restapi.asking")
    convergence = lazy_import("restapi.convergence")
    target = lazy_import("restapi.target")


def told(
    given: Mapping[str, Any],
    patroni: Patroni | None,
    data_directory: str,
    names: Sequence[Name] | None,
    now: int,
    *,
    check_mode: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Return the facts about the Patroni that runs a server (None: none runs), and warnings.

    ``given`` are the options of module server, ``names`` those of its certificate, None if it gets none. ``now`` is in
    Unix seconds. Raises TlsError.
    """
    account = processes.account_of(os.stat(data_directory).st_uid)
    asked: dict[str, Any] = {}
    warnings: list[str] = []
    found = None
    if given["patroni_api"] and given["state"] == "present":
        node = convergence.Node(patroni, account)
        asked, warnings, found = asking.asked(given, node, now, check_mode=check_mode)
    if patroni is None:
        return asked, warnings
    directory = target.directory_below(given["directory"] or f"/etc/postgresql/tls/{given['port']}")
    with acting_as(account):
        try:
            said = found.settings if found else settings.read(patroni, account, settings.text_of(patroni))
        except TlsError as error:
            return asked, [*warnings, *([] if asked else [error.message])]
        seen = _seen(patroni, said, directory, names, is_managed=given["patroni_api"])
    return {**findings.result(seen, now), **asked}, [*warnings, *(one.words for one in findings.of(seen, now))]


def _seen(
    patroni: Patroni, found: settings.Settings, directory: str, names: Sequence[Name] | None, *, is_managed: bool
) -> findings.Seen:
    named = {name: one.get("certfile", "") for name, one in found.sections.items()}
    named.update((name, one.get("sslcert", "")) for name, one in found.logins.items())
    leaves = {name: leaf for name, path in named.items() for leaf in [leaf_at(path)] if leaf}
    answer = api.look(
        api.endpoint(found.restapi.get("listen", "")),
        wire.observing_context(),
        has_tls=bool(found.restapi.get("certfile")),
    )
    return findings.Seen(patroni.config, found, answer, leaves, directory, is_managed, names)


def leaf_at(path: str) -> Certificate | None:
    """Return the leaf in a file, None where there is none that can be read."""
    try:
        content = files.read(path) if os.path.isabs(path) else None
    except OSError:
        return None
    return next(iter(read_chain(content, path)), None)
