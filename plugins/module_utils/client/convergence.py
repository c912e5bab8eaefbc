# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All clients of one host: every OS user's files brought to their target, each in a transaction of its own."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import identities, revoked, service_file
from ansible_collections.pgops.tls.plugins.module_utils.client.home import CERTIFICATE, KEY, Home
from ansible_collections.pgops.tls.plugins.module_utils.client.outcome import UserOutcome
from ansible_collections.pgops.tls.plugins.module_utils.client.target import Target
from ansible_collections.pgops.tls.plugins.module_utils.client.transaction import Transaction
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import find
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import anchor_warnings
from ansible_collections.pgops.tls.plugins.module_utils.deployment.outcome import fact
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client import after_change, managed
    from ansible_collections.pgops.tls.plugins.module_utils.client.after_change import Hook
else:
    after_change = lazy_import("client.after_change")
    managed = lazy_import("client.managed")


class Converged(NamedTuple):
    """What was done on a host: each transaction with its outcome, and warnings."""

    outcomes: list[tuple[Transaction, UserOutcome]]
    warnings: list[str]


@contextlib.contextmanager
def _as_user(transaction: Transaction) -> Iterator[None]:
    """Act as the OS user of a transaction. Errors of the operating system become TlsError."""
    try:
        with acting_as(transaction.user):
            yield
    except OSError as error:
        raise transaction.explained(error) from error


def converge(
    target: Target, now: int, controller_time: float, *, check_mode: bool, kind: type[Transaction] = Transaction
) -> Converged:
    """Bring all clients of this host to their target, or say what they need. Times are in Unix seconds.

    ``kind`` is the transaction to make for each OS user.
    Raises TlsError: before anything changes where the input is at fault; otherwise after every OS user was processed,
    with the reasons of those that failed (their files are as they were).
    """
    clock.refuse_skew(now, controller_time)
    if not target.identities:
        return Converged([], [])
    if any(one.has_certificate for one in target.identities):
        find("openssl", "to make private keys and certificate requests")
    transactions = [
        kind(user, [one for one in target.identities if one.os_user == name], target, now)
        for name, user in identities.accounts(target.identities).items()
    ]
    for transaction in transactions:
        with _as_user(transaction):
            transaction.refuse_unfit()
    done, failed = [], []
    warnings = anchor_warnings(target.roots, option("roots"), now)
    warnings += revoked.ending(target.identities, target, now)
    for transaction in [one for one in transactions if not one.is_waiting]:
        try:
            with _as_user(transaction):
                outcome = transaction.run(check_mode=check_mode)
                done.append((transaction, outcome))
                warnings += transaction.warnings(outcome)
                warnings += managed.warnings(outcome.endpoints) if outcome.endpoints else []
        except TlsError as error:
            failed.append(error)
    if not any(outcome.requests for _transaction, outcome in done):  # else the call with the answers runs them
        done, failures = _after_change(done)
        failed += failures
    if failed:
        raise _as_one(failed, Converged(done, warnings), [one for one in transactions if not one.is_waiting])
    return Converged(done, warnings)


def _after_change(
    done: Sequence[tuple[Transaction, UserOutcome]],
) -> tuple[list[tuple[Transaction, UserOutcome]], list[TlsError]]:
    """Run the hooks that are due, each once on this host, whatever identities have it.

    Returns the outcomes with what they did, and what failed.
    """
    results: dict[tuple[object, ...], str | TlsError] = {}
    told: list[tuple[Transaction, UserOutcome]] = []
    for transaction, outcome in done:
        failed, changes = [], list(outcome.changes)
        for one in outcome.hooks:
            hook = one.after_change
            if hook is None:
                continue
            key = (hook, hook.runs_as(transaction.user))
            is_first = key not in results
            result = results[key] if not is_first else _ran(hook, transaction)
            results[key] = result
            if isinstance(result, TlsError):
                failed.append(one.name)
            elif is_first:
                changes.append(f"{one.id}: after_change: {result}")
        if outcome.hooks:
            with contextlib.suppress(TlsError), _as_user(transaction):  # else the next run runs them again
                mark = transaction.store.path(outcome.generation or "", after_change.MARK)
                after_change.forget(mark, failed, transaction.user.owner)
        told.append((transaction, outcome._replace(changes=changes, changed=bool(changes))))
    return told, [one for one in results.values() if isinstance(one, TlsError)]


def _ran(hook: Hook, transaction: Transaction) -> str | TlsError:
    """Run a hook; return what it did, or how it failed."""
    try:
        return after_change.run(hook, transaction.user)
    except TlsError as error:
        return error


def _as_one(failed: Sequence[TlsError], converged: Converged, begun: Sequence[Transaction]) -> TlsError:
    """Return the errors of some OS users as one, with what was done for others, and what these ask for.

    ``begun`` are the transactions of all of them.
    """
    done, through = result(converged), [transaction for transaction, _outcome in converged.outcomes]
    restored = [one.details["rolled_back"] for one in failed if "rolled_back" in one.details]
    told: dict[str, Any] = {"rolled_back": all(restored)} if restored else {}
    if any(one.details.get("changed") for one in failed):
        told["changed"] = True
    if done["requests"]:
        told.update(requests=done["requests"], identities=done["identities"])
        told["not_asked"] = [one.id for each in begun if each not in through for one in each.certified]
    message = " ".join(one.message for one in failed)
    return TlsError(message, code=failed[0].code, changes=done["changes"], **told)


def result(converged: Converged) -> dict[str, Any]:
    """Return the module's result; no key is in it."""
    outcomes = [outcome for _transaction, outcome in converged.outcomes]
    return {
        "changed": any(outcome.changed for outcome in outcomes),
        "changes": [change for outcome in outcomes for change in outcome.changes],
        "reasons": [
            f"{one.id}: {reason}"
            for transaction, outcome in converged.outcomes
            for one in transaction.identities
            for reason in outcome.plan.reasons.get(one.name, ())
        ],
        "requests": [
            {
                "id": one.identity.id,
                "role": one.identity.role,
                "names": [name.value for name in one.identity.names],
                "reasons": one.reasons,
                **({"csr": one.csr} if one.csr else {}),
            }
            for outcome in outcomes
            for one in outcome.requests
        ],
        "identities": [fact for pair in converged.outcomes for fact in _facts(*pair)],
        "endpoints": [dict(row) for outcome in outcomes for row in outcome.endpoints],
        "next_run": [change for outcome in outcomes for change in outcome.next_run],
        "diff": [entry for pair in converged.outcomes for entry in _differences(*pair)],
    }


def _facts(transaction: Transaction, outcome: UserOutcome) -> Iterator[dict[str, Any]]:
    for one in transaction.certified:
        leaf = outcome.after.get(one.name)
        shown = fact(leaf) if leaf else {}
        yield {
            "id": one.id,
            "role": one.role,
            "names": [name.value for name in one.names],
            "os_user": one.os_user,
            "certificate": transaction.home.current(one.name, CERTIFICATE),
            "key": transaction.home.current(one.name, KEY),
            "is_held": one.name in transaction.held,
            **{name: shown.get(name) for name in ("serial", "not_after", "sha256", "pem")},
            "renewal": clock.instant(due.due_at(leaf, transaction.target.spec(one, forced=False))) if leaf else None,
        }


def _differences(transaction: Transaction, outcome: UserOutcome) -> Iterator[dict[str, str]]:
    """Return what changes for an OS user in the form that Ansible prints.

    Hand-written services stay out: passwords may be in them.
    """
    if not outcome.plan.changes:
        return
    parts = [_certificate(transaction, outcome, name) for name in _names(transaction, outcome)]
    if not any(request.csr for request in outcome.requests):  # else the rest comes with the certificates
        parts += [_links(outcome), _services(transaction.home, outcome)]
    before, after = ("".join(texts) for texts in zip(*parts))
    if before != after:
        name = f"OS user {transaction.user.name}"
        yield {"before_header": name, "after_header": name, "before": before, "after": after}


def _names(transaction: Transaction, outcome: UserOutcome) -> list[str]:
    return list(dict.fromkeys([*(one.name for one in transaction.identities), *outcome.before]))


def _certificate(transaction: Transaction, outcome: UserOutcome, name: str) -> tuple[str, str]:
    """Return the certificate of an identity before and after, or what is requested; nothing if it stays."""
    before, after = (_described(name, leaves.get(name)) for leaves in (outcome.before, outcome.after))
    declared = {one.name: one for one in transaction.certified}
    if name in outcome.plan.reasons and outcome.before.get(name) == outcome.after.get(name):
        title = _title(name, declared[name].role, [each.value for each in declared[name].names])
        after = f"{title}to be issued, because: {', '.join(outcome.plan.reasons[name])}\n"
    if name not in declared and name not in outcome.found.kept:
        after = ""
    return ("", "") if before == after else (before, after)


def _links(outcome: UserOutcome) -> tuple[str, str]:
    """Return the default names before and after: those that come or go in one line, others with what is replaced."""
    coming, going, before, after = [], [], "", ""
    for path, to in outcome.plan.links.items():
        name, found = os.path.basename(path), outcome.found.links[path]
        if found is None:
            coming.append(name)
        else:
            before += f"{name}: {found or 'a file that is not ours'}\n"
            after += f"{name}: {to}\n"
    for path, kept in outcome.plan.former.items():
        name = os.path.basename(path)
        if kept is None:
            going.append(name)
        else:
            before += f"{name}: {outcome.found.links[path]}\n"
            after += f"{name}: {os.path.basename(kept)}\n"
    return (
        (f"links {', '.join(going)}\n" if going else "") + before,
        (f"links {', '.join(coming)}\n" if coming else "") + after,
    )


def _services(home: Home, outcome: UserOutcome) -> tuple[str, str]:
    """Return the managed services before and after: in full only where they change."""
    if outcome.plan.service is None:
        return "", ""
    before, after = (
        service_file.split(content or b"", home.service_file).block.decode("utf-8", "replace")
        for content in (outcome.found.service, outcome.plan.service)
    )
    if before and after:
        return before, after
    return _in_a_line(before), _in_a_line(after)


def _in_a_line(block: str) -> str:
    return f"services {', '.join(service_file.names(block))}\n" if block else ""


def _described(name: str, leaf: Certificate | None) -> str:
    if leaf is None:
        return ""
    title = _title(name, leaf.common_name, [each.value for each in leaf.names])
    return f"{title}key: {leaf.key_type}\nserial: {leaf.serial:x}\nnot after: {clock.instant(leaf.not_after)}\n"


def _title(name: str, role: str, names: Sequence[str]) -> str:
    """Return the first line on an identity; its name is usually that of its role. A server has ``names``."""
    who = f"names: {', '.join(names)}\n" if names else f"role: {role}\n"
    return who if name == role and not names else f"{who}name: {name}\n"
