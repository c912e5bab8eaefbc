# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared state of one PgBouncer: the module's arguments, checked and read before anything is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pair_options
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pairs import Credential
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import settings
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import refuse_port

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core import durations
else:
    durations = lazy_import("core.durations")

FRONT, BACK = "front", "back"  # the credentials: towards clients, and towards PostgreSQL
# The files of a generation and their permission bits
FRONT_CERTIFICATE, FRONT_KEY, TRUSTED = "server.crt", "server.key", "trusted-clients.crt"
BACK_CERTIFICATE, BACK_KEY, ROOTS = "client.crt", "client.key", "root.crt"
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
    """The declared state. ``roots`` and ``trusted_clients`` are PEM; ``certificates`` came for a request, by name.

    Those of the credentials in ``later`` come in a later run.
    """

    directory: str
    config_file: str
    front: Credential
    back: Credential
    roots: str
    trusted_clients: str
    client_tls_sslmode: str
    settings: Mapping[str, str]
    certificates: Mapping[str, str]
    renew: bool
    on_lockout: str
    later: frozenset[str] = frozenset()

    @property
    def credentials(self) -> tuple[Credential, Credential]:
        """Return both."""
        return self.front, self.back

    @property
    def included(self) -> str:
        """Return the path of the settings in use."""
        return f"{self.directory}/current/{CONF}"

    def values(self, generation: str) -> dict[str, str]:
        """Return the settings of a generation.

        The front's paths lead into the generation itself: whoever reloads reads the files that belong to the settings.
        PgBouncer opens those of the back for each new connection to PostgreSQL. Their paths stay the same, or each new
        generation would change settings of the back, and PgBouncer would close all of these connections.
        """
        own, current = f"{self.directory}/generations/{generation}", f"{self.directory}/current"
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
    wanted = pair_options.read(options, refuse_role(options["role"]))
    return Target(
        directory=_path(options["directory"], "directory"),
        config_file=_path(options["config_file"], "config_file"),
        front=Credential(FRONT, FRONT_CERTIFICATE, FRONT_KEY, *wanted.server),
        back=Credential(BACK, BACK_CERTIFICATE, BACK_KEY, *wanted.client),
        roots=wanted.roots,
        trusted_clients=wanted.trusted_clients,
        client_tls_sslmode=options["client_tls_sslmode"],
        settings=_settings(options["settings"]),
        certificates=pair_options.certificates(options["certificates"], (FRONT, BACK)),
        later=pair_options.later(options["certificates"]),
        renew=options["renew"],
        on_lockout=options["on_lockout"],
    )


def _settings(found: Mapping[str, Any]) -> dict[str, str]:
    for name, value in found.items():
        settings.refuse_setting(name, value)
    return dict(found)


def refuse_role(role: object) -> str:
    """Return the role of the back. Raises TlsError for what no certificate, or no PostgreSQL, takes."""
    is_text = isinstance(role, str) and role.isprintable() and role == role.strip()
    if not is_text or not 1 <= len(str(role).encode("utf-8")) <= 63:
        raise TlsError(
            f"{option('role')}: found {shown(role)}, expected a name of 1 to 63 bytes without control characters, and "
            "without blanks at its ends.",
            code="role_invalid",
        )
    return str(role)


def _path(found: str, name: str) -> str:
    if not found.strip("/") or found[0] != "/" or not found.isprintable() or {*found} & {*"\"'\\ "}:
        raise TlsError(
            f"{name}: {shown(found)}, expected an absolute path without blanks, quotes, backslashes or line breaks.",
            code="directory_invalid",
        )
    return found.rstrip("/")
