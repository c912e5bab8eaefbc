# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared state of a Patroni's REST API, and of its clients on that node: the module's arguments, checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pair_options
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pairs import Credential

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core import durations
else:
    durations = lazy_import("core.durations")

API, CTL = "api", "ctl"  # the credentials: of the REST API, and of its clients on this node
ROLE = "patroni"  # the common name of the second; Patroni checks no names of clients
# The files of a generation and their permission bits
API_CERTIFICATE, API_KEY, TRUSTED = "api.crt", "api.key", "trusted-clients.crt"
CTL_CERTIFICATE, CTL_KEY, ROOTS = "ctl.crt", "ctl.key", "root.crt"
FORMER = "former.json"  # what patroni.yml said before: see former.py
MODES = {
    API_CERTIFICATE: 0o644,
    API_KEY: 0o600,
    TRUSTED: 0o644,
    CTL_CERTIFICATE: 0o644,
    CTL_KEY: 0o600,
    ROOTS: 0o644,
    FORMER: 0o644,
}
_SUBDIRECTORY = "patroni"
_PATH = re.compile(r"/[A-Za-z0-9/_.+@-]+")


class Target(NamedTuple):
    """The declared state. ``roots`` and ``trusted_clients`` are PEM; ``certificates`` came for a request, by name.

    ``ends_former_trust``: other members show certificates of these roots, so others need no trust any more. ``later``
    are the names of those that come in a later run.
    """

    directory: str
    api: Credential
    ctl: Credential
    roots: str
    trusted_clients: str
    certificates: Mapping[str, str]
    renew: bool
    ends_former_trust: bool
    later: frozenset[str] = frozenset()

    @property
    def credentials(self) -> tuple[Credential, Credential]:
        """Return both."""
        return self.api, self.ctl

    @property
    def values(self) -> dict[str, dict[str, str]]:
        """Return the keys of patroni.yml. Their paths never change, so a renewal leaves that file alone."""
        current = f"{self.directory}/current"
        return {
            "restapi": {
                "certfile": f"{current}/{API_CERTIFICATE}",
                "keyfile": f"{current}/{API_KEY}",
                "cafile": f"{current}/{TRUSTED}",
            },
            "ctl": {
                "certfile": f"{current}/{CTL_CERTIFICATE}",
                "keyfile": f"{current}/{CTL_KEY}",
                "cacert": f"{current}/{ROOTS}",
            },
        }


def directory_below(server_directory: str) -> str:
    """Return where the files of the REST API are, beside those of the server that Patroni runs."""
    return f"{server_directory}/{_SUBDIRECTORY}"


def read(options: Mapping[str, Any]) -> Target:
    """Return the target that the options of module patroni describe. Raises TlsError for invalid ones."""
    wanted = pair_options.read(options, ROLE)
    return Target(
        directory=directory_below(_directory(options)),
        api=Credential(API, API_CERTIFICATE, API_KEY, *wanted.server),
        ctl=Credential(CTL, CTL_CERTIFICATE, CTL_KEY, *wanted.client),
        roots=wanted.roots,
        trusted_clients=wanted.trusted_clients,
        certificates=pair_options.certificates(options["certificates"], (API, CTL)),
        renew=options["renew"],
        ends_former_trust=options["ends_former_trust"],
        later=pair_options.later(options["certificates"]),
    )


def _directory(options: Mapping[str, Any]) -> str:
    found = str(options["directory"] or f"/etc/postgresql/tls/{options['port']}").rstrip("/")
    if not _PATH.fullmatch(found):
        raise TlsError(
            f"directory: {shown(found)}, expected an absolute path of letters, digits and /_.+@- for patroni.yml.",
            code="directory_invalid",
        )
    return found
