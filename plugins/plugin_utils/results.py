# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles leave on a host for later plays: the results of their modules, by the names in their READMEs.

``variables`` are those of one host, as in ``hostvars``. A result is {} where this run has none.
"""

from __future__ import annotations

from typing import Any, Mapping

Result = Mapping[str, Any]
Variables = Mapping[str, Any]


def converged(variables: Variables, step: str) -> Result:
    """Return what the module of a step said first: what there was, and what it did without a new certificate."""
    return _result(variables, f"postgres_{step}_converged")


def installed(variables: Variables, step: str) -> Result:
    """Return what the module of a step said when it installed new certificates; {} where none was due."""
    found = _result(variables, f"postgres_{step}_installed")
    return {} if found.get("skipped") else found


def last(variables: Variables, step: str) -> Result:
    """Return what the module of a step said last."""
    return installed(variables, step) or converged(variables, step)


def is_ready(variables: Variables, step: str = "server") -> bool:
    """Return whether this run has brought a host to what is declared: it is part of the run, and did not fail.

    A host whose certificate comes in a later run is not there yet.
    """
    found = (converged(variables, step), installed(variables, step))
    is_through = bool(found[0]) and not failed(variables, step) and not any(one.get("unreachable") for one in found)
    return is_through and not is_waiting(variables, step)


def is_waiting(variables: Variables, step: str) -> bool:
    """Return whether a host still asks for certificates after this run: a later one brings them."""
    found = last(variables, step)
    asked = [found.get("request"), *(one.get("csr") for one in found.get("requests") or ())]
    return any(asked) and not failed(variables, step)


def waiting(variables: Variables) -> Result:
    """Return which certificates, by id, a later run brings, of those that were asked for in the last play."""
    return _result(variables, "postgres_ca_signed").get("waiting") or {}


def listed(variables: Variables) -> Result:
    """Return which certificates the clients of a host have, as the report has looked them up."""
    return _result(variables, "postgres_client_certificates")


def looked_up(variables: Variables, step: str) -> Result:
    """Return what the report has learned of the certificates of a step; {} where this run is none."""
    return sessions(variables) if step == "server" else _result(variables, f"postgres_{step}_certificates")


def verified(variables: Variables) -> Result:
    """Return what module connection_info said of the connections from a host."""
    return _result(variables, "postgres_verify_result")


def sessions(variables: Variables) -> Result:
    """Return what module session_info said of the sessions of a server."""
    return _result(variables, "postgres_server_sessions")


def senders(variables: Variables) -> Result:
    """Return what module session_info said of the sessions of a server from which another one replicates."""
    return _result(variables, "__postgres_server_senders")


def failed(variables: Variables, role: str) -> str:
    """Return why ``role`` failed on a host, '' where it did not: ``server``, ``client`` and others."""
    return str(variables.get(f"postgres_{role}_failed") or "")


def _result(variables: Variables, name: str) -> Result:
    return variables.get(name) or {}
