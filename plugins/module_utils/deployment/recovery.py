# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Undo what a run left that was interrupted or has failed: in a transaction, and where a program cannot be reached."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Callable, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import directory
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, UnreachableError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account, account_of
from ansible_collections.pgops.tls.plugins.module_utils.core.root_owned import RootFiles

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.deployment.engine import Transaction


def recover(one: Transaction[Any], *, check_mode: bool) -> list[str]:
    """Undo what an open journal describes, or set a damaged one aside. Returns that in words. Raises TlsError."""
    damage = one.journal.damage()
    if damage:
        return _set_aside(one, damage, check_mode=check_mode)
    if not check_mode:
        one.wait_for_program()
        _undo(one.journal, one.tell, one.rights)
        one.recovered = "the transaction of an interrupted run was undone"
        one.notes += filter(None, [one.untold()])
        one.forget()  # what a forged journal leaves out
        one.settle()
        one.store.discard_unused()
    return [f"{one.subject}: the transaction of an interrupted run is undone"]


def _set_aside(one: Transaction[Any], damage: str, *, check_mode: bool) -> list[str]:
    """Continue without a damaged journal if the host is proven to be consistent. Raises TlsError otherwise.

    Then it does not matter what the interrupted run did: the plan of this run continues from there.
    """
    half = one.half()
    if half:
        raise _damaged(
            one.journal,
            f"{damage} So it is unknown what an interrupted run changed, and these faults are left: {'; '.join(half)}.",
        )
    aside = "set aside"
    if not check_mode:
        one.settle()
        aside = f"set aside as {one.journal.set_aside()}"
        one.recovered = "the damaged journal of an interrupted run was set aside"
        one.forget()
        one.store.discard_unused()
    one.notes.append(
        f"{damage} {one.consistent} So the journal is {aside}. Find out who wrote to {one.store.directory}, then "
        "remove that file."
    )
    return [f"{one.subject}: the damaged journal of an interrupted run is set aside"]


def rolled_back(one: Transaction[Any], error: Exception, staged: str | None) -> TlsError:
    """Restore and prove the state before; return the reason of the failure with what came of the roll-back."""
    details = {**error.details, "code": error.code} if isinstance(error, TlsError) else {"code": "system_error"}
    try:
        if one.journal.is_open():
            one.journal.roll_back(discard=False, tell=one.tell)
        elif staged is not None:
            one.store.discard(staged)
    except (TlsError, OSError) as second:
        remedy = f"The next run tries again; {one.journal.path} lists what to restore."
        message = f"{error} The previous state could NOT be restored completely: {second} {remedy}"
        return TlsError(message, **{**details, "rolled_back": False})
    try:
        one.prove_previous()
    except (TlsError, OSError) as second:
        message = f"{error} All files are as before, but {one.program} could NOT be proven to use them: {second}"
        return TlsError(message, **{**details, "rolled_back": False})
    with contextlib.suppress(TlsError, OSError):  # the next run does it
        one.store.discard_unused()  # not before the proof: the program may have been starting with it
    untold = "" if one.untold() in str(error) else one.untold()
    return TlsError(f"{error} {one.restored} {untold}".rstrip(), **{**details, "rolled_back": True})


def of_files(
    path: str,
    root_files: Callable[[Account], RootFiles],
    tell: Callable[[Journal], object] = lambda _journal: None,
    service: str = "server",
) -> bool:
    """Undo what an interrupted run left in the files of a program that cannot be reached; return whether there was any.

    Those files may be why it does not start. ``path`` is the directory of its generations, ``root_files`` gives the
    keeper of root's files for its OS user, and ``tell`` notifies who uses them. Raises TlsError.
    """
    try:
        owner = account_of(os.stat(path).st_uid)
    except FileNotFoundError:
        return False
    with directory.held(path, owner, check_mode=False, service=service):
        journal = Journal(GenerationStore(path, owner.owner), root_files(owner))
        damage = journal.damage()
        if damage:
            raise _damaged(journal, f"{damage} So it is unknown what an interrupted run changed.")
        if not journal.is_open():
            return False
        _undo(journal, lambda: tell(journal))
        return True


def after(one: Transaction[Any], error: TlsError | OSError) -> TlsError:
    """Return the error of a run that had recovered before."""
    explained = error if isinstance(error, TlsError) else one.explained(error)
    details = {**explained.details, "changed": True}
    return TlsError(f"{explained.message} Before that, {one.recovered}.", code=explained.code, **details)


def unreachable(error: UnreachableError, program: str, untold: Sequence[str] = ()) -> TlsError:
    """Return the error of a run that could not reach a program, but has undone what was left in its files.

    ``untold`` says who else was not told of that, and why.
    """
    undone = "An interrupted run had left its changes in its files; they were undone."
    return TlsError(
        " ".join([error.message, undone, *untold]),
        remedy=f"Start {program}, then rerun.",
        code=error.code,
        changed=True,
    )


def _undo(journal: Journal, tell: Callable[[], object] | None, rights: str = "") -> None:
    """Undo the changes in an open journal, and ``tell`` the program that uses the files. Raises TlsError."""
    try:
        journal.roll_back(discard=False, tell=tell)
    except OSError as error:
        raise TlsError(
            f"{error.filename or journal.path}: {error.strerror or error}{rights}. What an interrupted run left "
            f"is only partly undone ({journal.path} lists it).",
            remedy="Fix that (permissions, space), then rerun: the next run continues.",
            code="recovery_failed",
            rolled_back=False,
        ) from error


def _damaged(journal: Journal, what: str) -> TlsError:
    return TlsError(f"{what} Nothing was changed.", remedy=journal.remedy, code="journal_damaged")
