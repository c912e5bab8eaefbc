# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client host as the tests of module connection_info see it: expectations of a server, and what became of them."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.verification import checks, expectation, libpq, report

DEFAULTS = {
    "expect": "accepted",
    "port": 5432,
    "database": "postgres",
    "certificate": "own",
    "files": "named",
    "sslmode": "verify-full",
}


class Checker:
    """The client of the fixture of that name, with short ways to try expectations on it."""

    def __init__(self, client: Any) -> None:
        self.name, self.home, self.cluster, self.give = client.name, client.home, client.cluster, client.give
        self.library = libpq.load()
        self.connect_timeout = 10

    def expect(self, **given: Any) -> dict[str, Any]:
        """Return an expectation with this cluster, this user and role app."""
        common = {"host": "localhost", "port": self.cluster.port, "role": "app", "os_user": self.name}
        return {**DEFAULTS, **common, **given}

    def refuse(self, kind: str, **given: Any) -> dict[str, Any]:
        """Return an expectation of a refusal."""
        return self.expect(expect="refused", kind=kind, **given)

    def verify(self, *items: dict[str, Any]) -> list[dict[str, Any]]:
        """Try expectations and return module results."""
        expected = [expectation.read(item, f"expectations[{number}]") for number, item in enumerate(items)]
        found = checks.verify(expected, self.library, self.connect_timeout)
        return [report.as_result(one) for one in found]

    def outcome(self, kind: str, **given: Any) -> dict[str, Any]:
        """Try a refusal beside the connection that has to work, which works, and return the refusal's result."""
        proof, found = self.verify(self.expect(), self.refuse(kind, **given))
        assert proof["status"] == "ok", proof
        return found
