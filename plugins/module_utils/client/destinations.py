# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which servers an OS user connects to, as its ``.pgpass`` and ``.pg_service.conf`` say: no other word leaves them."""

from __future__ import annotations

import re
from typing import Iterable, Iterator, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address

_FIELD = rb"((?:\\.|[^:\\])*)"
_PASSWORD_LINE = re.compile(rb":".join([_FIELD] * 4) + rb":")  # host, port, database, user; then the password
_HOST = re.compile(r"[\w.:%-]{1,253}")  # a name or an address: nothing else is shown
_FILES = {"sslrootcert", "sslcert", "sslkey"}  # a service with all of them uses no file at a default name


def of_password_file(content: bytes) -> list[str]:
    """Return the hosts of a ``.pgpass``, as libpq reads it; ``*`` stands for every host, and is none of them."""
    found = []
    for line in content.split(b"\n"):
        match = _PASSWORD_LINE.match(line)
        if match:  # of a comment, too: it begins with what is in no name
            found.append(re.sub(rb"\\(.)", rb"\1", match[1]))
    return _hosts(found)


def of_services(content: bytes) -> list[str]:
    """Return the hosts of the services in a ``.pg_service.conf`` that would use files at libpq's default names."""
    found: list[bytes] = []
    for service in _services(content):
        if service.get("sslmode") != b"disable" and not service.keys() >= _FILES:
            found += (service.get("host") or service.get("hostaddr") or b"").split(b",")
    return _hosts(found)


def outside(hosts: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the hosts that are none of the ``known`` names and addresses, where ``*`` stands for one label."""
    keys = {_key(name) for name in known}
    return [host for host in hosts if _key(host) not in keys and f"*.{_key(host).partition('.')[2]}" not in keys]


def _services(content: bytes) -> Iterator[Mapping[str, bytes]]:
    """Return the parameters of each service. The first value of a parameter counts."""
    lines = [line.strip() for line in content.split(b"\n")]
    starts = [number for number, line in enumerate(lines) if line.startswith(b"[")]
    for start, end in zip(starts, [*starts[1:], None]):
        service: dict[str, bytes] = {}
        for line in lines[start + 1 : end]:
            name, _separator, value = line.partition(b"=")
            service.setdefault(name.decode("utf-8", "replace"), value)
        yield service


def _hosts(found: Iterable[bytes]) -> list[str]:
    """Return what is a name or address, once each. A socket's directory has no TLS."""
    texts = (one.decode("utf-8", "replace").strip() for one in found)
    return list(dict.fromkeys(text for text in texts if _HOST.fullmatch(text)))


def _key(name: str) -> str:
    """Return what two spellings of a name or an address have in common."""
    packed = packed_address(name)
    return packed.hex() if packed is not None else name.lower().rstrip(".")
