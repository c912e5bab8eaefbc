# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else writes primary_conninfo: programs that ALTER SYSTEM would overrule, and files that no longer count."""

from __future__ import annotations

import os
from typing import Any, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres import managers

_AUTO = "postgresql.auto.conf"
_AUTO_FAILOVER = "postgresql-auto-failover-standby.conf"  # which pg_autoctl makes anew


def refuse(written: Mapping[str, Any]) -> None:
    """Refuse a server whose primary_conninfo another program keeps up to date: it could follow no new primary.

    ``written`` says where its settings are. Called with the rights of the server's OS user. Raises TlsError.
    """
    texts = {"postgresql.conf": (files.read(written["config_file"]) or b"").decode("utf-8", "replace")}
    found = [(one.manager.name, written["config_file"]) for one in managers.signs(texts) if one.manager.rewrites]
    keeper = os.path.join(os.path.dirname(written["data_directory"].rstrip("/")), managers.STOLON.sign)
    found += [(managers.STOLON.name, keeper)] if os.path.isfile(keeper) else []
    if os.path.basename(written["file"] or "") == _AUTO_FAILOVER:
        found.append(("pg_auto_failover", written["file"]))
    for name, path in found:
        raise TlsError(
            f"{path}: {name} writes primary_conninfo of this server at each change of roles, and ALTER SYSTEM would "
            "take precedence. Nothing was changed.",
            remedy=f"Set sslmode, sslcert, sslkey and sslrootcert in the configuration of {name}, and leave "
            f"{option('replication.role')} out for this server.",
            code="config_managed_elsewhere",
            manager=name,
        )


def warnings(written: Mapping[str, Any]) -> list[str]:
    """Return a warning where primary_conninfo came from a file that ALTER SYSTEM takes precedence over."""
    path = written["file"]
    if not path or os.path.basename(path) == _AUTO:
        return []
    place = f"{path} line {written['line']}"
    return [f"{place}: ALTER SYSTEM takes precedence over primary_conninfo there from now on. Remove that line."]
