# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a run before anything changes, because of how a PgBouncer runs or is configured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import find
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer.console import Console, Place
from ansible_collections.pgops.tls.plugins.module_utils.pooler.target import Target

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import lockout
else:
    lockout = lazy_import("pgbouncer.lockout")


def refuse_process(target: Target, config: Mapping[str, str], place: Place) -> None:
    """Refuse a process that reads another configuration, or that shares its port with others. Raises TlsError."""
    conffile = config.get("conffile", "")
    is_same = os.path.realpath(conffile) == os.path.realpath(target.config_file)
    if not (
        is_same if conffile.startswith("/") else os.path.basename(target.config_file) == os.path.basename(conffile)
    ):
        raise TlsError(
            f"{place}: it was started with {conffile}, expected {target.config_file}. Nothing was changed.",
            remedy=f"Correct {option('config_file')} or {option('port')}.",
            code="pooler_config_other",
        )
    if config.get("so_reuseport", "0") not in ("", "0"):
        raise TlsError(
            f"{place}: so_reuseport is on, so several processes share the port, and a reload reaches one of them. This "
            "is not supported yet. Nothing was changed.",
            remedy="Leave this host out, or run one process for each port.",
            code="pooler_port_shared",
        )
    find("openssl", "to make private keys and certificate requests")


def broken_line(
    found: Sequence[ini.Line], config: Mapping[str, str], version: tuple[int, int], *, is_to_reload: bool
) -> list[str]:
    """Return a warning of a line that PgBouncer would not load. Raises TlsError for one if it is to reload."""
    fault, remedy = ini.broken(found, config, version), "Correct or remove that line."
    if fault and is_to_reload:
        raise TlsError(f"{fault} Nothing was changed.", remedy=remedy, code="pooler_config_broken")
    return [f"{fault} {remedy}"] if fault else []


def refuse_login(target: Target, found: Sequence[ini.Line]) -> None:
    """Refuse a mode with which PgBouncer would not load ``auth_type``; lines are those to come. Raises TlsError."""
    auth = ini.settings(found).get("auth_type")
    if auth is not None and auth.value == "cert" and target.client_tls_sslmode != "verify-full":
        raise TlsError(
            f"{auth.place}: auth_type is cert, which needs client_tls_sslmode verify-full, found "
            f"{target.client_tls_sslmode}. PgBouncer would keep its old settings. Nothing was changed.",
            remedy=f"Set {option('client_tls_sslmode')}: verify-full.",
            code="pooler_sslmode_unfit",
        )


def refuse_overridden(target: Target, found: Sequence[ini.Line], generation: str) -> None:
    """Refuse a configuration in which later lines would decide on settings of ours. Raises TlsError."""
    other = ini.overridden(found, target.values(generation))
    if other:
        raise TlsError(
            f"{target.config_file}: later lines would override settings of this collection: {', '.join(other)}. "
            "Nothing was changed.",
            remedy="Remove these lines.",
            code="pooler_setting_overridden",
        )


def refuse_lock_out(target: Target, config: Mapping[str, str], console: Console, now: int) -> None:
    """Refuse a change of the settings in force that locks clients out, or demands less of them. Raises TlsError."""
    mode = config.get("client_tls_sslmode", "")
    is_others = lockout.rank(mode) and not target.has(config.get("client_tls_cert_file", ""))
    if is_others:
        lockout.refuse_lowered(mode, target.client_tls_sslmode)
    if target.on_lockout == "refuse":
        lockout.refuse_plaintext(console, mode, target.client_tls_sslmode)
        if is_others:
            lockout.refuse_foreign_trust(config.get("client_tls_ca_file", ""), target.pair.trusted_clients, now)
