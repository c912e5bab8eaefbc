# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a REST API and its files: everything is read here, and nothing is decided or written."""

from __future__ import annotations

import os

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.core.service_file import ServiceFile
from ansible_collections.pgops.tls.plugins.module_utils.credential import upkeep
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs
from ansible_collections.pgops.tls.plugins.module_utils.patroni import settings
from ansible_collections.pgops.tls.plugins.module_utils.patroni.api import Answer
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found
from ansible_collections.pgops.tls.plugins.module_utils.restapi.target import MODES, Target
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import root_files


def config_file(patroni: Patroni, account: Account) -> ServiceFile:
    """Return patroni.yml. The process names it, so root replaces only what RootFiles allows."""
    real = os.path.realpath(patroni.config)
    rooted = root_files(account, account.uid)
    return ServiceFile(os.path.basename(real), patroni.config, real, account, rooted, "server", "Patroni")


class Look:
    """Reads a generation of files, and the configuration beside it."""

    def __init__(self, store: GenerationStore, patroni: Patroni, account: Account) -> None:
        self.store = store
        self.patroni = patroni
        self.account = account
        self._known: dict[str, Settings] = {}

    def settings(self, text: str) -> Settings:
        """Return what a text of patroni.yml says. Raises TlsError."""
        if text not in self._known:
            self._known[text] = settings.read(self.patroni, self.account, text)
        return self._known[text]

    def found(self, current: str | None, target: Target, text: str, answer: Answer | None) -> Found:
        """Return what there is with this generation in use, and this text of patroni.yml. Raises TlsError."""
        contents = {name: self.store.readable(current, name) for name in MODES}
        generation = {name: content for name, content in contents.items() if content is not None}
        said = self.settings(text)
        return Found(
            current=current,
            generation=generation,
            repairs=upkeep.repairs(self.store, current, generation, MODES),
            unfit=pairs.unfit(target, generation, self.store.path(current or "")),
            config=self.patroni.config,
            text=text,
            settings=said,
            answer=answer,
            own_trust=_content(said.ctl.get("cacert") or said.restapi.get("cafile", "")),
        )


def _content(path: str) -> bytes:
    try:
        return (files.read(path) if os.path.isabs(path) else None) or b""
    except OSError:
        return b""
