# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger says of certificates that answered earlier requests: a client keeps its key, so they still fit it."""

from __future__ import annotations

from typing import Collection, Iterable, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.authority import ledger
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


class Earlier(NamedTuple):
    """The order in which certificates were recorded, by fingerprints and by serial numbers, and the ``ends`` of these.

    The order tells which is older: a company may sign whatever dates it likes.
    """

    leaves: dict[str, int]
    serials: dict[str, int]
    ends: dict[str, str]

    def is_recorded(self, leaf: Certificate) -> bool:
        """Return whether a certificate answered a request, be it one of a run that died before its host got it."""
        return leaf.sha256 in self.leaves

    def is_former(self, leaf: Certificate, serial: str) -> bool:
        """Return whether a certificate is the one in use, which has this serial number, or is older than that."""
        place = self.leaves.get(leaf.sha256)
        return f"{leaf.serial:x}" == serial or (place is not None and place < self.serials.get(serial, 0))

    def end(self, serial: str) -> str:
        """Return when the certificate with a serial number ends, '' if the ledger does not know it."""
        return self.ends.get(serial, "")


def look(directory: str, serials: Collection[str], leaves: Iterable[Certificate]) -> Earlier:
    """Return what the ledger in a directory says of certificates; it is read once. Raises TlsError, OSError."""
    needles = [f'"serial": "{one}"'.encode() for one in serials]
    needles += [f'"sha256": "{one.sha256}"'.encode() for one in leaves]
    found = Earlier({}, {}, {})
    for place, line in enumerate(ledger.matching(directory, needles)):
        found.leaves[str(line.get("sha256"))] = place
        found.serials[line["serial"]] = place
        found.ends[line["serial"]] = line["not_after"]
    return found
