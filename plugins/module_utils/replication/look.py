# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections by which a server replicates, and their files: everything is read here, and nothing is decided."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Iterator, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.replication import conninfo
from ansible_collections.pgops.tls.plugins.module_utils.replication.findings import STANDBY, SUBSCRIPTION, Connection
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_chain

_DEFAULTS = {"sslcert": "postgresql.crt", "sslkey": "postgresql.key", "sslrootcert": "root.crt"}
_SERVICE_FILE = ".pg_service.conf"


def connections(found: Mapping[str, Any], account: Account) -> list[Connection]:
    """Return the connections in what a server said (see postgres/state.py). Its files are read as its OS user.

    Raises TlsError where that is not allowed.
    """
    with acting_as(account):
        return list(_connections(found, account))


def _connections(found: Mapping[str, Any], account: Account) -> Iterator[Connection]:
    if found["primary_conninfo"]:
        yield _connection(STANDBY, STANDBY, found["primary_conninfo"], found["receiver"] or {}, account)
    for one in found["subscriptions"] or ():
        name = f"{one['database']}/{one['name']}"
        yield _connection(SUBSCRIPTION, name, one["conninfo"], one, account)


def _connection(kind: str, name: str, text: str, process: Mapping[str, Any], account: Account) -> Connection:
    try:
        given = parameters = conninfo.parse(text)
    except TlsError:
        return Connection(kind, name, None)
    if given.get("service"):
        service_file = _bytes(os.path.join(account.home, _SERVICE_FILE)) or b""
        parameters = conninfo.with_service(given, service_file.decode("utf-8", "replace"))
    status = str(process.get("status") or "")
    one = Connection(kind, name, given, parameters, process.get("pid"), process.get("began"), status)
    return one._replace(missing=tuple(_missing(one, account)), **_certificate(one, account))


def _path(one: Connection, parameter: str, account: Account) -> str:
    return one.parameters.get(parameter) or os.path.join(account.home, ".postgresql", _DEFAULTS[parameter])


def _missing(one: Connection, account: Account) -> Iterator[str]:
    """Give the files that libpq needs and cannot read: those that are named, and the root if it is to verify.

    What is no absolute path is left to libpq: it may be a key in hardware, or ``system`` for the root.
    """
    for parameter in _DEFAULTS:
        named = one.parameters.get(parameter)
        is_needed = bool(named) or (parameter == "sslrootcert" and one.mode.startswith("verify-"))
        path = _path(one, parameter, account)
        if is_needed and os.path.isabs(path) and _bytes(path) is None:
            yield path


def _certificate(one: Connection, account: Account) -> dict[str, Any]:
    """Return the leaf in the certificate file of a connection, and since when at the latest it is there."""
    path = _path(one, "sslcert", account)
    leaf = next(iter(read_chain(_bytes(path), path)), None)
    if leaf is None:
        return {}
    with contextlib.suppress(OSError, TlsError):
        return {"leaf": leaf, "path": os.path.realpath(path), "replaced": _replaced(path, leaf, account)}
    return {"leaf": leaf, "path": os.path.realpath(path)}


def _replaced(path: str, leaf: Certificate, account: Account) -> float | None:
    """Return since when a path leads to a leaf, None where that is not certain. Raises OSError.

    A generation inherits the certificate of the one before. If all that are kept have it, an earlier one may have had
    it, too. The newest one is in use since its link is.
    """
    target = os.path.realpath(path)
    above, _slash, inside = target.partition("/generations/")
    number, _slash, file = inside.partition("/")
    store = GenerationStore(above, account.owner)
    if number not in store.names() or store.current() != number:
        return os.stat(target).st_mtime
    moment = os.lstat(store.current_link).st_mtime
    for name in reversed(store.names()[: store.names().index(number)]):
        before = next(iter(read_chain(store.read(name, file), file)), None)
        if before is None or before.sha256 != leaf.sha256:
            return moment
        moment, number = os.stat(store.path(name, file)).st_mtime, name
    return moment if int(number) == 1 else None


def _bytes(path: str) -> bytes | None:
    try:
        return files.read(path)
    except OSError:
        return None
