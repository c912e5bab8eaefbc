# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of pg_hba.conf and pg_ident.conf, written from the dictionaries that a site declares; on the controller."""

from __future__ import annotations

import re
from typing import Mapping, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import hba_grammar, hba_options, lexer

_RULE_KEYS = ("type", "database", "user", "address", "method")
_IDENT_KEYS = ("map", "system_user", "database_user")
_VERSIONS = (lexer.NEWEST, 18)  # one of them must accept a line: the newest no longer has method radius


def rule_line(rule: object, option: str = "rule") -> str:
    """Return the line of pg_hba.conf that a rule (a dictionary) describes. ``option`` names it in errors.

    Keys: type (hostssl), database (all), user, address (all), method, and the method's options by their names.
    Raises TlsError.
    """
    if not isinstance(rule, Mapping):
        raise TlsError(
            f"{option}: expected a dictionary with user and method, found {type(rule).__name__}.",
            code="rule_not_dictionary",
        )
    for key in ("user", "method"):
        if not rule.get(key):
            raise TlsError(
                f"{option}: the rule has no {key}. Found {', '.join(map(str, rule)) or 'nothing'}; add {key}.",
                code="rule_key_missing",
            )
    kind = str(rule.get("type", "hostssl"))
    fields = [kind, _words(rule.get("database", "all"), option), _words(rule["user"], option)]
    if kind != "local":
        fields.append(_words(rule.get("address", "all"), option))
    elif "address" in rule:
        raise TlsError(
            f"{option}: a rule of type local has no address; found {rule['address']!r}.", code="rule_address_unexpected"
        )
    fields.append(str(rule["method"]))
    fields += [f"{name}={_word(value, option)}" for name, value in rule.items() if name not in _RULE_KEYS]
    line = " ".join(fields)
    _refuse_breaks(line, option)
    _refuse_other_options(kind, rule, option)
    return _checked(line, option, ident=False)


def ident_line(mapping: object, option: str = "mapping") -> str:
    """Return the line of pg_ident.conf of a dictionary with map, system_user and database_user. Raises TlsError."""
    if not isinstance(mapping, Mapping) or sorted(mapping) != sorted(_IDENT_KEYS) or not all(mapping.values()):
        keys = ", ".join(map(str, mapping)) if isinstance(mapping, Mapping) else type(mapping).__name__
        raise TlsError(
            f"{option}: expected the keys {', '.join(_IDENT_KEYS)}, each with a value; found {keys}.",
            code="mapping_keys_wrong",
        )
    return _checked(" ".join(_word(mapping[key], option) for key in _IDENT_KEYS), option, ident=True)


def _refuse_other_options(kind: str, rule: Mapping[str, object], option: str) -> None:
    """Refuse keys that are no options of a rule, by their names: in a line they may be a part of a password."""
    method = str(rule["method"])
    if method in hba_options.METHODS:
        for name in map(str, rule):
            if name not in (*_RULE_KEYS, *hba_options.allowed(kind, method, lexer.NEWEST)):
                reason = hba_options.fault(kind, method, name, "", lexer.NEWEST)
                if reason:
                    raise TlsError(f"{option}: {reason}.", code="rule_option_invalid")


def _checked(line: str, option: str, *, ident: bool) -> str:
    """Return a line that at least one version takes. Raises TlsError."""
    found = [hba_grammar.problems(line, major, ident=ident) for major in _VERSIONS]
    if all(found):
        raise TlsError(f"{option}: {found[-1][0].reason}.", code="rules_faulty")
    return line


def _words(value: object, option: str) -> str:
    parts: Sequence[object] = value if isinstance(value, (list, tuple)) else [value]
    if not parts:
        raise TlsError(f"{option}: found an empty list where a name was expected.", code="rule_list_empty")
    return ",".join(_word(part, option) for part in parts)


def _word(value: object, option: str) -> str:
    """Return one word, quoted where the grammar needs it; who writes quotes around it has them kept."""
    if isinstance(value, (Mapping, list, tuple)) or value is None or value == "":
        found = repr(value) if not value else f"a {type(value).__name__}"  # which may hold a password
        raise TlsError(f"{option}: expected a word, found {found}.", code="rule_value_not_word")
    if isinstance(value, bool):
        return "1" if value else "0"
    text = str(value)
    _refuse_breaks(text, option)
    return text if re.fullmatch(r'"(?:[^"]|"")*"', text) else lexer.word(text)


def _refuse_breaks(text: str, option: str) -> None:
    if re.search(r"[\0\r\n]", text):
        raise TlsError(  # without the value, which may be a password
            f"{option}: a value holds a line break or a NUL; a rule is one line.", code="line_break_in_value"
        )
