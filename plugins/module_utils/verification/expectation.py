# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection and what is to become of it, as the options of module connection_info describe it."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.verification import refusal_messages
from ansible_collections.pgops.tls.plugins.module_utils.verification.identity import Known, known
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import refuse_port

POOLER_MODES = ("allow", "prefer", "require", "verify-ca", "verify-full")  # client_tls_sslmode of a PgBouncer
DEMANDING = POOLER_MODES[-2:]  # of them, those that demand a certificate


class Expectation(NamedTuple):
    """A connection and what is to become of it; the options of module connection_info, complete."""

    server: str
    host: str
    hostaddr: str
    port: int
    database: str
    replication: bool
    os_user: str
    home: str
    role: str
    certificate: str
    certificate_role: str
    identity: str
    files: str
    service: str
    sslcert: str
    sslkey: str
    sslrootcert: str
    sslmode: str
    expect: str
    kind: str
    skip: str
    asks_for_password: bool
    needs_password: bool
    certificates: tuple[Known, ...]
    pooler: str = ""

    @property
    def servers(self) -> tuple[str, ...]:
        """Return the servers that may answer: those whose name it is, in the inventory's words."""
        return tuple(one.server for one in self.certificates) or (self.server,)

    @property
    def may_end_at_prompt(self) -> bool:
        """Return whether a prompt for a password may end it, although nothing shows that a certificate is demanded."""
        return self.certificate == "none" or (
            bool(self.pooler) and self.pooler not in DEMANDING and not self.needs_password
        )

    @property
    def wanted(self) -> str:
        """Return what is expected, in the words of the report."""
        if self.kind:
            whose = f" ({self.certificate_role})" if self.kind == "another_role" else ""
            return f"refused: {refusal_messages.REFUSALS[self.kind].title}{whose}"
        how = {"named": "", "default": ", default files", "service": ", service"}[self.files]
        return f"accepted{', replication' if self.replication else ''}{how}"

    @property
    def proof(self) -> tuple[str, str, str, int, str]:
        """Return what a refusal and the connection that shows it to be meant have in common."""
        return (self.os_user, self.host, self.hostaddr, self.port, self.identity)

    @property
    def holder(self) -> tuple[str, str]:
        """Return whose certificate is shown."""
        return (self.os_user, self.identity)


def read(options: Mapping[str, Any], option: str) -> Expectation:
    """Return the expectation that an item of ``expectations`` describes. Raises TlsError, naming ``option``."""
    given = {key: value for key, value in options.items() if value is not None and key in Expectation._fields}
    host, role = given.get("host", ""), given.get("role", "")
    if not host or host[0] in "/@" or "," in host:
        raise TlsError(
            f"{option}.host: {shown(host)} is no host name or address. A Unix socket would ignore sslmode, "
            "and a list would hide which host answered.",
            code="host_invalid",
        )
    _refuse_invisible(given, option)
    refuse_port(given.get("port", 5432), f"{option}.port")
    listed = given.get("certificates") or ()
    given["certificates"] = tuple(known(one, f"{option}.certificates[{i}]") for i, one in enumerate(listed))
    given.setdefault("server", ", ".join(one.server for one in given["certificates"]) or host)
    given.setdefault("certificate_role", role)
    given.setdefault("identity", given["certificate_role"])
    defaults = {
        "replication": False,
        "asks_for_password": False,
        "needs_password": False,
        "home": "",
        "hostaddr": "",
        "kind": "",
        "skip": "",
        "service": "",
        "sslcert": "",
        "sslkey": "",
        "sslrootcert": "",
    }
    found = Expectation(**{**defaults, **given})
    if (found.expect == "refused") != bool(found.kind):
        raise TlsError(f"{option}: kind is only for expect=refused, which requires it.", code="kind_unexpected")
    if found.kind == "another_role" and found.role == found.certificate_role:
        raise TlsError(
            f"{option}: kind=another_role needs a certificate_role other than role ({role!r}).",
            code="certificate_role_missing",
        )
    return found


def _refuse_invisible(given: Mapping[str, Any], option: str) -> None:
    for name, value in given.items():
        if isinstance(value, str) and not value.isprintable():
            raise TlsError(
                f"{option}.{name}: {shown(value)} has control characters or invisible ones.",
                remedy="Remove them.",
                code="control_characters_in_value",
            )
