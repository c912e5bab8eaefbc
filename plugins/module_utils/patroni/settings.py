# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What patroni.yml says of TLS, as Patroni's own Python reads it, and whether that Python can use it."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Mapping, NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core import files, processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni

RESTAPI, CTL, DATABASE = "restapi", "ctl", "postgresql"
# Keys that leave the process that reads the file: the rest of it holds passwords
_SHOWN: Mapping[str, tuple[str, ...]] = {
    RESTAPI: ("listen", "connect_address", "certfile", "keyfile", "cafile", "ciphers", "verify_client"),
    CTL: ("certfile", "keyfile", "cacert", "insecure"),
    DATABASE: ("connect_address",),
}
_HIDDEN = ("keyfile_password",)  # of both sections with files: a secret that stays there
_STORES = ("etcd", "etcd3", "consul", "kubernetes", "zookeeper", "exhibitor", "raft")
_OF_LOGIN = ("username", "sslmode", "sslcert", "sslrootcert")
_SCRIPT = """
import json, ssl, sys, yaml
given = json.load(sys.stdin)
try:
    found = yaml.safe_load(given["text"])
    sections = {name: {**(found.get(name) or {}), **given["environment"].get(name, {})} for name in given["shown"]}
    database = found.get("postgresql") or {}
    logins = {name: one or {} for name, one in (database.get("authentication") or {}).items()}
except Exception as error:  # its text may quote a password
    sys.exit(f"it is no configuration ({type(error).__name__})")
def fault(one, names):
    if not one.get("certfile"):
        return ""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        password = lambda: str(one.get("keyfile_password") or "")
        context.load_cert_chain(one["certfile"], one.get("keyfile"), password)
        if one.get("cafile"):
            context.load_verify_locations(cafile=one["cafile"])
    except Exception as error:
        return str(error)
    ciphers = one.get("ciphers") if "ciphers" in names else None
    try:
        if ciphers:
            context.set_ciphers(ciphers)
    except Exception:
        return f"ciphers: {ciphers!r} selects no cipher"
    return ""
def shown(one, names):
    return {name: str(one[name]) for name in names if one.get(name) is not None}
print(json.dumps({
    "scope": str(found.get("scope", "")), "name": str(found.get("name", "")),
    "sections": {name: shown(one, given["shown"][name]) for name, one in sections.items()},
    "faults": {name: fault(one, given["shown"][name]) for name, one in sections.items()},
    "logins": {name: shown(one, given["of_login"]) for name, one in logins.items()},
    "uses_socket": database.get("use_unix_socket") is True,
    "stores": [name for name in given["stores"] if name in found],
}))
"""


class Settings(NamedTuple):
    """The keys of sections that are no secrets, and why Patroni cannot use restapi and ctl ('': it can).

    ``logins`` are those of postgresql.authentication, ``stores`` the sections for the cluster's store. ``environment``
    names the variables of the process that take precedence over the file.
    """

    scope: str
    name: str
    sections: Mapping[str, Mapping[str, str]]
    faults: Mapping[str, str]
    logins: Mapping[str, Mapping[str, str]]
    uses_socket: bool
    stores: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

    @property
    def restapi(self) -> Mapping[str, str]:
        """Return the section of the REST API."""
        return self.sections[RESTAPI]

    @property
    def ctl(self) -> Mapping[str, str]:
        """Return the section of clients of the REST API: patronictl, and the members among themselves."""
        return self.sections[CTL]

    @property
    def address(self) -> str:
        """Return where other members reach the REST API."""
        return self.restapi.get("connect_address") or self.restapi.get("listen", "")

    @property
    def server_address(self) -> str:
        """Return where other members reach the server, and clients that ask the store, '' if the file says nothing."""
        return self.sections.get(DATABASE, {}).get("connect_address", "")

    @property
    def verifying(self) -> list[str]:
        """Return the logins by which members verify the servers of others: those for replication and pg_rewind."""
        rewinding = "rewind" if "rewind" in self.logins else "superuser"
        return [one for one in ("replication", rewinding) if self.logins.get(one, {}).get("sslmode") == "verify-full"]

    @property
    def verifies_clients(self) -> bool:
        """Return whether the REST API asks for client certificates."""
        return self.restapi.get("verify_client", "").lower() in ("optional", "required")


def text_of(patroni: Patroni) -> str:
    """Return the text of the configuration file; bytes that are no UTF-8 survive."""
    return files.text(patroni.config) or ""


def read(patroni: Patroni, account: Account, text: str) -> Settings:
    """Return what a text of the configuration file says. This acts as the OS user. Raises TlsError for what is none."""
    environment = _environment(patroni.pid)
    given = {"text": text, "shown": _SHOWN, "of_login": _OF_LOGIN, "stores": _STORES, "environment": environment}
    done = processes.run([patroni.python, "-c", _SCRIPT], user=account, stdin=json.dumps(given))
    if done.status:
        raise TlsError(
            f"{patroni.config}: Patroni's own Python cannot read it: {done.errors.strip() or 'it failed'}.",
            remedy="Correct it. patronictl list shows whether Patroni still runs with what it read before.",
            code="patroni_config_form",
        )
    found: dict[str, Any] = json.loads(done.output)
    names = [_variable(section, key) for section, keys in environment.items() for key in keys]
    stores = tuple(found.pop("stores"))
    return Settings(**found, stores=stores, environment=tuple(sorted(names)))


def host_of(address: str) -> str:
    """Return the host in HOST:PORT, without the brackets of an IPv6 address."""
    return (address.rpartition(":")[0] or address).strip("[]")


def _variable(section: str, key: str) -> str:
    return f"PATRONI_{section}_{key}".upper()


def _environment(pid: int) -> dict[str, dict[str, str]]:
    """Return the keys of the sections that the environment of the process sets. Patroni ignores empty ones."""
    content = b""
    with contextlib.suppress(OSError):
        content = files.read(f"/proc/{pid}/environ") or b""
    given = dict(one.split("=", 1) for one in os.fsdecode(content).split("\0") if "=" in one)
    return {
        section: {
            key: given[name] for key in (*keys, *_HIDDEN) for name in [_variable(section, key)] if given.get(name)
        }
        for section, keys in _SHOWN.items()
    }
