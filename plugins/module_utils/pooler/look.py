# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a PgBouncer: everything is read here, and nothing is decided or written."""

from __future__ import annotations

import os
from typing import Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.core.root_owned import RootFiles
from ansible_collections.pgops.tls.plugins.module_utils.core.service_file import ServiceFile
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini


def config_file(path: str, account: Account) -> ServiceFile:
    """Return the main configuration file. The inventory names it, never the process: root may replace it."""
    name = os.path.basename(path)
    rooted = RootFiles((name,), account.gid, account.uid)
    return ServiceFile(name, path, os.path.realpath(path), account, rooted, "pooler", "PgBouncer")


def text(main: ServiceFile) -> str:
    """Return the text of the main configuration file. Raises TlsError if there is none, OSError."""
    found = files.text(main.path)
    if found is None:
        raise TlsError(
            f"{main.named}: expected the configuration file of PgBouncer, found none.",
            remedy="Name the file that PgBouncer was started with.",
            code="config_file_missing",
        )
    return found


def lines(main: ServiceFile, text: str, directory: str, coming: Mapping[str, str] | None = None) -> list[ini.Line]:
    """Return what PgBouncer reads if its main file has this text, and files have the texts that are ``coming``.

    ``directory`` is its working directory, '' if that is not known.
    """
    known = coming or {}
    return ini.lines(text, main.named, lambda path: known[path] if path in known else _included(path, directory))


def has_log(config: Mapping[str, str]) -> bool:
    """Return whether the log can be read here that the settings in force name."""
    path = config.get("logfile", "")
    return bool(path) and os.access(path, os.R_OK, effective_ids=True)


def _included(path: str, directory: str) -> str | None:
    whole = os.path.join(directory, path)
    try:
        return files.text(whole) if whole.startswith("/") else None
    except OSError:
        return None
