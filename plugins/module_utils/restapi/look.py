# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a REST API and its files: everything is read here, and nothing is decided or written."""

from __future__ import annotations

import os

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.core.service_file import ServiceFile
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pairs import Kept
from ansible_collections.pgops.tls.plugins.module_utils.patroni import settings
from ansible_collections.pgops.tls.plugins.module_utils.patroni.api import Answer
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings
from ansible_collections.pgops.tls.plugins.module_utils.restapi.plan import Found
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import root_files


def config_file(patroni: Patroni, account: Account) -> ServiceFile:
    """Return patroni.yml. The process names it, so root replaces only what RootFiles allows."""
    real = os.path.realpath(patroni.config)
    rooted = root_files(account, account.uid)
    return ServiceFile(os.path.basename(real), patroni.config, real, account, rooted, "server", "Patroni")


class Look:
    """Reads what patroni.yml says, each text once."""

    def __init__(self, patroni: Patroni, account: Account) -> None:
        self.patroni = patroni
        self.account = account
        self._known: dict[str, Settings] = {}

    def settings(self, text: str) -> Settings:
        """Return what a text of patroni.yml says. Raises TlsError."""
        if text not in self._known:
            self._known[text] = settings.read(self.patroni, self.account, text)
        return self._known[text]

    def found(self, kept: Kept, text: str, answer: Answer | None) -> Found:
        """Return what there is with this generation in use, and this text of patroni.yml. Raises TlsError."""
        said = self.settings(text)
        own_trust = content(said.ctl.get("cacert") or said.restapi.get("cafile", ""))
        return Found(kept, self.patroni.config, text, said, answer, own_trust)


def content(path: str) -> bytes:
    """Return what a file that patroni.yml names holds, b'' without one."""
    try:
        return (files.read(path) if os.path.isabs(path) else None) or b""
    except OSError:
        return b""
