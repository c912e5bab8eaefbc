# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of one OS user: where they are, what they hold, and what must not exist."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Callable, Collection, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client.plan import Plan
    from ansible_collections.pgops.tls.plugins.module_utils.core import obstacles
    from ansible_collections.pgops.tls.plugins.module_utils.x509.pkcs12 import Opened
else:
    obstacles = lazy_import("core.obstacles")

CERTIFICATE, KEY, TRUST, MANIFEST = "postgresql.crt", "postgresql.key", "root.crt", "manifest.json"
LISTS = "root.crl"  # lists of revoked certificates, if there are any
BUNDLE = "bundle.pem"  # key and chain in one file
PK8 = "postgresql.pk8"  # the key as Java reads it, at the name where pgjdbc looks by default
KEYSTORE, PASSWORD = "postgresql.p12", "postgresql.p12.password"
ENVIRONMENT = "environment"  # variables of libpq, for units of systemd
TRUSTSTORE = "truststore.p12"  # root.crt as Java reads it
CLIENTS, CLIENT_LISTS = "trusted-clients.crt", "trusted-clients.crl"  # what a service accepts from its own clients
DERIVED = (CLIENTS, CLIENT_LISTS, BUNDLE, PK8, KEYSTORE, PASSWORD, ENVIRONMENT)  # files that only some identities have
SECRET = (KEY, BUNDLE, PK8, KEYSTORE, PASSWORD)  # files that hold a key, or open one that does
DIRECTORY_MODE = 0o700
MODES = {
    **dict.fromkeys((CERTIFICATE, TRUST, TRUSTSTORE, LISTS, MANIFEST, CLIENTS, CLIENT_LISTS), 0o644),
    **dict.fromkeys((*SECRET, ENVIRONMENT), 0o600),
}
SERVICE_MODE = 0o600  # of a new service file; people put passwords into it
_ELSEWHERE = "To keep the files elsewhere, set home of the identity to a directory that the OS user owns."
_KINDS = {stat.S_IFDIR: "a directory", stat.S_IFREG: "a file", stat.S_IFLNK: "a link to nothing"}


class HomeFiles(NamedTuple):
    """What there is of one OS user's files.

    ``contents`` are the bytes of the current generation that can be read, ``faults`` what is wrong with owners and
    modes in it, ``directories`` those whose mode is wrong, ``links`` the default files (None: absent, '': no link of
    ours), ``service`` the service file. ``keystores``: what the PKCS#12 files of identities hold that can be opened.
    ``current`` is the path of the generation in use, which stays the same. ``kept``: the names whose files stay as they
    are, though none of the identities that are converged has them.
    """

    generation: str | None
    contents: Mapping[str, bytes]
    faults: Mapping[str, str]
    directories: Mapping[str, str]
    links: Mapping[str, str | None]
    service: bytes | None
    keystores: Mapping[str, Opened] = {}
    current: str = ""
    kept: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        """Return the names of the identities that the current generation has a certificate for."""
        return [os.path.dirname(path) for path in self.contents if os.path.basename(path) == CERTIFICATE]

    def kept_files(self) -> dict[str, bytes]:
        """Return the files that stay as they are, by their paths."""
        return {path: content for path, content in self.contents.items() if os.path.dirname(path) in self.kept}


class Home:
    """Paths below one OS user's home. Every method is called with the effective ids of that user."""

    def __init__(self, user: Account) -> None:
        self.user = user
        self.directory = os.path.join(user.home, ".postgresql")
        self.store = GenerationStore(os.path.join(self.directory, "pgops"), user.owner, DIRECTORY_MODE)
        self.revocations = os.path.join(self.directory, LISTS)
        self.service_file = os.path.join(user.home, ".pg_service.conf")
        self.password_file = os.path.join(user.home, ".pgpass")

    def current(self, *parts: str) -> str:
        """Return the stable path of a file in the generation in use."""
        return os.path.join(self.store.current_link, *parts)

    def default_links(self, name: str) -> dict[str, str]:
        """Return the files that libpq reads by default, and what they point to if an identity has them."""
        # In this order: libpq works without a certificate, but a certificate without its key breaks every connection.
        own = {file: f"{name}/{file}" for file in (KEY, PK8, CERTIFICATE)}
        targets = {**own, TRUST: TRUST, LISTS: LISTS}
        return {os.path.join(self.directory, file): f"pgops/current/{target}" for file, target in targets.items()}

    def links(self) -> dict[str, str | None]:
        """Return what is at the default names, as ``HomeFiles`` has it."""
        return {path: _link(path) for path in self.default_links("any")}

    def former_files(self) -> dict[str, str | None]:
        """Return the links of ours, each with the file that was there before and is kept (None: there was none)."""
        # A certificate without its key breaks every connection, so it comes first: it is removed first.
        return {path: kept_name(path) for path, to in sorted(self.links().items()) if to}

    def is_set_up(self) -> bool:
        """Return whether the directory of the generations exists."""
        return os.path.isdir(self.store.directory)

    def make_directories(self) -> None:
        """Make the directories that the lock and the generations need. Raises OSError."""
        for path in (self.directory, self.store.directory):
            files.make_directory(path, DIRECTORY_MODE, self.user.owner)

    def refuse_obstacles(self, plan: Plan | None = None) -> None:
        """Raise TlsError when nobody could make our directory, or what a plan changes. Nothing is touched."""
        changing = [] if self.is_set_up() else [self.store.directory]
        if plan is not None:
            changing += [self.store.directory] if plan.changes else []
            changing += [self.directory] if plan.links or plan.former else []
            changing += [self.service_file] if plan.service is not None else []
        for path in changing:
            obstacles.refuse(path)
        if plan is not None and plan.service is not None:
            self._refuse_service_file_elsewhere()

    def refuse_unfit(self, unused: Collection[str] = (LISTS, PK8)) -> None:
        """Raise TlsError when something that we must not touch is in the place of our files.

        ``unused``: the default names that this OS user does not get. A file there is not ours.
        """
        if not os.path.isabs(self.user.home) or not os.path.isdir(self.user.home):
            raise TlsError(
                f"OS user {self.user.name!r}: the home directory {self.user.home!r} of the password database does not "
                "exist, or this user cannot enter it.",
                remedy="Create it, or give the identity to another OS user.",
                code="home_missing",
            )
        self._refuse_foreign_directory(self.user.home)
        for path in (self.directory, self.store.directory, self.store.generations, self.store.pending):
            if os.path.lexists(path):
                self._refuse_foreign_directory(path)
        for path in self.default_links("any"):
            if os.path.basename(path) not in unused:
                _refuse_kind(path, os.lstat, (stat.S_IFREG, stat.S_IFLNK))
        _refuse_kind(self.service_file, os.stat, (stat.S_IFREG,))
        self._refuse_foreign_service_file()
        self.refuse_obstacles()

    def found(self, names: Sequence[str]) -> HomeFiles:
        """Return what there is. Raises TlsError when ``current`` is not a link of ours, OSError."""
        return self.found_with(self.store.current(), names)

    def found_with(self, generation: str | None, names: Sequence[str]) -> HomeFiles:
        """Return what there would be if this generation were in use. Raises OSError."""
        contents: dict[str, bytes] = {}
        faults: dict[str, str] = {}
        for path in self._files(generation, names):
            content, fault = self._inspect(self.store.path(generation or "", path))
            if content is not None:
                contents[path] = content
            if fault:
                faults[path] = f"{self.current(path)}: {fault}"
        return HomeFiles(
            generation=generation,
            contents=contents,
            faults=faults,
            directories=self._directories_with_wrong_mode(generation),
            links=self.links(),
            service=files.read(self.service_file),
            current=self.store.current_link,
        )

    def _files(self, generation: str | None, names: Sequence[str]) -> list[str]:
        """Return the paths that exist or should exist in a generation: of declared identities and of former ones."""
        if generation is None:
            return []
        known = list(dict.fromkeys([*names, *self._directories_in(generation)]))
        own = (CERTIFICATE, KEY, TRUST, TRUSTSTORE, *DERIVED)
        return [TRUST, TRUSTSTORE, LISTS, MANIFEST, *(os.path.join(name, file) for name in known for file in own)]

    def _directories_in(self, generation: str) -> list[str]:
        try:
            names = sorted(os.listdir(self.store.path(generation)))
        except PermissionError:
            return []  # restored with a foreign owner: as good as empty
        return [name for name in names if os.path.isdir(self.store.path(generation, name))]

    def _inspect(self, path: str) -> tuple[bytes | None, str]:
        """Return the bytes of a file (None: missing or unreadable) and what is wrong with its owner or mode."""
        mode = MODES[os.path.basename(path)]
        try:
            found = os.lstat(path)
        except OSError:
            return None, ""  # the plan handles missing files
        fault = ""
        if not stat.S_ISREG(found.st_mode):
            return None, "expected a file, found another kind"
        if found.st_uid != self.user.uid:
            fault = f"owner {found.st_uid}, expected {self.user.uid} ({self.user.name})"
        elif found.st_mode & 0o7777 != mode:
            fault = f"mode {found.st_mode & 0o7777:04o}, expected {mode:04o}"
        try:
            return files.read(path), fault
        except OSError:
            return None, fault

    def _directories_with_wrong_mode(self, generation: str | None) -> dict[str, str]:
        paths = [self.store.directory, self.store.generations, self.store.pending]
        if generation is not None:
            paths.append(self.store.path(generation))
            paths += [self.store.path(generation, name) for name in self._directories_in(generation)]
        wrong = {}
        for path in paths:
            found = os.stat(path) if os.path.isdir(path) else None
            mode = found.st_mode & 0o7777 if found and found.st_uid == self.user.uid else DIRECTORY_MODE
            if mode != DIRECTORY_MODE:
                wrong[path] = f"{path}: mode {mode:04o}, expected {DIRECTORY_MODE:04o}"
        return wrong

    def _refuse_foreign_directory(self, path: str) -> None:
        if not os.path.isdir(path):
            raise TlsError(
                f"{path}: expected a directory, found {_kind(stat.S_IFMT(os.lstat(path).st_mode))}.",
                remedy=_ELSEWHERE,
                code="file_kind_wrong",
            )
        owner = os.stat(path).st_uid
        if owner != self.user.uid:
            raise TlsError(
                f"{path}: this directory belongs to the user id {owner}, expected {self.user.uid} "
                f"({self.user.name}), who holds the keys in it.",
                remedy=self._remedy(path),
                code="directory_wrong_owner",
            )

    def _refuse_service_file_elsewhere(self) -> None:
        """Raise TlsError for a link by which the file cannot be written. Who writes no services does not need it."""
        place = os.path.dirname(os.path.realpath(self.service_file))
        if os.path.islink(self.service_file) and not os.path.isdir(place):
            raise TlsError(
                f"{self.service_file}: expected a file or nothing, found a link into {place}, which is no directory "
                "that this user can enter. Nothing was changed.",
                remedy=f"Make that directory, or remove the link. {_ELSEWHERE}",
                code="file_kind_wrong",
            )

    def _refuse_foreign_service_file(self) -> None:
        if os.path.exists(self.service_file) and os.stat(self.service_file).st_uid != self.user.uid:
            raise TlsError(
                f"{self.service_file}: belongs to the user id {os.stat(self.service_file).st_uid}, expected "
                f"{self.user.uid} ({self.user.name}).",
                remedy=self._remedy(self.service_file),
                code="service_file_wrong_owner",
            )

    def _remedy(self, path: str) -> str:
        """Return what to do about something of another user that is where this user's files belong."""
        if path == self.user.home:  # such as /var/www, which the web server must not own
            return f"Leave it as it is. Set home of the identity to a directory that belongs to {self.user.name} alone."
        return f"After a restore as root, restore its owner. If this is intended, leave it. {_ELSEWHERE}"


def free_name(path: str) -> str:
    """Return a free path for keeping a file that existed before this collection."""
    return files.free_name(f"{path}.before-pgops")


def kept_name(path: str) -> str | None:
    """Return where the file is kept that was at ``path`` before us, the last of several; None when there is none."""
    last, number = None, 1
    name = f"{path}.before-pgops"
    while os.path.lexists(name):
        last, number = name, number + 1
        name = f"{path}.before-pgops-{number}"
    return last


def _link(path: str) -> str | None:
    """Return where one of our links points to, '' for any other file or link, None when nothing is there."""
    if not os.path.lexists(path):
        return None
    target = os.readlink(path) if os.path.islink(path) else ""
    return target if target.startswith("pgops/current/") else ""


def _refuse_kind(path: str, look: Callable[[str], os.stat_result], kinds: Sequence[int]) -> None:
    """Raise TlsError when ``path`` is not one of ``kinds``; ``look`` is os.stat or os.lstat."""
    try:
        found = stat.S_IFMT(look(path).st_mode)
    except FileNotFoundError:
        return
    if found not in kinds:
        raise TlsError(
            f"{path}: expected a file or nothing, found {_kind(found)}.", remedy=_ELSEWHERE, code="file_kind_wrong"
        )


def _kind(file_type: int) -> str:
    return _KINDS.get(file_type, "a device, pipe or socket")
