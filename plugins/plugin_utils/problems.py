# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is wrong with the variables of a role, as far as the controller can find out."""

from __future__ import annotations

import functools
from typing import Any, Callable, Iterator, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority import outside, profiles, revocation_entries
from ansible_collections.pgops.tls.plugins.module_utils.client import identities, keystore
from ansible_collections.pgops.tls.plugins.module_utils.core import durations
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential import spec
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import settings as pgbouncer
from ansible_collections.pgops.tls.plugins.module_utils.pooler import target as pooler
from ansible_collections.pgops.tls.plugins.module_utils.postgres import (
    client_addresses,
    known_settings,
    lexer,
    rule_checks,
    rule_text,
    settings,
)
from ansible_collections.pgops.tls.plugins.module_utils.server import target as server
from ansible_collections.pgops.tls.plugins.module_utils.source import declared
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names
from ansible_collections.pgops.tls.plugins.plugin_utils import (
    client_authorities,
    kits,
    managed,
    option_names,
    patroni_members,
    places,
    poolers,
    replicas,
    server_names,
    services,
)

Check = Callable[[], object]
_REVOKED, _HOLDERS = "postgres_ca_revoked", "postgres_ca_outside_holders"
_IDENTITIES = "postgres_client_identities"
_SOURCES = "postgres_ca_sources"
# What Ansible would take for a list or a dictionary, and Jinja for what it is: a text
_LISTS = (
    _REVOKED,
    _HOLDERS,
    server_names.NAMES,
    server_names.EXTRA_NAMES,
    "postgres_server_hba",
    "postgres_server_ident",
    server_names.POOLER_NAMES,
    poolers.SERVERS_BEHIND,
    _IDENTITIES,
    managed.VARIABLE,
    kits.VARIABLE,
)
_PASSWORDS = "postgres_client_pkcs12_passwords"
_EXISTING = "postgres_server_existing"
_DICTIONARIES = ("postgres_server_ssl", _EXISTING, "postgres_pooler_settings", _SOURCES, _PASSWORDS)
_TEMPLATE, _OWN_TEMPLATE = "postgres_server_hba_template", "pg_hba.conf.j2"
_LIFETIME = "postgres_ca_certificate_lifetime"  # of another role, but what renewal is measured by


def of_types(variables: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each variable of any role, by its name, that Jinja would take for something else."""
    return _failures(_type_checks(variables))


def of_ca(variables: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing that is wrong with the variables of role postgres_ca, by their names."""
    with option_names.named("postgres_ca"):
        return _failures(_ca_checks(variables))


def _ca_checks(variables: Mapping[str, Any]) -> Iterator[Check]:
    for number, one in enumerate(variables[_REVOKED]):
        yield functools.partial(revocation_entries.parse_one, one, _REVOKED, number)
    for number, one in enumerate(variables[_HOLDERS]):
        yield functools.partial(outside.parse_one, one, number)
    for name, source in variables[_SOURCES].items():
        yield functools.partial(declared.parse_one, name, source, _SOURCES)


def of_sources(sources: Mapping[str, Any], authorities: Sequence[str]) -> list[str]:
    """Return a sentence for each source of an authority that is none of the ``authorities`` of this inventory."""
    return [
        f"{_SOURCES}: no server uses an authority {name}. Expected a key among {', '.join(authorities)}. Correct the "
        f"name, or set {client_authorities.VARIABLE} of its servers."
        for name in sources
        if name not in authorities
    ]


def of_places(variables: Mapping[str, Any], inventory_dir: str | None, sources: Sequence[str]) -> list[str]:
    """Name directories on the controller that Ansible would read as inventory, or that have no certain default.

    ``inventory_dir`` is that of the inventory's first host, ``sources`` are the inventories of the run.
    """
    ca, report, host = "postgres_ca_directory", "postgres_report_directory", variables["postgres_ca_host"]
    here = [name for name in (ca, report) if variables[name] and (host == "localhost" or name == report)]
    checks: list[Check] = [functools.partial(places.refuse_inside, one, variables[one], sources) for one in here]
    if not variables[ca]:
        checks.append(functools.partial(places.default, ca, "postgres-ca", inventory_dir, sources, host))
    return _failures(iter(checks))


def of_revoked(items: Sequence[Any], holders: Mapping[tuple[str, str, str], str]) -> list[str]:
    """Return a sentence for each entry that revokes what the inventory still gives certificates to.

    ``holders`` are those that it does, by the keys of such entries, each with where it says so.
    """
    found = []
    for number, entry in enumerate(revocation_entries.parse(items, _REVOKED)):
        place = holders.get(entry.key)
        if place is not None:
            found.append(
                f"{_REVOKED}[{number}]: {entry.kind} {entry.value!r} must have no valid certificate, "
                f"but {place} gives it one. Remove it there. Or, if it needs another certificate, revoke the one it "
                "has by serial; the lines of ledger.jsonl in postgres_ca_directory show serial numbers."
            )
    return found


def of_server(variables: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing that is wrong with the variables of role postgres_server, by their names."""
    with option_names.named("postgres_server"):
        return _failures(_server_checks(variables))


def of_pooler(variables: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing that is wrong with the variables of role postgres_pooler, by their names."""
    with option_names.named("postgres_pooler"):
        return _failures(_pooler_checks(variables))


def of_client(variables: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing that is wrong with the variables of role postgres_client, by their names."""
    with option_names.named("postgres_client"):
        return _failures(_client_checks(variables))


def _type_checks(variables: Mapping[str, Any]) -> Iterator[Check]:
    for names_of_type, type_, word in ((_LISTS, (list, tuple), "list"), (_DICTIONARIES, Mapping, "dictionary")):
        for name in names_of_type:
            if name in variables:
                yield functools.partial(_refuse_other_type, name, variables[name], type_, word)


def _refuse_other_type(name: str, value: object, type_: Any, word: str) -> None:
    if not isinstance(value, type_):
        raise TlsError(
            f"{name}: expected a {word}, found {_kind(value)}.",
            remedy=f"Write it as a {word}.",
            code="variable_wrong_type",
        )


def _server_checks(variables: Mapping[str, Any]) -> Iterator[Check]:
    yield functools.partial(names.refuse_port, int(variables.get("postgres_server_port", 5432)), "postgres_server_port")
    yield from _name_checks(variables, server_names.NAMES, server_names.EXTRA_NAMES)
    yield functools.partial(client_authorities.of_server, variables)
    yield functools.partial(patroni_members.authority, variables)
    for setting in variables["postgres_server_ssl"].items():
        yield functools.partial(_setting, *setting)
    for number, rule in enumerate(variables["postgres_server_hba"]):
        yield functools.partial(rule_text.rule_line, rule, f"postgres_server_hba[{number}]")
    for number, mapping in enumerate(variables["postgres_server_ident"]):
        yield functools.partial(rule_text.ident_line, mapping, f"postgres_server_ident[{number}]")
    if variables.get("postgres_server_plaintext") == "reject" and variables.get(_TEMPLATE) == _OWN_TEMPLATE:
        yield functools.partial(_refuse_plaintext, variables["postgres_server_hba"])
    yield functools.partial(
        _authorities,
        variables.get("postgres_server_extra_trusted_clients", ""),
        "postgres_server_extra_trusted_clients",
    )
    yield functools.partial(server.existing_files, variables[_EXISTING], _EXISTING)
    yield functools.partial(_authorities, variables[_EXISTING].get("roots", ""), f"{_EXISTING}.roots")
    if not any(variables[_EXISTING].values()):  # else it says when others must have renewed
        yield functools.partial(_renewal, variables, "postgres_server_renew_before")
    yield functools.partial(replicas.refuse_without_identity, variables)


def _pooler_checks(variables: Mapping[str, Any]) -> Iterator[Check]:
    authority, port = "postgres_pooler_client_authority", "postgres_pooler_port"
    yield functools.partial(names.refuse_port, int(variables[port]), port)
    yield from _name_checks(variables, server_names.POOLER_NAMES)
    address = "postgres_pooler_address"
    yield functools.partial(client_addresses.listed, variables[address], address, "Leave it out for the default.")
    yield functools.partial(pooler.refuse_role, variables["postgres_pooler_role"])
    yield functools.partial(profiles.check_client_authority, variables[authority], authority)
    for setting in variables["postgres_pooler_settings"].items():
        yield functools.partial(pgbouncer.refuse_setting, *setting)
    yield functools.partial(_renewal, variables, "postgres_pooler_renew_before")


def _name_checks(variables: Mapping[str, Any], *options: str) -> Iterator[Check]:
    for option in options:
        for number, one in enumerate(variables[option]):
            yield functools.partial(server_names.parse, one, f"{option}[{number}]")
    yield functools.partial(_names, [one for option in options for one in variables[option]], options[0])


def _names(declared: Sequence[object], option: str) -> None:
    """Refuse what is no name; other checks report elements that have none."""
    texts = [one.get("name") if isinstance(one, Mapping) else one for one in declared]
    found = [one for one in texts if isinstance(one, str) and one]
    if found or not declared:
        names.parse_all(found, option)


def _client_checks(variables: Mapping[str, Any]) -> Iterator[Check]:
    yield functools.partial(_refuse_identities, variables)
    for number, one in enumerate(variables[_IDENTITIES]):
        yield functools.partial(services.refuse_mixed, one, f"{_IDENTITIES}[{number}]")
        yield functools.partial(managed.refuse_mixed, one, f"{_IDENTITIES}[{number}]")
        yield functools.partial(client_addresses.written, one, f"{_IDENTITIES}[{number}]")
    yield functools.partial(
        _authorities, variables.get("postgres_client_extra_roots", ""), "postgres_client_extra_roots"
    )
    yield functools.partial(_renewal, variables, "postgres_client_renew_before")


def _refuse_identities(variables: Mapping[str, Any]) -> None:
    declared = identities.parse(managed.plain(variables[_IDENTITIES]), _IDENTITIES)
    keystore.with_declared(declared, variables.get(_PASSWORDS, {}), _PASSWORDS)


def _authorities(given: object, option: str) -> None:
    """Refuse what is no PEM text of authorities; '' is none of them."""
    if given is None or isinstance(given, (Mapping, list, tuple, int, float)):
        raise TlsError(
            f"{option}: expected a text with PEM certificates, found {_kind(given)}.",
            remedy="Write them below a '|', or '' for none.",
            code="variable_wrong_type",
        )
    pem = str(given)
    if pem.strip():
        spec.anchors(pem, option)


def _setting(name: str, value: object) -> None:
    if name in ("ssl", "ssl_crl_file", *settings.GENERATION_FILES):
        raise TlsError(
            f"postgres_server_ssl: {name} is set by the collection itself; leave it out.", code="setting_managed"
        )
    settings.written(value)
    wrong = known_settings.problem(name, str(value).lower() if isinstance(value, bool) else str(value))
    if wrong:
        raise TlsError(f"postgres_server_ssl: {wrong}.", code="setting_value_invalid")


def _refuse_plaintext(rules: Sequence[object]) -> None:
    """Refuse a rule that lets connections without TLS in, by its place among those that are declared."""
    try:
        text = "\n".join(rule_text.rule_line(rule) for rule in rules)  # the role's template adds others behind
    except TlsError:
        return  # another check reports it
    found = rule_checks.plaintext_rule(text, lexer.NEWEST)
    if found is not None:  # each rule is one line
        raise rule_checks.plaintext_error(found, f"postgres_server_hba[{found.line.number - 1}]")


def _renewal(variables: Mapping[str, Any], option: str) -> None:
    """Refuse to renew certificates as soon as they are issued: every run would renew all of them."""
    if not variables[option]:
        return
    before, lifetime = durations.seconds(variables[option], option), variables.get(_LIFETIME)
    if lifetime and before >= durations.seconds(lifetime, _LIFETIME):
        raise TlsError(
            f"{option}: {variables[option]} is not shorter than the life of a certificate ({_LIFETIME}: {lifetime}): "
            "every run would renew every certificate.",
            remedy=f"Choose less, leave {option} out (a third of the certificate's "
            f"life), or choose a longer {_LIFETIME}.",
            code="renew_before_too_long",
        )


def _failures(checks: Iterator[Check]) -> list[str]:
    found = []
    for check in checks:
        try:
            check()
        except TlsError as error:
            found.append(error.message)
    return found


def _kind(value: object) -> str:
    """Return what kind of value was found; the value itself may hold a password."""
    return "nothing" if value is None else "a text" if isinstance(value, str) else f"a {type(value).__name__}"
