# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What messages call the options of a module: users of a role set its variables and never see the options."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import Any, Iterator, Mapping

# How modules take it; doc fragment option_names describes it
ARGUMENT: Mapping[str, Mapping[str, Any]] = {"option_names": {"type": "dict", "default": {}}}

_NAMES: ContextVar[Mapping[str, Any]] = ContextVar("names", default={})  # noqa: B039 (nobody changes it)


@contextlib.contextmanager
def named(names: Mapping[str, Any]) -> Iterator[None]:
    """Have messages call options what their caller calls them, by ``names`` as ``option`` takes them."""
    token = _NAMES.set(names)
    try:
        yield
    finally:
        _NAMES.reset(token)


def option(name: str) -> str:
    """Return what the caller calls an option, such as ``hba``, or ``client.roots`` for one of another module."""
    called = _NAMES.get().get(name)
    if called:
        return str(called)
    module, _dot, own = name.rpartition(".")
    return f"{own} of module {module}" if module else name
