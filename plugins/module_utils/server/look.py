# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a server and its files: everything is read here, and nothing is decided or written."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import upkeep
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration, passphrase, settings
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState
from ansible_collections.pgops.tls.plugins.module_utils.server import holder
from ansible_collections.pgops.tls.plugins.module_utils.server.found import (
    CERTIFICATE,
    CONF,
    KEY,
    MODES,
    TRUSTED,
    Found,
    leaf_of,
)
from ansible_collections.pgops.tls.plugins.module_utils.server.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.server.texts import Texts
from ansible_collections.pgops.tls.plugins.module_utils.x509.rehearsal import Pair

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.server import native_tls
else:
    native_tls = lazy_import("server.native_tls")


class Look:
    """Reads a generation of files, and the files of the server beside it."""

    def __init__(self, store: GenerationStore, texts: Texts) -> None:
        self.store = store
        self.texts = texts

    def trusting(self, target: Target) -> Target:
        """Return a target with the former client authorities that the server trusts now."""
        return target.with_former(self.read(self.store.current(), TRUSTED))

    def found(self, current: str | None, target: Target, state: ServerState, served: str) -> Found:
        """Return what there is with this generation in use. ``served`` is the fingerprint of the leaf that is shown."""
        contents = {name: self.read(current, name) for name in MODES}
        config = self.texts.read("postgresql.conf")
        generation = {name: content for name, content in contents.items() if content is not None}
        return Found(
            generation=generation,
            repairs=upkeep.repairs(self.store, current, generation, MODES) + self._renamed(current, target, config),
            config=config,
            hba=self.texts.read("pg_hba.conf"),
            ident=self.texts.read("pg_ident.conf", ""),
            served=served,
            unfit=self._unfit(current, target, state, generation[KEY])
            if {CERTIFICATE, KEY} <= generation.keys()
            else "",
            drift=tuple(settings.not_in_force(self.settings(current, target), state)),
            major=state.major,
        )

    def found_before(
        self,
        previous: str | None,
        originals: Mapping[str, bytes | None],
        target: Target,
        state: ServerState,
        served: str,
    ) -> Found:
        """Return what there would be if an interrupted run were undone; it began with these."""
        found = self.found(previous, target, state, served)
        leaf = leaf_of(found.generation.get(CERTIFICATE))

        return found._replace(
            config=self.texts.before("postgresql.conf", originals, found.config),
            hba=self.texts.before("pg_hba.conf", originals, found.hba),
            ident=self.texts.before("pg_ident.conf", originals, found.ident),
            served=leaf.sha256 if leaf else served,
            drift=(),  # the undoing ends with a reload
        )

    def read(self, generation: str | None, name: str) -> bytes | None:
        """Return a file of a generation, ssl.conf as it was declared; None if it cannot be read."""
        content = self.store.readable(generation, name)
        if name != CONF or not generation or content is None:
            return content
        return settings.unpinned(holder.unmarked(content), self.store.directory, generation)

    def settings(self, generation: str | None, target: Target) -> dict[str, str]:
        """Return the declared settings, their paths as they are in a generation."""
        conf = target.ssl_conf.encode()
        if generation and self.read(generation, CONF) != self.store.readable(generation, CONF):
            conf = settings.pinned(conf, target.directory, generation)
        return settings.parse(conf.decode())

    def _renamed(self, current: str | None, target: Target, config: str) -> list[str]:
        """Return the change of the host's name. The server may use the directory of another host instead of ours."""
        used = configuration.included(config)
        if used not in ("", f"{target.directory}/current/{CONF}"):
            with contextlib.suppress(OSError):
                holder.renamed(files.read(used), target.host, target.former_host, used)
        return holder.renamed(self.store.readable(current, CONF), target.host, target.former_host, target.directory)

    def _unfit(self, current: str | None, target: Target, state: ServerState, key: bytes) -> str:
        """Return why the server could not start with the certificate and key of a generation, '' if it could."""
        pair = Pair(*(self.store.path(current or "", name) for name in (CERTIFICATE, KEY)))
        if passphrase.is_needed(key):
            try:
                pair = pair._replace(passphrase=native_tls.place(target, state, self.texts.account).passphrase(key))
            except TlsError as error:
                return error.fault.rstrip(".")
        return upkeep.unfit(pair, target.roots)
