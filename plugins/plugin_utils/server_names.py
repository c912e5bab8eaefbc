# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of a server or pooler as an inventory declares them, and which client hosts can reach it by them.

An element of the list is a text, or a dictionary with what differs for this name: ``name``, ``port`` (where clients
reach it, if not on the server's own port), ``from`` (the groups and hosts that can reach it) and ``shared`` (other
servers have it, too).
"""

from __future__ import annotations

import difflib
import functools
import itertools
from typing import Any, Collection, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names as x509_names
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Graph

NAMES, EXTRA_NAMES = "postgres_server_names", "postgres_server_extra_names"
POOLER_NAMES = "postgres_pooler_names"
_PORTS = {"postgres_server_port": 5432, "postgres_pooler_port": 6432}
VARIABLES = (NAMES, EXTRA_NAMES, POOLER_NAMES, *_PORTS)
SELF = "self"  # in ``from``: the machine of the server itself
_KEYS = ("name", "port", "from", "shared")
_LOOPBACK_V6, _MAPPED = bytes(15) + b"\1", bytes(10) + b"\xff\xff"
_LOOPBACK = ("localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback")


class Name(NamedTuple):
    """A name of a server, and the port that clients connect to by it.

    ``sources``: who can reach the server by it, hosts of the inventory or SELF; None: every client host, by a loopback
    name SELF. ``is_shared``: other servers have it, too, and any of them may answer.
    """

    text: str
    port: int
    sources: frozenset[str] | None = None
    is_shared: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Return what two servers must not both have, unless they share it."""
        return canonical(self.text), self.port

    @property
    def is_for_self(self) -> bool:
        """Return whether the machine of the server itself can reach it."""
        return is_loopback(self.text) if self.sources is None else SELF in self.sources


def parse(element: object, option: str, port: int = 0) -> Name:
    """Return the name that an element of the list declares, with what ``from`` lists as it is.

    ``port`` is that of the server. Raises TlsError, naming ``option``. The name itself is checked with the others.
    """
    if isinstance(element, str):
        return Name(element, port)
    if not isinstance(element, Mapping):
        raise TlsError(
            f"{option}: found {shown(element)}, expected a DNS name, an IP address, or a dictionary with the key name.",
            code="name_missing",
        )
    for key in element:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1) or _KEYS
            raise TlsError(
                f"{option}: there is no key {shown(key)}.",
                remedy=f"Write {' or '.join(near)}.",
                code="name_key_unknown",
            )
    text, is_shared = element.get("name"), element.get("shared", False)
    if not isinstance(text, str) or not text:
        raise TlsError(
            f"{option}: found {shown(element)}, expected a DNS name or an IP address in its key name.",
            code="name_missing",
        )
    if not isinstance(is_shared, bool):
        raise TlsError(
            f"{option}.shared: found {shown(is_shared)}, expected true or false.", code="name_shared_invalid"
        )
    return Name(text, _port(element.get("port"), option, port), _sources(element, option), is_shared)


def texts(elements: Iterable[object]) -> list[str]:
    """Return the names alone, for a certificate. Raises TlsError for an element that is neither form."""
    return [parse(one, NAMES).text for one in elements]


def of(variables: Mapping[str, Any], graph: Graph | None = None, *, is_pooler: bool = False) -> tuple[Name, ...]:
    """Return the names that a host's variables declare for its server or pooler, each once. Raises TlsError.

    The defaults are those of the roles, which another host cannot see. Without a ``graph``, ``from`` is not looked up.
    """
    variable = "postgres_pooler_port" if is_pooler else "postgres_server_port"
    port = int(variables.get(variable, _PORTS[variable]))
    found: dict[tuple[str, int], Name] = {}
    for option, element in _declared(variables, is_pooler=is_pooler):
        name = parse(element, option, port)
        if graph and name.sources:
            hosts = graph.hosts_of(sorted(name.sources - {SELF}), f"{option}.from")
            name = name._replace(sources=hosts | (name.sources & {SELF}))
        before = found.setdefault(name.key, name)
        if before[1:] != name[1:]:
            raise TlsError(
                f"{option}: {shown(name.text)}, port {name.port}, is declared twice, with another from or shared.",
                remedy="Keep one of the two.",
                code="name_declared_twice",
            )
    return tuple(found.values())


def origins(variables: Mapping[str, Any], *, is_pooler: bool = False) -> dict[str, str]:
    """Return the variable that each name of a server or pooler comes from."""
    found = {}
    for option, element in reversed(list(_declared(variables, is_pooler=is_pooler))):
        variable = option.partition("[")[0]
        default = f"the default of {variable}, which is the inventory's name,"
        found[parse(element, option).text] = variable if variable in variables else default
    return found


def _declared(variables: Mapping[str, Any], *, is_pooler: bool) -> Iterator[tuple[str, object]]:
    """Return each element of the lists with its place."""
    own = (POOLER_NAMES,) if is_pooler else (NAMES, EXTRA_NAMES)
    for option in own:
        default = [variables["inventory_hostname"]] if option != EXTRA_NAMES else []
        for number, element in enumerate(variables.get(option, default)):
            yield f"{option}[{number}]", element


def _port(value: object, option: str, default: int) -> int:
    if value is None:
        return default
    is_number = isinstance(value, int) and not isinstance(value, bool)
    is_text = isinstance(value, str) and value.isascii() and value.isdigit()  # what a template gives
    if not is_number and not is_text:
        raise TlsError(f"{option}.port: found {shown(value)}, expected a number, 1 to 65535.", code="port_out_of_range")
    x509_names.refuse_port(int(str(value)), f"{option}.port")
    return int(str(value))


def _sources(element: Mapping[str, Any], option: str) -> frozenset[str] | None:
    given = element.get("from")
    if given is None:
        return None
    if not isinstance(given, (list, tuple)):
        raise TlsError(
            f"{option}.from: found {shown(given)}, expected a list of groups or hosts of the inventory, or {SELF}.",
            remedy="Leave from out if every client host can reach the server by this name.",
            code="name_from_invalid",
        )
    return frozenset(map(str, given))


def unshared(names: Mapping[str, Iterable[Name]]) -> Iterator[tuple[Name, list[str], list[str]]]:
    """Return each name that several servers have and not all share, all its servers, and those that do not share it.

    ``names`` are those of each server. What no client host connects by counts for nothing, nor does a name that leads
    each client host to one of the servers.
    """
    found: dict[tuple[str, int], list[tuple[str, Name]]] = {}
    for server, own in names.items():
        for name in own:
            if not is_wildcard(name.text) and not (name.sources is None and is_loopback(name.text)):
                found.setdefault(name.key, []).append((server, name))
    for owners in found.values():
        alone = [server for server, name in owners if not name.is_shared]
        if len(owners) > 1 and _overlap([name for _server, name in owners]):
            yield owners[0][1], [server for server, _name in owners], alone


def problems(names: Mapping[str, Iterable[Name]], hosts: Collection[str]) -> list[str]:
    """Return a sentence for each name that servers have by mistake, if one of them is among ``hosts``."""
    return [
        f"{_listed(owners)}: {shown(name.text)}, port {name.port}, is a name of each of these {len(owners)} servers. "
        "If any of them may answer (an alias, a virtual address, a load balancer), declare it as "
        f"{{name: {name.text}, shared: true}} for {_listed(alone)}. Otherwise keep it for one of them, in {NAMES} or "
        f"{EXTRA_NAMES}."
        for name, owners, alone in unshared(names)
        if not set(hosts).isdisjoint(owners)
    ]


def _overlap(names: Sequence[Name]) -> bool:
    """Return whether a client host can reach two servers by this name, of which one does not share it."""
    pairs = itertools.combinations([name for name in names if name.sources != frozenset()], 2)
    return any(not (one.is_shared and other.is_shared) and _common(one, other) for one, other in pairs)


def _common(one: Name, other: Name) -> bool:
    if one.sources is None or other.sources is None:
        return True
    return bool((one.sources & other.sources) - {SELF})


def _listed(servers: Sequence[str]) -> str:
    named = ", ".join(servers[:3])
    return named if len(servers) <= 3 else f"{named} and {len(servers) - 3} more"


@functools.lru_cache(maxsize=None)
def canonical(text: str) -> str:
    """Return a name as a certificate holds it; what is none is refused elsewhere."""
    try:
        return x509_names.parse(text, "name").value
    except TlsError:
        return text


def is_wildcard(text: str) -> bool:
    """Return whether a name is for certificates alone: nobody connects to a wildcard."""
    return text.startswith("*")


@functools.lru_cache(maxsize=None)
def is_loopback(text: str) -> bool:
    """Return whether a name or address leads to the very machine that asks for it."""
    packed = packed_address(text)
    if packed is not None:
        is_v4 = len(packed) == 4 or packed.startswith(_MAPPED)
        return packed[-4] == 127 if is_v4 else packed == _LOOPBACK_V6
    labels = canonical(text).split(".")
    is_usual = labels[0] in _LOOPBACK and labels[1:] in ([], ["localdomain"])
    return is_usual or labels[-1] == "localhost"  # RFC 6761
