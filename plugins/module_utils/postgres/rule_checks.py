# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused of rules and maps before they are written: what no server would load, and what is not meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.later import later
from ansible_collections.pgops.tls.plugins.module_utils.postgres import lexer, passwords
from ansible_collections.pgops.tls.plugins.module_utils.postgres.lexer import Line, Token
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.postgres import hba
else:
    hba = later("postgres.hba")


def refuse_faulty(text: str, major: int, option: str, path: str, *, ident: bool = False) -> None:
    """Refuse a text of pg_hba.conf, or pg_ident.conf, that a server of version ``major`` would not load.

    ``option`` is where the text is from, ``path`` the file that it is for. Raises TlsError.
    """
    for found in hba.problems(text, major, ident=ident, path=path):
        if found.line:  # 0: there is nothing in it, but there may be elsewhere
            raise TlsError(f"{found.file or option} line {found.line}: {found.reason}.")


def refuse_unknown_maps(text: str, ident: str, major: int, option: str) -> None:
    """Refuse rules that name a map which ``ident``, the text of pg_ident.conf as it is to be, does not have."""
    mappings = lexer.read(ident, major)
    maps = {line.fields[0][0].text for line in mappings if line.fields}
    if any(lexer.is_directive(line, major) for line in mappings):  # to other files, which may have it
        return
    for line in lexer.read(text, major):
        named = [token.text[4:] for field in line.fields[4:] for token in field if token.text.startswith("map=")]
        for name in named:
            if name not in maps:
                raise TlsError(
                    f"{option} line {line.number}: map={name} names a map that pg_ident.conf does not have; the server "
                    "would refuse everybody without saying why. Add it to postgres_server_ident."
                )


def refuse_plaintext(text: str, major: int) -> None:
    """Refuse a whole text of pg_hba.conf by which a connection over TCP without TLS could log in. Raises TlsError."""
    closed: set[str] = set()
    for line in lexer.read(text, major):
        kind, databases = (
            line.fields[0][0].text if line.fields else "",
            [token for field in line.fields[1:2] for token in field],
        )
        method = line.fields[_method_at(line) : _method_at(line) + 1]
        never_plain = kind in ("local", "hostssl", "hostgssenc")
        if never_plain or (databases and all(_is_closed(one, closed) for one in databases)):
            continue
        if not method or method[0][0].text != "reject":
            raise TlsError(
                f"pg_hba.conf line {line.number} ({passwords.masked(line.text).strip()}) lets connections without TLS "
                "in, but postgres_server_plaintext is reject. Make it a rule of type hostssl, or set "
                "postgres_server_plaintext to allow and write rules of type hostnossl and method reject of your own."
            )
        if [[Token("all", quoted=False)]] * 2 == line.fields[2:4]:
            closed |= {token.text for token in databases if not token.quoted and token.text in ("all", "replication")}
        if len(closed) == 2:
            return


def _is_closed(database: Token, closed: set[str]) -> bool:
    """Return whether every connection without TLS to a database is refused; ``all`` does not match replication."""
    is_replication = database == Token("replication", quoted=False)
    return ("replication" if is_replication else "all") in closed


def _method_at(line: Line) -> int:
    """Return the index of the method's field: an address may be followed by a mask in a field of its own."""
    if not line.fields or line.fields[0][0].text == "local":
        return 3
    has_address = len(line.fields) > 3
    return 5 if has_address and packed_address(line.fields[3][0].text) is not None else 4
