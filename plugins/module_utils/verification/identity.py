# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which server answered: its certificate on that very connection, compared with those that the run knows."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

# Seconds. Two runs at once may sign in one order and install in the other.
_RUNS_OVERLAP = 3600


class Known(NamedTuple):
    """A server that may answer by a name: its own names, and serial number (hexadecimal) and start of its certificate.

    The serial number is '' where this run has not learned the certificate. ``back`` is that of the certificate by which
    a pooler logs in to PostgreSQL.
    """

    server: str
    names: frozenset[str] = frozenset()
    serial: str = ""
    not_before: int = 0
    back: str = ""


class Answer(NamedTuple):
    """The server that answered ('': unknown), a note on that, and why it is the wrong one."""

    server: str = ""
    note: str = ""
    fault: str = ""


def known(options: Mapping[str, Any], option: str) -> Known:
    """Return the server that an item of ``certificates`` describes. Raises TlsError, naming ``option``."""
    start = options.get("not_before") or ""
    try:
        not_before = clock.seconds(start) if start else 0
    except ValueError:
        raise TlsError(
            f"{option}.not_before: expected a time such as 2026-01-31T00:00:00Z, found {shown(start)}.",
            code="time_invalid",
        ) from None
    serial, back = ((options.get(key) or "").lower().lstrip("0") for key in ("serial", "back_serial"))
    return Known(options["server"], frozenset(options.get("names") or ()), serial, not_before, back)


def answer(leaf: Certificate | None, may_answer: Sequence[Known]) -> Answer:
    """Return which of the servers that ``may_answer`` has shown this certificate; without any, nothing is compared.

    A certificate that this run does not know is right if another run has renewed it in between: then it has exactly
    the names of one server, and is not older than the one that is known.
    """
    if leaf is None or not may_answer:
        return Answer()
    by_serial = [one.server for one in may_answer if one.serial == f"{leaf.serial:x}"]
    if by_serial:
        return Answer(by_serial[0])
    alike = [one for one in may_answer if one.names == {name.value for name in leaf.names}]
    renewed = [one for one in alike if one.serial and leaf.not_before >= one.not_before - _RUNS_OVERLAP]
    if len(alike) == len(renewed) == 1:
        return Answer(renewed[0].server, "another run has renewed its certificate in the meantime")
    unknown = [one.server for one in may_answer if not one.serial]
    if unknown:
        return Answer(note=f"which server answered is not known: {_is_no_part(unknown)}")
    if renewed:
        listed = " and ".join(one.server for one in renewed)
        return Answer(note=f"which server answered is not known: {listed} have the same names")
    return Answer(fault=_by_another(leaf, may_answer))


def _is_no_part(servers: Sequence[str]) -> str:
    are = "were" if len(servers) > 1 else "was"
    return f"{' and '.join(servers)} {are} not part of this run"


def _by_another(leaf: Certificate, may_answer: Sequence[Known]) -> str:
    meant = " or ".join(f"{one.server} (serial number {one.serial})" for one in may_answer)
    named = ", ".join(name.value for name in leaf.names) or "none"
    return (
        f"by another server than {meant}: its certificate has serial number {leaf.serial:x} and the names {named}. "
        "Look where the name leads from this host"
    )
