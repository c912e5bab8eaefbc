# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a PgBouncer and its files: everything is read here, and nothing is decided or written."""

from __future__ import annotations

import os
from typing import Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.core.root_owned import RootFiles
from ansible_collections.pgops.tls.plugins.module_utils.core.service_file import ServiceFile
from ansible_collections.pgops.tls.plugins.module_utils.credential import upkeep
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini
from ansible_collections.pgops.tls.plugins.module_utils.pooler.plan import Found
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import MODES, Target


def config_file(path: str, account: Account) -> ServiceFile:
    """Return the main configuration file. The inventory names it, never the process: root may replace it."""
    name = os.path.basename(path)
    rooted = RootFiles((name,), account.gid, account.uid)
    return ServiceFile(name, path, os.path.realpath(path), account, rooted, "pooler", "PgBouncer")


class Look:
    """Reads a generation of files, and the configuration beside it."""

    def __init__(self, store: GenerationStore, main: ServiceFile) -> None:
        self.store = store
        self.main = main

    def text(self) -> str:
        """Return the text of the main configuration file; bytes that are no UTF-8 survive. Raises TlsError."""
        content = files.read(self.main.path)
        if content is None:
            raise TlsError(
                f"{self.main.named}: expected the configuration file of PgBouncer, found none.",
                remedy="Name the file that PgBouncer was started with.",
                code="config_file_missing",
            )
        return content.decode("utf-8", "surrogateescape")

    def lines(self, text: str, coming: Mapping[str, str] | None = None) -> list[ini.Line]:
        """Return what PgBouncer reads if its main file has this text, and files have the texts that are ``coming``."""
        known = coming or {}
        return ini.lines(text, self.main.named, lambda path: known[path] if path in known else _included(path))

    def found(self, current: str | None, target: Target, served: str, config: Mapping[str, str], text: str) -> Found:
        """Return what there is with this generation in use."""
        contents = {name: self.store.readable(current, name) for name in MODES}
        generation = {name: content for name, content in contents.items() if content is not None}
        return Found(
            current=current,
            generation=generation,
            repairs=upkeep.repairs(self.store, current, generation, MODES),
            unfit=pairs.unfit(target, generation, self.store.path(current or "")),
            text=text,
            served=served,
            config=config,
            observable=bool(config.get("logfile")) and os.access(config["logfile"], os.R_OK, effective_ids=True),
        )


def _included(path: str) -> str | None:
    try:
        content = files.read(path)
    except OSError:
        return None
    return None if content is None else content.decode("utf-8", "surrogateescape")
