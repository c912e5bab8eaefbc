# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has certificates, and the OS users that hold their keys: checked before anything is touched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Iterable, Mapping, NamedTuple, Protocol, Sequence, TypeVar

from ansible_collections.pgops.tls.plugins.module_utils.client import user_files, values
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres import logins
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name, parse_all, refuse_port

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client import after_change as hooks
else:
    hooks = lazy_import("client.after_change")


class Endpoint(NamedTuple):
    """A server by its name in the inventory, and where this client host reaches it.

    ``version`` is its major version, 0 if this run does not know it.
    """

    server: str
    host: str
    port: int
    version: int = 0
    is_pooler: bool = False


class Identity(NamedTuple):
    """A role that an OS user logs in as, and the databases it uses; or what another service has a certificate for.

    ``names`` are those of a server's certificate, which has no role; ``trusts_clients``: whether that service gets the
    authorities of its own clients. ``formats`` are files beside certificate and key. ``pkcs12_password``: that of its
    PKCS#12 file, '' for one that is made on the host. It is no part of what is declared for an identity, which others
    see. ``after_change`` is what has to run when its files have changed.

    ``own_name`` tells it from other identities of the OS user with the same role, '' if there are none.

    ``home`` replaces the OS user's home directory, if it is not ''. ``authority`` names the client authority of its
    certificate, if it is another than that of most identities of the host. ``default_files``: whether its files get the
    names that libpq reads by default; None if nothing says so. ``login`` is one of ``logins.LOGINS``, or ``NONE``.
    ``servers_ready``: all of its servers let it in by what is declared. ``endpoints``: where it reaches them.
    ``strict_services``: its services take no other way of logging in.
    ``is_managed``: they are outside the inventory, and it has roots of its own for them.
    """

    role: str
    os_user: str
    databases: tuple[str, ...] = ()
    home: str = ""
    authority: str = ""
    default_files: bool | None = None
    login: str = logins.CERTIFICATE
    servers_ready: bool = True
    own_name: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    names: tuple[Name, ...] = ()
    trusts_clients: bool = False
    formats: frozenset[str] = frozenset()
    pkcs12_password: str = ""
    after_change: hooks.Hook | None = None
    strict_services: bool = False
    is_managed: bool = False

    @property
    def name(self) -> str:
        """Return the name of its directory and its service."""
        return self.own_name or self.role

    @property
    def has_certificate(self) -> bool:
        """Return whether it gets a key and a certificate."""
        return self.login != logins.PASSWORD

    @property
    def has_keystore(self) -> bool:
        """Return whether it gets key and certificate as PKCS#12."""
        return user_files.KEYSTORE in self.formats

    @property
    def has_truststore(self) -> bool:
        """Return whether its OS user gets the roots as PKCS#12; one that is managed gets its own."""
        return user_files.TRUSTED in self.formats

    @property
    def logs_in(self) -> bool:
        """Return whether it is for the servers of the inventory."""
        return self.login != logins.NONE and not self.is_managed

    @property
    def id(self) -> str:
        """Return what tells this identity from others of the host: OS_USER/NAME."""
        return f"{self.os_user}/{self.name}"


class Declared(Protocol):
    """What is known of an identity, here and on the controller, to tell who has libpq's default files."""

    @property
    def os_user(self) -> str:
        """Return the OS user's name."""

    @property
    def default_files(self) -> bool | None:
        """Return whether it has them; None if nothing says so."""


def name_of(item: Mapping[str, Any]) -> str:
    """Return the name of a declared identity."""
    return str(item.get("name") or item["role"])


def ids(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the id (OS_USER/NAME) of each declared identity of a host."""
    return [f"{item['os_user']}/{name_of(item)}" for item in items]


_Any = TypeVar("_Any", bound=Declared)


def default_holders(identities: Iterable[_Any]) -> dict[str, _Any | None]:
    """Return by OS user which of its identities has libpq's default files, None if none has.

    It is the one that says so. Where none of an OS user says anything, it is the first.
    """
    said: dict[str, dict[bool | None, _Any]] = {}
    for one in identities:
        said.setdefault(one.os_user, {}).setdefault(one.default_files, one)
    return {user: own.get(True) or (None if False in own else own[None]) for user, own in said.items()}


def parse(items: Sequence[Mapping[str, Any]], source: str = "identities") -> list[Identity]:
    """Return the identities in their order. Raises TlsError that names ``source`` and the first invalid one."""
    found: list[Identity] = []
    for number, item in enumerate(items):
        found.append(_identity(item, found, f"{source}[{number}]"))
    return found


def _identity(item: Mapping[str, Any], before: Sequence[Identity], source: str) -> Identity:
    """Return one identity; ``before`` are those whose files it must not share."""
    names = _names(item, source)
    role = "" if names else values.name(item.get("role"), f"{source}.role")
    own_name = values.name(item["name"], f"{source}.name") if item.get("name") else ""
    values.refuse_unusable(own_name or role, f"{source}.name" if own_name else f"{source}.role")
    login = logins.login_of(item, source)
    identity = Identity(
        role=role,
        os_user=values.name(item.get("os_user"), f"{source}.os_user"),
        databases=values.databases(item.get("databases"), f"{source}.databases"),
        home=values.home(item.get("home"), f"{source}.home"),
        authority=str(item.get("authority") or ""),
        default_files=values.yes_or_no(item.get("default_files"), f"{source}.default_files"),
        login=logins.NONE if names else login,
        servers_ready=bool(item.get("servers_ready", True)),
        own_name=own_name,
        endpoints=_endpoints(item.get("endpoints"), f"{source}.endpoints"),
        names=names,
        trusts_clients=bool(names and item.get("trusts_clients")),
        formats=user_files.formats(item.get("formats"), f"{source}.formats", has_key=login != logins.PASSWORD),
        after_change=_hook(item.get("after_change"), f"{source}.after_change"),
        strict_services=values.yes_or_no(item.get("strict_services"), f"{source}.strict_services") or False,
    )
    if not identity.logs_in:
        given = [f"{user_files.VARIABLES} in formats"] if user_files.VARIABLES in identity.formats else []
        given += ["strict_services"] if identity.strict_services else []
        refuse_beside("names" if names else "login: none", given, source)
    _refuse_shared(identity, before, source)
    return identity


def _names(item: Mapping[str, Any], source: str) -> tuple[Name, ...]:
    """Return the names of a server's certificate, none for a role's. Raises TlsError for what is neither or both."""
    if not item.get("names"):
        if item.get("names") is not None and not item.get("role"):
            parse_all(item["names"], f"{source}.names")
        return ()
    if item.get("role"):
        raise TlsError(
            f"{source}: found role {shown(item['role'])} and names. A client's certificate has a role, and a server's "
            "has names.",
            remedy="Make it two identities.",
            code="identity_role_and_names",
        )
    if not item.get("name"):
        raise TlsError(
            f"{source}.name: found nothing, expected a name for the directory of the certificate, such as exporter.",
            remedy="Set name beside names.",
            code="identity_name_missing",
        )
    of_postgresql = ("databases", "default_files", "login", "endpoints")
    given = [one for one in of_postgresql if item.get(one) not in (None, [], logins.CERTIFICATE, logins.NONE)]
    refuse_beside("names", given, source)
    return tuple(parse_all(item["names"], f"{source}.names"))


def refuse_beside(option_: str, given: Sequence[str], source: str) -> None:
    """Raise TlsError if options that are about PostgreSQL are ``given`` beside one that is for another service."""
    for other in given:
        raise TlsError(
            f"{source}: found {option_} and {other}. With {option_}, the certificate is for a service that is not "
            f"PostgreSQL, and {other} has no meaning.",
            remedy=f"Remove {other}, or make it two identities.",
            code="identity_not_for_postgresql",
        )


def _hook(value: Any, source: str) -> hooks.Hook | None:
    return None if value is None else hooks.parse(value, source)


def _refuse_shared(identity: Identity, before: Sequence[Identity], source: str) -> None:
    """Raise TlsError if an identity would share files with one of those ``before`` it."""
    for other in before:
        if identity.id == other.id:
            raise TlsError(
                f"{source}: {identity.name!r} of OS user {identity.os_user!r} is listed twice; both would use the "
                "same files.",
                remedy="Keep one of them. If both are needed, give the second one a name of its own in name.",
                code="identity_duplicate",
            )
        if identity.os_user == other.os_user and identity.default_files and other.default_files:
            raise TlsError(
                f"{source}.default_files: true for the roles {other.role!r} and {identity.role!r} of OS user "
                f"{identity.os_user!r}, but there is one file of each name.",
                remedy="Set it for one of them.",
                code="default_files_twice",
            )
        if identity.home and other.os_user != identity.os_user and _same_path(other.home, identity.home):
            raise TlsError(
                f"{source}.home: the OS users {other.os_user!r} and {identity.os_user!r} have the same home "
                f"{identity.home}, so their files would be the same.",
                remedy="Give all identities there to one of them.",
                code="home_shared",
            )


def _same_path(one: str, other: str) -> bool:
    return bool(one) and os.path.normpath(one) == os.path.normpath(other)


def accounts(identities: Sequence[Identity]) -> dict[str, processes.Account]:
    """Return the OS users of all identities by their name, in the order of their first identity.

    Raises TlsError when one does not exist or has two homes, or two have the same one: their files would be the same.
    """
    found: dict[str, processes.Account] = {}
    homes: dict[str, str] = {}
    for identity in identities:
        user = at_home(processes.account(identity.os_user, f"{option('identities')}: os_user"), identity.home)
        if user != found.get(identity.os_user, user):
            raise TlsError(
                f"{option('identities')}: OS user {user.name!r} has the home {user.home} in one identity and "
                f"{found[user.name].home} in another.",
                remedy="Give all identities of an OS user the same home.",
                code="home_conflict",
            )
        other = homes.setdefault(os.path.realpath(user.home), user.name)
        if other != user.name:
            raise TlsError(
                f"{option('identities')}: the OS users {other!r} and {user.name!r} have the same home directory "
                f"{user.home}, so their files would be the same.",
                remedy="Give all identities there to one of them.",
                code="home_shared",
            )
        found[identity.os_user] = user
    return found


def at_home(user: processes.Account, home: str) -> processes.Account:
    """Return an OS user whose files are below ``home``, or below its own home directory for ''."""
    return user._replace(home=home.rstrip("/") or "/") if home else user


def _endpoints(value: Any, source: str) -> tuple[Endpoint, ...]:
    found = []
    for number, one in enumerate(value or ()):
        place = f"{source}[{number}]"
        for name in ("server", "host"):
            values.refuse_unprintable(one[name], f"{place}.{name}")
        refuse_port(one["port"], f"{place}.port")
        more = int(one.get("version") or 0), bool(one.get("is_pooler"))
        found.append(Endpoint(one["server"], one["host"], one["port"], *more))
    return tuple(found)
