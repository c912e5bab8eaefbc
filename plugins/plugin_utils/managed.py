# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities for servers outside the inventory, whose certificates somebody else looks after, such as a cloud.

They name ``endpoints``. What they trust is in bundles on the controller, which are read once for all hosts.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.postgres import logins
from ansible_collections.pgops.tls.plugins.plugin_utils import bundles
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, Groups, Hostvars, Variables

VARIABLE, _IDENTITIES = "postgres_client_trust", "postgres_client_identities"
_OF_INVENTORY = ("names", "authority", "servers", "address", "default_files")


class Trusts(NamedTuple):
    """The roots (PEM) that identities trust by a short name, and that name by host and identity, as a JSON text."""

    bundles: Mapping[str, str]
    names: str
    warnings: Sequence[str]


def as_module(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return such an identity as module client takes it: it logs in by password, and an endpoint is a server."""
    endpoints = [{"server": one["host"], "port": 5432, **one} for one in identity["endpoints"]]
    own = {name: value for name, value in identity.items() if name != "trust"}
    return {**own, "login": logins.PASSWORD, "endpoints": endpoints}


def plain(declared: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the identities of a host with those for servers outside the inventory as module client takes them."""
    return [as_module(one) if logins.is_managed(one) else one for one in declared]


def refuse_mixed(identity: Mapping[str, Any], option: str) -> None:
    """Raise TlsError for an identity with endpoints that has what is for servers of the inventory, or the reverse."""
    if not logins.is_managed(identity):
        if identity.get("trust"):
            raise TlsError(
                f"{option}: found trust without endpoints. The servers of the inventory have roots of their own.",
                remedy="Name the servers outside the inventory in endpoints, or remove trust.",
                code="trust_without_endpoints",
            )
        return
    given = [name for name in _OF_INVENTORY if identity.get(name) is not None]
    given += ["login"] if identity.get("login") in (logins.CERTIFICATE, logins.BOTH) else []
    if given:
        raise TlsError(
            f"{option}: found endpoints and {given[0]}. endpoints are servers outside the inventory, at which the "
            "identity has a password and no certificate of this collection.",
            remedy=f"Remove {given[0]}, or make it two identities.",
            code="identity_managed_mixed",
        )


def paths(identity: Mapping[str, Any], variables: Variables, option: str) -> tuple[str, ...]:
    """Return the bundles of an identity with endpoints. Raises TlsError if there is none."""
    own = identity.get("trust")
    source, listed = (f"{option}.trust", own) if own else (VARIABLE, variables.get(VARIABLE))
    if not listed:
        raise TlsError(
            f"{option}: found endpoints, but neither trust nor {VARIABLE}. Expected the provider's roots.",
            remedy=f"Download its bundle, and name the file in {VARIABLE}.",
            code="trust_missing",
        )
    return tuple(_absolute(one, variables.get("inventory_dir"), source) for one in listed)


def _absolute(path: Any, directory: Any, source: str) -> str:
    if not isinstance(path, str) or not path or not path.isprintable():
        raise TlsError(f"{source}: found {shown(path)}, expected the path of a file.", code="bundle_path_invalid")
    whole = os.path.join(str(directory or ""), os.path.expanduser(path))
    if not os.path.isabs(whole):
        raise TlsError(
            f"{source}: found {shown(path)}, and the inventory has no directory that it could begin at.",
            remedy="Write an absolute path.",
            code="bundle_path_invalid",
        )
    return os.path.normpath(whole)


def roots(variables: Variables, now: int) -> Iterator[tuple[str, bundles.Roots]]:
    """Yield each identity of a host with endpoints, by its id, and what it trusts. Raises TlsError."""
    for number, one in enumerate(variables.get(_IDENTITIES) or ()):
        if logins.is_managed(one):
            option = f"{_IDENTITIES}[{number}]"
            source = f"{option}.trust" if one.get("trust") else VARIABLE
            found = bundles.read(paths(one, variables, option), source, now)
            yield f"{one['os_user']}/{identities.name_of(one)}", found


def problems(variables: Variables, now: int) -> list[str]:
    """Return a sentence if the bundles of a host cannot be used. ``now`` is in Unix seconds."""
    try:
        dict(roots(variables, now))
    except TlsError as error:
        return [error.message]
    return []


def of_fleet(hostvars: Hostvars, groups: Groups, now: int) -> Trusts:
    """Return what the identities of all client hosts trust. Raises TlsError."""
    texts: dict[str, str] = {}
    named: dict[str, dict[str, str]] = {}
    warnings: dict[str, None] = {}
    for host in groups.get(CLIENTS, ()):
        for id_, found in roots(hostvars[host], now):
            name = hashlib.sha256(found.pem.encode("ascii")).hexdigest()[:16]
            texts[name] = found.pem
            named.setdefault(host, {})[id_] = name
            warnings.update(dict.fromkeys(found.warnings))
    return Trusts(texts, json.dumps(named), list(warnings))


def of_host(trusts: Mapping[str, Any], host: str) -> dict[str, str]:
    """Return the roots by identity of one host, of what action known_servers said."""
    return {id_: trusts["bundles"][name] for id_, name in _parsed(str(trusts["trusts"])).get(host, {}).items()}


@functools.lru_cache(maxsize=1)
def _parsed(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(text)
    return found
