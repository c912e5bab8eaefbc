# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared text of ssl.conf as a server of some version, with some OpenSSL, can take it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.lazy_import import lazy_import
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres.settings import LINE, parse, written

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.postgres import key_exchange
else:
    key_exchange = lazy_import("postgres.key_exchange")

_FROM = re.compile(r"# from PostgreSQL (\d+) on\s*")  # behind a setting that versions before do not have
_CURVES = ("prime", "secp", "sect", "brainpool")  # how the groups begin that ssl_ecdh_curve can name


def fitted(text: str, major: int, objection: str = "") -> str:
    """Return the text of ssl.conf as version ``major`` can take it.

    Lines that are for later versions are left out. The groups for key exchange get the name that the version has for
    them: from 18 on it is ssl_groups, a list; before, ssl_ecdh_curve, one curve of the elliptic kind. Of both the curve
    counts: who writes that wants no other. With an ``objection``, groups that the server may not know are left out, see
    key_exchange. Raises TlsError when no group is left.
    """
    text = "\n".join(line for line in text.split("\n") if _since(line) <= major)
    given = parse(text)
    names = [name for name in ("ssl_ecdh_curve", "ssl_groups") if name in given]
    if not names:
        return text
    value = given[names[0]]
    if names[0] == "ssl_groups":
        value = _curve(value, major) if major < 18 else _known(value, objection)
    own = "ssl_groups" if major >= 18 else "ssl_ecdh_curve"
    others = [line for line in text.split("\n") if not _sets(line, names)]
    at = next(number for number, line in enumerate(text.split("\n")) if _sets(line, names))
    return "\n".join([*others[:at], f"{own} = {written(value)}", *others[at:]])


def optional_groups(given: Mapping[str, str], major: int) -> list[str]:
    """Return the groups in settings that a server of version ``major`` may get, and need not know."""
    groups = "" if major < 18 or "ssl_ecdh_curve" in given else given.get("ssl_groups", "")
    return key_exchange.split(groups)[1] if "?" in groups else []


def _since(line: str) -> int:
    """Return the first version that a line is for."""
    match = LINE.fullmatch(line)
    since = _FROM.fullmatch(match.group(3) or "") if match else None
    return int(since[1]) if since else 0


def _curve(groups: str, major: int) -> str:
    """Return the first elliptic curve of a list. Raises TlsError when there is none."""
    curves = [group for group in (one.lstrip("?") for one in groups.split(":")) if group.startswith(_CURVES)]
    if not curves:
        raise TlsError(
            f"{option('ssl_conf')}: ssl_groups is {groups!r}, and PostgreSQL {major} can use none of them: before "
            "18 it takes one elliptic curve.",
            remedy="Add prime256v1 to the list.",
            code="curve_unusable",
        )
    return curves[0]


def _known(groups: str, objection: str) -> str:
    """Return a list of groups as the server can take it. Raises TlsError when it can take none."""
    if not objection:
        return groups
    required, _optional = key_exchange.split(groups)
    if not required:
        raise TlsError(
            f"{option('ssl_conf')}: ssl_groups is {groups!r}, and the server can use none of them: {objection}.",
            remedy="Add prime256v1 to the list.",
            code="groups_unusable",
        )
    return ":".join(required)


def _sets(line: str, names: Sequence[str]) -> bool:
    match = LINE.fullmatch(line)
    return match is not None and match.group(1).lower() in names
