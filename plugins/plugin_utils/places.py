# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on the controller a directory goes that the inventory does not name: beside the inventory, never inside it."""

from __future__ import annotations

import os
import re
import shlex
from typing import NamedTuple, Sequence

from ansible import constants
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError

# What Ansible passes over in a directory of inventories, as its own inventory/manager.py has it
_PASSED_OVER = re.compile(
    "|".join(
        [r"^\.", "^host_vars$", "^group_vars$", "^vars_plugins$"]
        + list(constants.INVENTORY_IGNORE_PATTERNS)
        + [f"{re.escape(one)}$" for one in constants.INVENTORY_IGNORE_EXTS]
    )
)


class Place(NamedTuple):
    """A directory, and why it should be moved or named; '' for neither."""

    path: str
    warning: str = ""


def default(variable: str, name: str, inventory_dir: str | None, sources: Sequence[str], host: str) -> Place:
    """Return where directory ``name`` is, or goes, if ``variable`` is not set. Raises TlsError if that is not certain.

    ``inventory_dir`` is that of the first host of the inventory, in which earlier versions put it: what is there stays
    in use. ``sources`` are the inventories of the run, and the directory is on ``host``.
    """
    if host != "localhost":
        raise TlsError(
            f"{variable}: not set, and the directory is on host {host}. Expected an absolute path on it.",
            remedy=f"Set it, such as {variable}: /srv/{name}{_as_before(inventory_dir, name)}.",
            code="directory_not_set",
        )
    beside = [one for one in dict.fromkeys(_beside(source, name) for source in sources) if one]
    before = os.path.join(inventory_dir, name) if inventory_dir else ""
    has_before = os.path.isdir(before)
    if len(beside) == 1 and not _inside(beside[0], sources) and (os.path.isdir(beside[0]) or not has_before):
        return Place(beside[0])
    if has_before:
        return Place(before, _warning(variable, before, beside, sources))
    raise TlsError(
        f"{variable}: not set, and {_uncertain(beside, sources)}",
        remedy=f"Set it, such as {variable}: /srv/{name}.",
        code="directory_not_set",
    )


def refuse_inside(variable: str, path: str, sources: Sequence[str]) -> None:
    """Raise TlsError for a new directory inside a directory of inventories. One that exists is left where it is."""
    source = _inside(path, sources)
    if source and not os.path.isdir(path):
        raise TlsError(
            f"{variable}: {path} would lie inside the inventory {source}, and Ansible would read its files as "
            f"inventory. Expected a directory outside, such as {_beside(source, os.path.basename(path.rstrip('/')))}.",
            code="directory_inside_inventory",
        )


def _as_before(inventory_dir: str | None, name: str) -> str:
    """Return how to continue with what an earlier version put into its default place on another host."""
    return (
        f" (until now it was {os.path.join(inventory_dir, name)}: keep that if it exists there)"
        if inventory_dir
        else ""
    )


def _beside(source: str, name: str) -> str:
    """Return where the directory of an inventory goes; '' where the inventory is no file and no directory."""
    source = os.path.abspath(source)
    if os.path.isdir(source):
        return f"{source}-{name}"  # named after it: another inventory beside it has authorities of its own
    return os.path.join(os.path.dirname(source), name) if os.path.isfile(source) else ""


def _inside(path: str, sources: Sequence[str]) -> str:
    """Return the directory of inventories that would read the files below a path as inventory, '' if none would."""
    for source in sources:
        relative = os.path.relpath(os.path.realpath(path), os.path.realpath(source))
        parts = relative.split(os.sep)
        if os.path.isdir(source) and parts[0] != ".." and not any(map(_PASSED_OVER.search, parts)):
            return source
    return ""


def _warning(variable: str, before: str, beside: Sequence[str], sources: Sequence[str]) -> str:
    source = _inside(before, sources)
    if source and len(beside) == 1 and not _inside(beside[0], sources):
        return (
            f"{before} lies inside the inventory {source}, so Ansible reads its files as inventory. It stays in use. "
            f"Move it: mv {shlex.quote(before)} {shlex.quote(beside[0])}. The next run finds it there."
        )
    return (
        f"{variable} is not set, and {_uncertain(beside, sources)} {before} stays in use, because it exists. Set "
        f"{variable}: {before}."
    )


def _uncertain(beside: Sequence[str], sources: Sequence[str]) -> str:
    inventories = ", ".join(map(str, sources)) or "none"
    if not beside:
        return f"the inventory ({inventories}) is no file or directory that it could go beside."
    if len(beside) > 1:
        return f"there are several inventories ({inventories}), so it could be {' or '.join(beside)}."
    return f"{beside[0]} would lie inside the inventory {_inside(beside[0], sources)}, whose files Ansible reads."
