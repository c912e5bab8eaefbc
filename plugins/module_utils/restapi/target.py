# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared state of a Patroni's REST API, and of its clients on that node: the module's arguments, checked."""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pair_options
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pairs import ROOTS, TRUSTED, Declared

API, CTL = "api", "ctl"  # the credentials: of the REST API, and of its clients on this node
ROLE = "patroni"  # the common name of the second; Patroni checks no names of clients
# The files of a generation and their permission bits
API_CERTIFICATE, API_KEY = "api.crt", "api.key"
CTL_CERTIFICATE, CTL_KEY = "ctl.crt", "ctl.key"
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
    """The declared state.

    ``ends_former_trust``: other members show certificates of these roots, so others need no trust any more.
    """

    pair: Declared
    ends_former_trust: bool

    @property
    def values(self) -> dict[str, dict[str, str]]:
        """Return the keys of patroni.yml. Their paths never change, so a renewal leaves that file alone."""
        current = f"{self.pair.directory}/current"
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
    files = (API, API_CERTIFICATE, API_KEY), (CTL, CTL_CERTIFICATE, CTL_KEY)
    pair = pair_options.read({**options, "role": ROLE}, directory_below(_directory(options)), *files)
    return Target(pair, ends_former_trust=options["ends_former_trust"])


def _directory(options: Mapping[str, Any]) -> str:
    found = str(options["directory"] or f"/etc/postgresql/tls/{options['port']}").rstrip("/")
    if not _PATH.fullmatch(found):
        raise TlsError(
            f"directory: {shown(found)}, expected an absolute path of letters, digits and /_.+@- for patroni.yml.",
            code="directory_invalid",
        )
    return found
