# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared state of one PgBouncer: the module's arguments, checked and read before anything is touched."""

from __future__ import annotations

import os
from typing import Any, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pair_options
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pairs import ROOTS, TRUSTED, Declared
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import settings
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import refuse_port

FRONT, BACK = "front", "back"  # the credentials: towards clients, and towards PostgreSQL
# The files of a generation and their permission bits
FRONT_CERTIFICATE, FRONT_KEY = "server.crt", "server.key"
BACK_CERTIFICATE, BACK_KEY = "client.crt", "client.key"
CONF = "tls.ini"
MODES = {
    FRONT_CERTIFICATE: 0o644,
    FRONT_KEY: 0o600,
    TRUSTED: 0o644,
    BACK_CERTIFICATE: 0o644,
    BACK_KEY: 0o600,
    ROOTS: 0o644,
    CONF: 0o644,
}
OF_BACK = (BACK_CERTIFICATE, BACK_KEY, ROOTS)


class Target(NamedTuple):
    """The declared state."""

    pair: Declared
    config_file: str
    client_tls_sslmode: str
    settings: Mapping[str, str]
    on_lockout: str

    @property
    def included(self) -> str:
        """Return the path of the settings in use."""
        return f"{self.pair.directory}/current/{CONF}"

    def has(self, path: str) -> bool:
        """Return whether a path leads to a file of a generation."""
        root = os.path.realpath(self.pair.directory)
        return path.startswith("/") and os.path.realpath(path).startswith((f"{root}/current/", f"{root}/generations/"))

    def values(self, generation: str) -> dict[str, str]:
        """Return the settings of a generation.

        The front's paths lead into the generation itself: whoever reloads reads the files that belong to the settings.
        PgBouncer opens those of the back for each new connection to PostgreSQL. Their paths stay the same, or each new
        generation would change settings of the back, and PgBouncer would close all of these connections.
        """
        own, current = f"{self.pair.directory}/generations/{generation}", f"{self.pair.directory}/current"
        return {
            **self.settings,
            "client_tls_sslmode": self.client_tls_sslmode,
            "client_tls_cert_file": f"{own}/{FRONT_CERTIFICATE}",
            "client_tls_key_file": f"{own}/{FRONT_KEY}",
            "client_tls_ca_file": f"{own}/{TRUSTED}",
            "server_tls_sslmode": "verify-full",
            "server_tls_ca_file": f"{current}/{ROOTS}",
            "server_tls_cert_file": f"{current}/{BACK_CERTIFICATE}",
            "server_tls_key_file": f"{current}/{BACK_KEY}",
        }

    def conf(self, generation: str) -> bytes:
        """Return the text of the settings of a generation. It has no header: that would reset all other settings."""
        lines = [f"{name} = {value}" for name, value in sorted(self.values(generation).items())]
        return "\n".join(["; Managed by Ansible (pgops.tls): changes by hand are lost.", *lines, ""]).encode()


def read(options: Mapping[str, Any]) -> Target:
    """Return the target that the module's options describe. Raises TlsError for invalid ones."""
    refuse_port(options["port"], "port")
    refuse_role(options["role"])
    for name, value in options["settings"].items():
        settings.refuse_setting(name, value)
    files = (FRONT, FRONT_CERTIFICATE, FRONT_KEY), (BACK, BACK_CERTIFICATE, BACK_KEY)
    return Target(
        pair=pair_options.read(options, _path(options["directory"], "directory"), *files),
        config_file=_path(options["config_file"], "config_file"),
        client_tls_sslmode=options["client_tls_sslmode"],
        settings=options["settings"],
        on_lockout=options["on_lockout"],
    )


def refuse_role(role: object) -> None:
    """Raise TlsError for a role of the back that no certificate, or no PostgreSQL, takes."""
    is_text = isinstance(role, str) and role.isprintable() and role == role.strip()
    if not is_text or not 1 <= len(str(role).encode("utf-8")) <= 63:
        raise TlsError(
            f"{option('role')}: found {shown(role)}, expected a name of 1 to 63 bytes without control characters, and "
            "without blanks at its ends.",
            code="role_invalid",
        )


def _path(found: str, name: str) -> str:
    if not found.strip("/") or found[0] != "/" or not found.isprintable() or {*found} & {*"\"'\\ "}:
        raise TlsError(
            f"{name}: {shown(found)}, expected an absolute path without blanks, quotes, backslashes or line breaks.",
            code="directory_invalid",
        )
    return found.rstrip("/")
