# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources by their types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.source.contract import Source
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import ACME, COMMAND, EXISTING, FILES, Declared

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.source import (
        by_acme,
        by_command,
        by_files,
        by_others,
        openbao,
    )
else:
    by_acme = lazy_import("source.by_acme")
    by_command = lazy_import("source.by_command")
    by_others = lazy_import("source.by_others")
    by_files = lazy_import("source.by_files")
    openbao = lazy_import("source.openbao")


def source(declared: Declared, directory: str, *, are_lists_used: bool = False) -> Source:
    """Return a source. ``directory`` is that of the ledger. Raises TlsError for what is wrong on this host.

    If hosts check lists of revoked certificates already (``are_lists_used``), it gives its own although they revoke
    nothing: a host wants one of every CA that it trusts.
    """
    if declared.type == FILES:
        return by_files.Files(declared, directory, are_lists_used=are_lists_used)
    if declared.type == COMMAND:
        return by_command.Command(declared)
    if declared.type == EXISTING:
        return by_others.Existing(declared)
    if declared.type == ACME:
        return by_acme.Acme(declared, directory)
    return openbao.OpenBao(declared, are_lists_used=are_lists_used)
