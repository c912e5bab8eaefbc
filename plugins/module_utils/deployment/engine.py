# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a transaction on a host of any kind: what an interrupted run left is undone, and a change stays or goes.

A kind of host subclasses ``Transaction`` (``service.Service`` if a program must load the files): it says what its files
are, how they are rehearsed, what a change does, and how each state is proven. The caller holds the directory's lock.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import os
from typing import TYPE_CHECKING, Callable, Collection, Generic, Mapping, Sequence, TypeVar

from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File, GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core import journal as journals
    from ansible_collections.pgops.tls.plugins.module_utils.core.service_file import ServiceFile
    from ansible_collections.pgops.tls.plugins.module_utils.credential import wishes
    from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Spec
    from ansible_collections.pgops.tls.plugins.module_utils.deployment import recovery
    from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
else:
    journals = lazy_import("core.journal")
    recovery = lazy_import("deployment.recovery")
    wishes = lazy_import("credential.wishes")

R = TypeVar("R")  # what a kind reports of a call


class Transaction(abc.ABC, Generic[R]):
    """A change of what is in one directory of generations, and of files beside it."""

    subject = "recovery"  # what a line about an interrupted run begins with
    program = "the server"  # what uses the files
    restored = "The previous state is restored and proven."
    rights = ""  # with whose rights files are changed, in words for errors of the operating system
    consistent = ""  # a sentence on what was found if nothing is half done
    finds_what_is_due = True  # else a key that waits may still be needed, however long it has waited
    tell: Callable[[], object] | None = None  # notifies the program, if it runs, that its files have changed

    def __init__(self, store: GenerationStore, now: int, beside: Sequence[ServiceFile] = ()) -> None:
        self.store = store
        self.now = now
        self.beside = beside  # the files that root may own
        self.recovered = ""  # what was done about an interrupted run, in words
        self.notes: list[str] = []  # warnings

    @functools.cached_property
    def journal(self) -> journals.Journal:
        """Return the journal in the directory."""
        return journals.Journal(self.store, self.beside[0].rooted if self.beside else None)

    def run(self, *, check_mode: bool) -> R:
        """Do it, or say what it would do. Raises TlsError, OSError; then only what an interrupted run left is undone.

        Errors say so, too.
        """
        try:
            return self._run(check_mode=check_mode)
        except (TlsError, OSError) as error:
            if not self.recovered:
                raise
            raise recovery.after(self, error) from error

    @abc.abstractmethod
    def _run(self, *, check_mode: bool) -> R:
        """Recover, inspect, plan, and unless ``check_mode`` change or ask. Raises TlsError, OSError."""

    @abc.abstractmethod
    def half(self) -> list[str]:
        """Return why the host is not consistent as it is, in words: then a damaged journal stops the run."""

    @abc.abstractmethod
    def _rehearse(self, generation: str) -> None:
        """Use a generation as programs will, before any of them does. Raises TlsError."""

    @abc.abstractmethod
    def _keys_in_use(self) -> Mapping[str, bytes | None]:
        """Return the keys in use by the names that they had while they were pending."""

    @abc.abstractmethod
    def _leaves_in_use(self) -> Mapping[str, Certificate]:
        """Return the leaves in use by the names of their keys. Raises OSError."""

    @abc.abstractmethod
    def _specs(self) -> Mapping[str, Spec]:
        """Return what each certificate that is requested must be, by the same names."""

    @abc.abstractmethod
    def _later(self) -> Collection[str]:
        """Return the names of those that come in a later run."""

    def wait_for_program(self) -> None:
        """Wait until the program has done what an interrupted run told it to do, if it does that later."""

    def prove_previous(self) -> None:
        """Prove that what was in use when this run began is in use. Raises TlsError."""

    def untold(self) -> str:
        """Return why a program was not told what was put back, '' if it was."""
        return ""

    def settle(self) -> None:
        """Have the program use the files on disk, prove it, and inspect it again. Raises TlsError."""

    def forget(self) -> None:
        """Remove what a run that died after its commit left beside files of root."""
        for file in self.beside:
            file.forget()

    def explained(self, error: OSError) -> TlsError:
        """Return an error of the operating system for a user."""
        return unchanged(error, self.store.directory)

    def _is_open(self) -> bool:
        """Return whether an interrupted run left a journal by which its changes can be undone."""
        return os.path.exists(self.store.journal) and not self.journal.damage()

    def _recover(self, *, check_mode: bool) -> list[str]:
        """Undo what an interrupted run left half done. Returns what it did, in words. Raises TlsError, OSError."""
        if os.path.exists(self.store.journal):
            return recovery.recover(self, check_mode=check_mode)
        if not check_mode:
            self.store.discard_unused()
            if os.path.lexists(self.store.backups):
                self.journal.clear()
            self.forget()
        return []

    def _stage(self, contents: Mapping[str, File], left: str) -> str:
        """Write the new generation and rehearse with it; nothing live is touched. Raises TlsError, OSError.

        ``left`` is the generation that a roll-back leaves, if it is one.
        """
        staged = self.store.stage(contents, left)
        try:
            self._rehearse(staged)
        except Exception:
            self.store.discard(staged)
            raise
        return staged

    def _transact(self, staged: str | None, change: Callable[[], None]) -> None:
        """Make and prove a change; nothing that can fail may follow. Raises TlsError after putting all back."""
        undone_by = recovery.rolled_back  # loaded now: what makes a change fail may keep code from being loaded
        try:
            self.journal.begin(staged)
            change()
            self.journal.commit()
        except Exception as error:
            raise undone_by(self, error, staged) from error

    def _tidy(self) -> None:
        """Remove what is no longer needed. What cannot be removed now is left to the next run."""
        with contextlib.suppress(OSError):
            self.store.prune()
            for name, key in self._keys_in_use().items():
                if key is not None and files.read(self.store.pending_key(name)) == key:
                    self.store.drop_pending_key(name)
            if self.finds_what_is_due:
                self._forget_wishes()
                self.store.drop_stale_keys(self.now)

    def _wished(self, leaves: Mapping[str, Certificate]) -> frozenset[str]:
        """Return which of these an earlier run was asked to renew, and whose next one has not come yet."""
        known = {name: spec for name, spec in self._specs().items() if name in leaves}
        remembered = {name: self.store.wish(name) for name in known}
        return frozenset(
            name for name, text in remembered.items() if text and wishes.holds(text, leaves[name], known[name])
        )

    def _remember_wishes(self, leaves: Mapping[str, Certificate]) -> None:
        """Have later runs renew those of these for which that was asked, if the next one comes in a later run."""
        later = self._later()
        for name, spec in self._specs().items() if later else ():
            if spec.forced and name in later and name in leaves:
                self.store.keep_wish(name, wishes.text(leaves[name], spec))

    def _forget_wishes(self) -> None:
        """Forget the renewals that have come, and those that nobody can issue any more."""
        remembered = self.store.wishes()
        still = self._wished(self._leaves_in_use()) if remembered else frozenset()
        for name in remembered:
            if name not in still:
                self.store.drop_wish(name)


def unchanged(error: OSError, path: str) -> TlsError:
    """Return an error of the operating system for a user, from a run that changed nothing; it may name no path."""
    return TlsError(
        f"{error.filename or path}: {error.strerror or error}. Nothing was changed.",
        remedy="Fix that (permissions, space, kind of file), then rerun.",
        code="system_error",
    )
