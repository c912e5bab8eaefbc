# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is wrong with the variables of a fleet, found on the controller in one task, not in one per host."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load  # with the C library where there is one
from ansible_collections.pgops.tls.plugins.module_utils.authority.profiles import SERVER
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    agreement,
    client_identities,
    duplicates,
    expectations,
    holders,
    identity_rules,
    kits,
    misspellings,
    own_addresses,
    patroni_members,
    pooler_problems,
    problems,
    server_names,
    unresolved,
)
from ansible_collections.pgops.tls.plugins.plugin_utils.client_authorities import Trust
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, POOLERS, Graph
from ansible_collections.pgops.tls.plugins.plugin_utils.kinds import KINDS

_ROLES = Path(__file__).resolve().parents[2] / "roles"
# The group whose hosts a role is for; None: every host
GROUPS: Mapping[str, str | None] = {
    "postgres_ca": None,
    **{f"postgres_{kind.step}": kind.group for kind in KINDS},
    "postgres_verify": CLIENTS,
    "postgres_report": None,
}
PREFIXES = tuple(f"{role}_" for role in GROUPS)  # of the names of all variables of roles
_OTHERS = ("postgres_ca_authorities", "postgres_ca_signed")  # facts, which a playbook that ran before may have left
_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "postgres_ca": problems.of_ca,
    "postgres_server": problems.of_server,
    "postgres_pooler": problems.of_pooler,
    "postgres_client": problems.of_client,
}


class Fleet:
    """The variables of a fleet: hostvars, groups, and what the playbook sets for all hosts, which hostvars lacks."""

    def __init__(
        self, hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, list[str]], everywhere: Mapping[str, Any]
    ) -> None:
        self.hostvars = hostvars
        self.groups = groups
        self.everywhere = everywhere

    def problems(self, hosts: list[str]) -> list[str]:
        """Return a sentence for each problem of ``hosts``, at first of each by itself: the rest needs right types."""
        return (
            self.collected(hosts, self._of_host)
            or self._ignored(hosts)
            or self.collected(hosts, self._of_others)
            or duplicates.problems(self.hostvars, self.groups, hosts)
            or self._shared_names(hosts)
        )

    def collected(self, hosts: list[str], check: Callable[[str], Iterable[str]]) -> list[str]:
        """Return what a check says of each host, or raises, with the names of the hosts that have it."""
        found: dict[str, list[str]] = {}
        for host in hosts:
            try:
                messages = list(check(host))
            except TlsError as error:
                messages = [error.message]
            except unresolved.ERRORS as error:  # a variable that cannot be templated
                messages = [] if _uses_hostvars(error) else [unresolved.explained(str(error))]
            for message in messages:
                found.setdefault(message, []).append(host)
        return [f"{_listed(having)}: {message}" for message, having in found.items()]

    def _ignored(self, hosts: list[str]) -> list[str]:
        """Return a sentence for each variable of the authorities that is set for hosts from which no run reads it."""
        every = {name: one for point in _entry_points("postgres_ca").values() for name, one in point["options"].items()}
        # What the playbook sets for all hosts wins; the defaults of a role that it imports do not
        by_default = {name: one.get("default") for name, one in every.items()}
        asked = {
            name: one for name, one in every.items() if self.everywhere.get(name, by_default[name]) == by_default[name]
        }
        found = agreement.ignored(self.hostvars, hosts, asked)
        return [f"{_listed(having)}: {message}" for message, having in found.items()]

    def _of_host(self, host: str) -> Iterator[str]:
        roles = [role for role, group in GROUPS.items() if group is None or host in self.groups.get(group, ())]
        yield from misspellings.problems([*self.hostvars[host], *self.everywhere], known_variables(), PREFIXES)
        given = {role: self.variables(host, role) for role in roles}
        wrong = [message for role in roles for message in _of_wrong_type(role, given[role])]
        yield from wrong
        if not wrong:
            merged = {name: value for one in given.values() for name, value in one.items()}
            for role, check in _CHECKS.items():
                yield from check(merged) if role in given else ()
            if "postgres_client" in given:
                yield from own_addresses.problems(host, self.hostvars, self.groups)
            yield from problems.of_places(merged, *self._sources) if self._sources[1] else ()

    @functools.cached_property
    def _sources(self) -> tuple[str | None, list[str]]:
        """Return ``inventory_dir`` of the inventory's first host, and the inventories of the run."""
        first = self.hostvars[next(iter(self.groups.get("all", self.hostvars)))]
        return first.get("inventory_dir"), list(first.get("ansible_inventory_sources", ()))

    def _of_others(self, host: str) -> list[str]:
        if host in self.groups.get("postgres_servers", ()):
            self._refuse_bad_rules(host)
            patroni_members.refuse_shared(self.variables(host, "postgres_server"), self._trust)
        if host in self.groups.get("postgres_clients", ()):
            own = self.variables(host, "postgres_client")["postgres_client_identities"]
            identities = client_identities.identities_of(own, graph=self._graph)
            for number, one in enumerate(own):
                self._trust.of(one, f"postgres_client_identities[{number}]")
            expectations.refuse_no_servers(identities, self.groups.get("postgres_servers", ()))
        found = []
        if host in self.groups.get(POOLERS, ()):
            found = list(pooler_problems.problems(host, self.hostvars, self.groups, self._graph, self._trust))
        return [*found, *self._of_kits, *self._of_authorities(host), *self._of_names(host)]

    @functools.cached_property
    def _names(self) -> dict[str, tuple[server_names.Name, ...] | TlsError]:
        """Return the names of each server and pooler, or what is wrong with them.

        There is nothing where another check says more.
        """
        found: dict[str, tuple[server_names.Name, ...] | TlsError] = {}
        poolers = self._graph.poolers
        for host in (*self.groups.get("postgres_servers", ()), *sorted(poolers)):
            try:
                found[host] = server_names.of(self._declared_names(host), self._graph, is_pooler=host in poolers)
            except TlsError as error:
                found[host] = error
            except (TypeError, ValueError, *unresolved.ERRORS):
                continue
        return found

    def _declared_names(self, host: str) -> dict[str, Any]:
        given: dict[str, Any] = {"inventory_hostname": host}
        for source in (self.hostvars[host], self.everywhere):
            given.update({name: source[name] for name in server_names.VARIABLES if name in source})
        return given

    def _of_names(self, host: str) -> list[str]:
        return [found.message for found in [self._names.get(host)] if isinstance(found, TlsError)]

    def _shared_names(self, hosts: list[str]) -> list[str]:
        """Return a sentence for each name that several servers have by mistake."""
        names = {host: one for host, one in self._names.items() if not isinstance(one, TlsError)}
        return server_names.problems(names, hosts)

    @functools.cached_property
    def _trust(self) -> Trust:
        return Trust.of_fleet(self.hostvars, self.groups)

    @functools.cached_property
    def _graph(self) -> Graph:
        return Graph(self.groups)

    def _refuse_bad_rules(self, host: str) -> None:
        """Raise TlsError where no default rules can be made, or rules of the server's own are no use to identities."""
        found, error = self._access
        if "postgres_server_hba" in self.hostvars[host]:
            clients = found[host]["clients"] if host in found else ()
            identity_rules.refuse_useless(self.variables(host, "postgres_server"), clients)
        elif error is not None and not self._of_kits:  # rules are made for kits, too, and name them less well
            raise error

    @functools.cached_property
    def _access(self) -> tuple[Mapping[str, Any], TlsError | None]:
        """Return the identities of each server, and what is wrong with identities of any client host. Done once."""
        try:
            return identity_rules.access(self.hostvars, self.groups), None
        except TlsError as error:
            return {}, error

    @functools.cached_property
    def _of_kits(self) -> list[str]:
        return kits.problems(kits.declared(self.hostvars, self.groups), self._graph, self._trust)

    def _of_authorities(self, host: str) -> Iterator[str]:
        own = self.variables(host, "postgres_ca")
        sources, revoked = own["postgres_ca_sources"], own["postgres_ca_revoked"]
        yield from problems.of_revoked(revoked, self._holders) if revoked else ()
        yield from problems.of_sources(sources, [SERVER, *self._trust.names]) if sources else ()

    @functools.cached_property
    def _holders(self) -> dict[tuple[str, str, str], str]:
        return holders.of_fleet(self.groups, self.variables, self._trust, kits.declared(self.hostvars, self.groups))

    def variables(self, host: str, role: str) -> dict[str, Any]:
        """Return the variables of a role for a host: what is set, else the default.

        The default, too, in place of what uses ``hostvars``: one such variable must not hide mistakes in the others.
        """
        found = _defaults(role, host)
        for source in (self.hostvars[host], self.everywhere):
            for name in arguments_of(role):
                try:
                    found.update({name: unresolved.filled(source[name])} if name in source else {})
                except TlsError as error:
                    raise TlsError(f"{name}: {error.message}", code=error.code) from error
                except unresolved.ERRORS as error:
                    if name not in found or not _uses_hostvars(error):
                        raise TlsError(
                            f"{name}: {unresolved.explained(str(error))}", code="variable_unresolved"
                        ) from error
        return found


def set_by_playbook(variables: Mapping[str, Any], inventory: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a host's ``variables`` that are not, or not with this value, what the inventory gives it."""
    return {
        name: value for name, value in variables.items() if name not in inventory or _differs(inventory, name, value)
    }


def _differs(inventory: Mapping[str, Any], name: str, value: Any) -> bool:
    try:
        return bool(unresolved.filled(inventory[name]) != value)
    except (*unresolved.ERRORS, TlsError):
        return False  # the check of this host reports it, by its name


def _uses_hostvars(error: Exception) -> bool:
    """Tell whether a variable uses ``hostvars`` itself: seen through hostvars it has no value, only on its host it has.

    Such a variable is left to the modules on that host.
    """
    return "'hostvars' is undefined" in str(error)


def arguments_of(role: str) -> dict[str, Any]:
    """Return the options of a role of this collection, as its argument specification has them."""
    return dict(_entry_points(role)["main"]["options"])


@functools.lru_cache(maxsize=None)
def _entry_points(role: str) -> dict[str, Any]:
    text = (_ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml_load(text)["argument_specs"]
    return found


def _defaults(role: str, host: str) -> dict[str, Any]:
    """Return the defaults of a role for a host, as far as they are known without Ansible's templates."""
    plain = {name: one["default"] for name, one in arguments_of(role).items() if "default" in one}
    if role == "postgres_server":
        plain.update(postgres_server_names=[host], postgres_server_hba=[])
    if role == "postgres_pooler":
        plain.update(postgres_pooler_names=[host])
    return {name: value for name, value in plain.items() if "{{" not in str(value)}


def _of_wrong_type(role: str, given: Mapping[str, Any]) -> list[str]:
    messages: list[str] = ArgumentSpecValidator(arguments_of(role)).validate(given).error_messages
    return list(map(_clear, dict.fromkeys(messages))) or problems.of_types(given)  # Ansible says some of them twice


def _clear(message: str) -> str:
    """Return Ansible's message about an argument, without a key; about an unknown one it has all that is known."""
    if "PRIVATE KEY" in message:
        return f"{message.partition('-----BEGIN')[0]}a private key. Remove it."
    name, separator, known = message.partition(". Supported parameters include: ")
    return f"{name}: there is no such key. Write one of {known}" if separator else message


@functools.lru_cache(maxsize=None)
def known_variables() -> tuple[str, ...]:
    """Return the names of all variables of roles, and of facts that look like some."""
    return (*_OTHERS, *(name for role in GROUPS for one in _entry_points(role).values() for name in one["options"]))


def _listed(hosts: list[str]) -> str:
    shown = ", ".join(hosts[:3])
    return shown if len(hosts) <= 3 else f"{shown} and {len(hosts) - 3} more"
