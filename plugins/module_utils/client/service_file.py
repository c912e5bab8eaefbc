# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed block of ``~/.pg_service.conf``; every byte outside it is the user's.

An identity has a service with its name, which leaves the server to the connection string. It also has one for each of
its servers and databases: NAME@SERVER connects to the first database, NAME@SERVER/DATABASE to another one.

A line is read the way libpq reads it (parseServiceFile in fe-connect.c): white space around it does not count,
``[NAME]`` begins a service, and the first service of a name wins.
"""

from __future__ import annotations

import re
from typing import Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import parameters
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity, default_holders
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import databases

BEGIN = b"# BEGIN pgops.tls: made by Ansible, changes in this block are overwritten"
END = b"# END pgops.tls"
_SECTION = re.compile(rb"^\[(.*)\]\n(?:[a-z_]+=.*\n)*", re.MULTILINE)


class Parts(NamedTuple):
    """A service file cut into what comes before the managed block, the block, and what comes after it."""

    before: bytes
    block: bytes
    after: bytes

    @property
    def joined(self) -> bytes:
        """Return the whole file."""
        return self.before + self.block + self.after


def render(
    identities: Sequence[Identity],
    current: str,
    *,
    has_lists: bool = False,
    libpq: int = 0,
    direct: Sequence[str] = (),
    declared: Sequence[Identity] = (),
) -> bytes:
    """Return the block for the identities of one OS user.

    ``current`` is the directory of the generation in use; ``has_lists``: lists of revoked certificates are in it.
    ``libpq`` is the version of this host's, 0 if no identity needs to know. ``direct`` are the services that begin with
    TLS now. ``declared`` are all identities of the OS user, if these are only some.
    """
    holders = default_holders(one for one in declared or identities if one.logs_in).values()
    has_default = any(one is not None and one.has_certificate for one in holders)
    lines = [BEGIN.decode()]
    for one in identities:
        names_pair = one.has_certificate or has_default
        files = parameters.files(one, current, has_lists=has_lists, names_pair=names_pair)
        for name, target in services(one, direct).items():
            more = parameters.known({**target, **files, **parameters.strict(one)}, libpq)
            lines += [f"[{name}]", f"user={one.role}", *_lines(more)]
    return "\n".join([*lines, END.decode(), ""]).encode("utf-8", "surrogateescape")


def services(identity: Identity, direct: Sequence[str] = ()) -> dict[str, dict[str, str]]:
    """Return the parameters of each service of an identity that say what it connects to; none if not to PostgreSQL.

    ``direct`` are the services that begin with TLS now.
    """
    if not (identity.logs_in or identity.is_managed):
        return {}
    named = databases.named(identity.databases, identity.role)
    first = {"dbname": named[0]} if named else {}
    found = {identity.name: first}
    for one in identity.endpoints:
        name = f"{identity.name}@{one.server}"
        place = parameters.place(one)
        place.update(parameters.negotiation(identity, one, was_direct=name in direct))
        found[name] = {**place, **first}
        found.update({f"{name}/{other}": {**place, "dbname": other} for other in named[1:] if "]" not in other})
    return found


def _lines(values: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]


def merge(
    existing: bytes | None,
    identities: Sequence[Identity],
    current: str,
    path: str,
    *,
    has_lists: bool = False,
    libpq: int = 0,
    declared: Sequence[Identity] = (),
) -> bytes | None:
    """Return the service file with our block in it, None for no file and no services. Options are those of ``render``.

    With ``declared`` the services of all names stay that are not those of ``identities``. Raises TlsError for broken
    markers or a name that is taken.
    """
    parts = split(existing or b"", path)
    stay = _of_others(parts.block, identities) if declared else {}
    if not stay and not any(services(one) for one in identities):
        return existing and parts._replace(block=b"").joined
    _refuse_alike(identities, path)
    others = parts.before + parts.after
    taken = [name for one in identities for name in services(one) if _has_service(others, name)]
    if taken:
        raise TlsError(
            f"{path}: the service {taken[0]!r}, written by hand, has the name of a service of an identity.",
            remedy="Rename or remove the one written by hand.",
            code="service_name_taken",
        )
    before = parts.before + (b"\n" if parts.before and not parts.before.endswith(b"\n") else b"")
    direct = _direct(parts.block)
    block = render(identities, current, has_lists=has_lists, libpq=libpq, direct=direct, declared=declared)
    return before + (_joined(parts.block, block, stay) if stay else block) + parts.after


def _of_others(block: bytes, identities: Sequence[Identity]) -> dict[str, bytes]:
    """Return the services of a block that are of none of these identities, by name."""
    own = tuple(f"{one.name}@" for one in identities)
    return {name: text for name, text in _sections(block).items() if not f"{name}@".startswith(own)}


def _joined(block: bytes, coming: bytes, stay: Mapping[str, bytes]) -> bytes:
    """Return a block that is ``coming`` with services that ``stay``, in the order that they have now."""
    sections = {**stay, **_sections(coming)}
    ordered = dict.fromkeys([*(name for name in _sections(block) if name in sections), *sections])
    return b"".join([BEGIN + b"\n", *(sections[name] for name in ordered), END + b"\n"])


def _sections(block: bytes) -> dict[str, bytes]:
    """Return the services of a managed block by name."""
    return {found[1].decode("utf-8", "surrogateescape"): found[0] for found in _SECTION.finditer(block)}


def _refuse_alike(identities: Sequence[Identity], path: str) -> None:
    """Raise TlsError for two services with one name: libpq would use the first."""
    having: dict[str, Identity] = {}
    for one in identities:
        for name in services(one):
            other = having.setdefault(name, one)
            if other is not one:
                raise TlsError(
                    f"{path}: the identities {other.id} and {one.id} would both have the service {name!r}.",
                    remedy="Give one of them another name in name.",
                    code="service_name_twice",
                )


def split(content: bytes, path: str) -> Parts:
    """Return the parts of a service file. Raises TlsError unless it has no marker or one pair of them in order."""
    lines = re.findall(rb"[^\n]*\n|[^\n]+", content)
    begins = [number for number, line in enumerate(lines) if line.strip() == BEGIN]
    ends = [number for number, line in enumerate(lines) if line.strip() == END]
    if not begins and not ends:
        return Parts(content, b"", b"")
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise TlsError(
            f"{path}: expected one line {BEGIN.decode()!r} and after it one line {END.decode()!r}, found "
            f"{len(begins)} and {len(ends)} in another order or number.",
            remedy="Remove what is left of the block by hand.",
            code="service_block_broken",
        )
    first, last = begins[0], ends[0] + 1
    return Parts(b"".join(lines[:first]), b"".join(lines[first:last]), b"".join(lines[last:]))


def names(block: str) -> list[str]:
    """Return the services of a managed block."""
    return re.findall(r"^\[(.*)\]$", block, re.MULTILINE)


def _direct(block: bytes) -> list[str]:
    """Return the services of a managed block that begin with TLS."""
    sections = block.decode("utf-8", "surrogateescape").split("\n[")[1:]
    return [one.partition("]\n")[0] for one in sections if "\nsslnegotiation=direct\n" in one]


def _has_service(content: bytes, name: str) -> bool:
    wanted = f"[{name}]".encode()
    return any(line.strip().startswith(wanted) for line in content.split(b"\n"))
