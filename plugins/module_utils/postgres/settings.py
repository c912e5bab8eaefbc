# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of ssl.conf: reading it, and checking it against what the server itself knows of its settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option

if TYPE_CHECKING:  # the controller writes settings, too, and has no server to ask
    from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import OnDisk, ServerState, Setting

# As guc-file.l has it: words without quotes are few, and white space is no more than this. Name, value and comment.
LINE = re.compile(
    r"[ \t\r]*([A-Za-z_][A-Za-z0-9_.]*)(?:[ \t\r]*=[ \t\r]*|[ \t\r]+)"
    r"('(?:[^'\\\n]|''|\\.)*'|[^\W\d][\w.:/-]*|[-+]?\d[\w.]*)[ \t\r]*(#.*)?"
)
_BOOLEANS = {"on": "on", "true": "on", "yes": "on", "1": "on", "off": "off", "false": "off", "no": "off", "0": "off"}
# Files that every server of this collection takes from its generation.
GENERATION_FILES = {
    "ssl_cert_file": "server.crt",
    "ssl_key_file": "server.key",
    "ssl_ca_file": "trusted-clients.crt",
}
LISTS_FILE = "crl.pem"  # ssl_crl_file of those that check whether certificates are revoked


def written(value: object) -> str:
    """Return a value as postgresql.conf writes it: booleans as on and off, anything else quoted."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if not isinstance(value, (str, int, float)):
        raise TlsError(
            f"{option('ssl_conf')}: expected a text, a number or a boolean, found {type(value).__name__}.",
            code="setting_wrong_type",
        )
    text = str(value)
    if re.search(r"[\0\r\n]", text):
        raise TlsError(
            f"{option('ssl_conf')}: {shown(text)} holds a line break or a NUL; a setting is one line.",
            remedy="Take it out.",
            code="line_break_in_value",
        )
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def parse(text: str) -> dict[str, str]:
    """Return the settings of a configuration text. Raises TlsError for a line that is none and for a name set twice."""
    settings: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if not match:
            raise TlsError(
                f"ssl.conf line {number}: expected NAME = VALUE, found {shown(line)}.",
                remedy="Correct the template.",
                code="ssl_conf_syntax",
            )
        if re.search(r"(?<!\\)(?:\\\\)*\\[^\\']", match.group(2)):
            raise TlsError(
                f"ssl.conf line {number}: found an escape other than \\\\ and \\' in {shown(line)}.",
                remedy="Write the character itself.",
                code="ssl_conf_syntax",
            )
        name, value = match.group(1).lower(), _unquoted(match.group(2))
        if name in settings:
            raise TlsError(
                f"ssl.conf line {number}: {name} is set a second time. "
                f"Files, ssl and ssl_crl_file have one line of their own; remove others from {option('ssl_conf')}.",
                code="setting_repeated",
            )
        settings[name] = value
    return settings


def pinned(text: bytes, directory: str, generation: str) -> bytes:
    """Return ssl.conf as it lies in a generation: its paths lead into that one, and not through the link.

    The server reads ssl.conf first, then one file after the other. So what it reads belongs together, also when the
    link changes meanwhile.
    """
    return _redirected(text, f"{directory}/current", f"{directory}/generations/{generation}")


def unpinned(text: bytes, directory: str, generation: str) -> bytes:
    """Return the declared ssl.conf of one that lies in a generation."""
    return _redirected(text, f"{directory}/generations/{generation}", f"{directory}/current")


def _redirected(text: bytes, before: str, after: str) -> bytes:
    for file in (*GENERATION_FILES.values(), LISTS_FILE):
        text = text.replace(f"'{before}/{file}'".encode(), f"'{after}/{file}'".encode())
    return text


def check(settings: dict[str, str], state: ServerState, directory: str, *, has_lists: bool) -> None:
    """Refuse, before anything changes, settings that this server does not know or whose values it would not take.

    One unknown name makes the server reject every change of a reload. ``has_lists``: whether it is to check if
    certificates are revoked. Raises TlsError.
    """
    known = sorted(name for name in state.settings if name.startswith("ssl"))
    for name, value in settings.items():
        if name not in known:
            raise TlsError(
                f"{option('ssl_conf')}: PostgreSQL {state.major} has no setting {name!r}. It knows {', '.join(known)}.",
                remedy="Correct the name or leave it out.",
                code="setting_unknown",
            )
        _check_value(name, value, state.settings[name])
    required = {name: f"{directory}/current/{file}" for name, file in GENERATION_FILES.items()}
    if has_lists:
        required["ssl_crl_file"] = f"{directory}/current/{LISTS_FILE}"
    for name, value in {"ssl": "on", **required}.items():
        if normal(settings.get(name, ""), state.settings[name]) != value:
            raise TlsError(
                f"ssl.conf: expected {name} = {value!r}, found {settings.get(name)!r}.",
                remedy="Correct the template.",
                code="setting_missing",
            )


def refuse_protocols(settings: dict[str, str], state: ServerState, included: str) -> None:
    """Refuse a range of protocols with nothing in it; ``included`` is the path of our own file. Raises TlsError."""
    least, most = (
        _coming(name, settings, state, included) for name in ("ssl_min_protocol_version", "ssl_max_protocol_version")
    )
    if least > most > "":  # the names of the protocols are in the order of the alphabet
        raise TlsError(
            f"ssl_min_protocol_version is {least!r}, above ssl_max_protocol_version {most!r}: the server would refuse "
            "that.",
            remedy=f"Choose a range in {option('ssl_conf')}.",
            code="protocol_range_empty",
        )


def refuse_overrides(settings: dict[str, str], state: ServerState, included: str) -> None:
    """Refuse, before anything changes, values that our file could not replace: ALTER SYSTEM and the command line win.

    ``included`` is the path of our own file. Raises TlsError that names each place.
    """
    overrides = []
    for name in [*settings, *(["ssl_crl_dir"] if "ssl_crl_dir" in state.settings else [])]:
        found, wanted = state.settings[name], normal(settings.get(name, ""), state.settings[name])
        others = [one for one in state.on_disk if one.name == name and one.file != included]
        last = others[-1] if others else None  # what a reload would take, whether there was one yet or not
        if found.source in ("command line", "environment variable") and found.value != wanted:
            overrides.append(f"{name} = {found.value!r} by the {found.source} of the server; remove it there")
        elif last is None or normal(last.value, found) == wanted:
            continue
        elif is_by_alter_system(last):
            undo = f"ALTER SYSTEM RESET {name}; SELECT pg_reload_conf();"
            overrides.append(f"{name} = {last.value!r} by ALTER SYSTEM; undo it with {undo}")
        elif name not in settings:
            overrides.append(f"{name} = {last.value!r} in {last.file} line {last.line}; remove it there")
    if overrides:
        raise TlsError(
            "Settings are overridden outside the files of this collection: "
            + " ".join(overrides)
            + _kept_meanwhile(state, included),
            code="settings_overridden",
        )


def _kept_meanwhile(state: ServerState, included: str) -> str:
    """Return how a server that has never been set up keeps its TLS while ALTER SYSTEM is undone; '' for any other."""
    if any(row.file == included for row in state.on_disk):
        return ""
    lines = [f"{row.name} = {written(row.value)}" for row in state.on_disk if is_by_alter_system(row)]
    if not lines:
        return ""
    return (
        f" So that clients notice nothing, first append what is set now to {state.value('config_file')}, each on a "
        f"line of its own: {'; '.join(lines)}"
    )


def is_by_alter_system(row: OnDisk) -> bool:
    """Return whether a setting was written by ALTER SYSTEM."""
    return row.file.endswith("/postgresql.auto.conf")


def not_in_force(settings: dict[str, str], state: ServerState) -> list[str]:
    """Return which settings have another value than ours in the running server, and where that comes from.

    One that the server does not have is none of them: ``check`` refuses it.
    """
    return [
        f"{name} is {found.value!r} ({found.file or found.source}{f' line {found.line}' if found.line else ''}), "
        f"expected {value!r}"
        for name, value in settings.items()
        for found in [state.settings.get(name)]
        if found is not None and found.value != normal(value, found)
    ]


def normal(value: str, setting: Setting) -> str:
    """Return a value the way pg_settings shows it."""
    if setting.type == "bool":
        return _BOOLEANS.get(value.lower(), value)
    if setting.type == "enum":
        return next((choice for choice in setting.choices or [] if choice.lower() == value.lower()), value)
    return value


def _coming(name: str, settings: dict[str, str], state: ServerState, included: str) -> str:
    """Return the value that a setting is going to have; '' where ours goes and nobody knows what comes after it."""
    found = state.settings[name]
    if name in settings:
        return normal(settings[name], found)
    return found.value if found.file != included else ""


def _check_value(name: str, value: str, setting: Setting) -> None:
    if setting.type == "bool" and value.lower() not in _BOOLEANS:
        raise TlsError(
            f"{option('ssl_conf')}: {name} is {shown(value)}, expected on or off.", code="setting_value_invalid"
        )
    if setting.type == "enum" and normal(value, setting) not in (setting.choices or []):
        choices = ", ".join(repr(choice) for choice in setting.choices or [])
        raise TlsError(
            f"{option('ssl_conf')}: {name} is {shown(value)}, expected one of {choices}.", code="setting_value_invalid"
        )
    if setting.context != "sighup":
        raise TlsError(
            f"{option('ssl_conf')}: {name} takes effect only at a restart; this collection never restarts.",
            remedy="Leave it out, and set it in postgresql.conf before you restart the server.",
            code="setting_needs_restart",
        )


def _unquoted(value: str) -> str:
    if not value.startswith("'"):
        return value
    return re.sub(r"''|\\(.)", lambda match: match.group(1) or "'", value[1:-1])
