# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction of a program that must load its files: recover, inspect, plan, refuse, then ask or change.

A change is staged, rehearsed, switched to and proven, or the state before is restored and proven.
"""

from __future__ import annotations

import abc
import contextlib
from typing import TYPE_CHECKING, Any, Callable, Collection, Generic, Iterator, Mapping, NamedTuple, Sequence, TypeVar

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import UnreachableError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.credential import upkeep
from ansible_collections.pgops.tls.plugins.module_utils.deployment.engine import R, Transaction, unchanged

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.core import obstacles
    from ansible_collections.pgops.tls.plugins.module_utils.deployment import recovery
    from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
else:
    obstacles = lazy_import("core.obstacles")
    recovery = lazy_import("deployment.recovery")


F = TypeVar("F", bound=Any)  # what a kind finds; ``generation`` are the files of the generation in use, by name
# What a kind decides: ``contents`` of a new generation (None: it stays), all ``changes`` in words, and the generation
# that a roll-back has ``left`` ('': it is none)
P = TypeVar("P", bound=Any)


class Done(NamedTuple):
    """What a call did or, in check mode, would do. ``requests`` (PEM, by credential) ask for a second call.

    In check mode they are ''. ``next_run`` is what the declared state would change after a roll-back.
    """

    changes: list[str]
    requests: dict[str, str]
    before: Mapping[str, Certificate]
    after: Mapping[str, Certificate]
    next_run: Sequence[str] | None


class Service(Transaction[R], Generic[P, F, R]):
    """The transaction of one such program. It acts as that program's OS user."""

    modes: Mapping[str, int]  # the permission bits of the files of a generation, by name

    def _run(self, *, check_mode: bool) -> R:
        recovered = self._recover(check_mode=check_mode)
        found = self._found()
        before = after = self._leaves(found.generation)
        self._renew(self._wished(before))
        plan = self._plan(found)
        if plan.changes:
            obstacles.refuse(self.store.directory)
        self._refuse(plan, found, check_mode=check_mode)
        if not check_mode:
            self._remember_wishes(before)
        tightened = upkeep.tightened(self.store, self.modes, check_mode=check_mode)
        waiting = self._waiting(plan)
        requests = {name: "" if check_mode else self._request(name, plan, found) for name in waiting}
        if plan.changes and not check_mode and not requests:
            after = self._apply(plan, found)
        if not check_mode and not requests:
            self._tidy()
        changes = [*recovered, *tightened, *plan.changes]
        return self._outcome(plan, found, Done(changes, requests, before, after, self._next_run(plan, found)))

    # What a kind has to say

    @abc.abstractmethod
    def _found(self) -> F:
        """Return what there is; in check mode as if what an interrupted run left were undone. Raises TlsError."""

    @abc.abstractmethod
    def _renew(self, names: Collection[str]) -> None:
        """Have the plan renew these credentials, too: an earlier run was asked for it."""

    @abc.abstractmethod
    def _plan(self, found: F) -> P:
        """Return what is to be done. Raises TlsError."""

    @abc.abstractmethod
    def _refuse(self, plan: P, found: F, *, check_mode: bool) -> None:
        """Raise TlsError for a plan that the program, or who uses it, would not take; nothing is touched."""

    @abc.abstractmethod
    def _waiting(self, plan: P) -> Sequence[str]:
        """Return the names of the credentials that need a certificate which did not come."""

    @abc.abstractmethod
    def _request(self, name: str, plan: P, found: F) -> str:
        """Return a request (PEM) for a credential; its key waits from now on. Raises TlsError, OSError."""

    @abc.abstractmethod
    def _contents(self, plan: P, found: F) -> Mapping[str, File]:
        """Return the files of the new generation, with certificates that came. Raises TlsError."""

    @abc.abstractmethod
    def _change(self, plan: P, found: F, leaves: Mapping[str, Certificate]) -> None:
        """Switch, change files beside the generations, prove each step; ``leaves`` must be in use. Raises TlsError."""

    @abc.abstractmethod
    def _leaves(self, generation: Mapping[str, bytes]) -> Mapping[str, Certificate]:
        """Return the leaves in a generation, by credential."""

    @abc.abstractmethod
    def _outcome(self, plan: P, found: F, done: Done) -> R:
        """Return what is reported of the call."""

    def _next_run(self, _plan: P, _found: F) -> Sequence[str] | None:
        """Return what the declared state would change after a roll-back; None after anything else."""
        return None

    # What is the same for all of these programs

    def _read(self, generation: str | None, name: str) -> bytes | None:
        """Return a file of a generation, None if it cannot be read."""
        return self.store.readable(generation, name)

    def _leaves_of(self, generation: str | None) -> Mapping[str, Certificate]:
        contents = {name: self._read(generation, name) for name in self.modes}
        return self._leaves({name: content for name, content in contents.items() if content is not None})

    def _leaves_in_use(self) -> Mapping[str, Certificate]:
        return self._leaves_of(self.store.current())

    def _apply(self, plan: P, found: F) -> Mapping[str, Certificate]:
        """Make the changes of a plan; return the leaves in use then. Raises TlsError after putting all back."""
        staged = None if plan.contents is None else self._stage(self._contents(plan, found), plan.left)
        leaves = self._leaves_of(staged or self.store.current())
        self._transact(staged, lambda: self._change(plan, found, leaves))
        return leaves


@contextlib.contextmanager
def explained(path: str, program: str, undone: Callable[[], bool], untold: Sequence[str] = ()) -> Iterator[None]:
    """Explain errors of a call for the generations in directory ``path``.

    ``undone`` undoes what an interrupted run left in the files of a program that cannot be reached, and returns whether
    there was any. ``untold`` is then who else was not told of that, and why.
    """
    try:
        yield
    except OSError as error:
        raise unchanged(error, path) from error
    except UnreachableError as error:
        if undone():
            raise recovery.unreachable(error, program, untold) from error
        raise
