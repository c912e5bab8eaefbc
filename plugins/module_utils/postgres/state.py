# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PostgreSQL server says about itself, asked in one query."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.postgres.psql import Administrator

# What the server refuses in the files of its rules and maps as they are on disk, loaded or not. A line for which it
# loads nothing of the file is one that it could make nothing of: all columns are NULL, and for a bad clientcert= or
# clientname= so is the error. A line with an error and a type is loaded: while ssl is off, every rule of type hostssl
# has one ("cannot match"). From 16 on each row names its own file. The views fail where the file does not exist.
_BAD_LINES = """
    CASE WHEN EXISTS (SELECT FROM pg_stat_file(current_setting('{setting}'), true) WHERE size IS NOT NULL) THEN
      (SELECT json_agg(json_build_object('name', '{name}', 'line', line_number, 'error', error,
                'file', coalesce(to_json(one)->>'file_name', current_setting('{setting}'))))
         FROM {view} one WHERE {column} IS NULL) END"""
_RULES = _BAD_LINES.format(name="pg_hba.conf", setting="hba_file", view="pg_hba_file_rules", column="type")
_MAPS = _BAD_LINES.format(name="pg_ident.conf", setting="ident_file", view="pg_ident_file_mappings", column="map_name")
# Versions before 15 have no view of the maps; psql leaves out what they could not parse.
_BY_VERSION = """
    SELECT :SERVER_VERSION_NUM >= 150000 AS tells_of_maps \\gset
    \\if :tells_of_maps
    {with_maps};
    \\else
    {without};
    \\endif
"""
# What the server replicates from others, and which standbys its commits wait for; NULL for neither. It has passwords in
# it: see replication/conninfo.py. From 16 on an apply worker may have others beside it, which connect to nobody.
REPLICATION = """
    CASE WHEN pg_is_in_recovery() OR current_setting('synchronous_standby_names') <> ''
           OR EXISTS (SELECT FROM pg_subscription WHERE subenabled) THEN
      json_build_object(
        'is_standby', pg_is_in_recovery(),
        'primary_conninfo', CASE WHEN pg_is_in_recovery() THEN current_setting('primary_conninfo', true) END,
        'application_name', coalesce(nullif(current_setting('cluster_name'), ''), 'walreceiver'),
        'receiver', (
          SELECT json_build_object('pid', pid, 'status', status, 'began', extract(epoch FROM backend_start)::float8)
            FROM pg_stat_wal_receiver JOIN pg_stat_activity USING (pid)),
        'synchronous', (
          SELECT coalesce(json_agg(application_name), '[]') FROM pg_stat_replication
           WHERE sync_state IN ('sync', 'quorum')),
        'subscriptions', (
          SELECT json_agg(json_build_object('name', subname, 'database', datname, 'conninfo', subconninfo,
                   'pid', worker.pid, 'began', extract(epoch FROM backend_start)::float8,
                   'status', CASE WHEN worker.pid IS NULL THEN '' ELSE 'running' END) ORDER BY datname, subname)
            FROM pg_subscription one JOIN pg_database ON pg_database.oid = subdbid
            LEFT JOIN (
              SELECT pid, subid, backend_start FROM pg_stat_subscription JOIN pg_stat_activity USING (pid)
               WHERE relid IS NULL AND to_json(pg_stat_subscription)->>'leader_pid' IS NULL) worker
              ON worker.subid = one.oid
           WHERE subenabled AND NOT pg_is_in_recovery())) END"""
_STATE = """
    WITH files AS (SELECT * FROM pg_file_settings)
    SELECT json_build_object(
      'version', current_setting('server_version_num')::int,
      'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
      'log_file', pg_current_logfile(),
      'faults', (
        SELECT coalesce(json_agg(json_build_object('file', sourcefile, 'line', sourceline, 'error', error)
                 ORDER BY seqno), '[]')
          FROM files WHERE error IS NOT NULL AND error <> 'setting could not be applied'
           AND NOT (sourcefile IS NULL AND error LIKE 'parameter % cannot be changed without restarting the server')),
      'on_disk', (
        SELECT coalesce(json_agg(json_build_object('name', name, 'value', setting, 'file', sourcefile,
                 'line', sourceline) ORDER BY seqno), '[]')
          FROM files WHERE name LIKE 'ssl%'),
      'bad_lines', json_build_array(BAD_LINES),
      'databases', (SELECT json_agg(datname) FROM pg_database WHERE datallowconn),
      'plaintext_sessions', (
        SELECT coalesce(json_agg(json_build_object('role', usename, 'database', datname,
                 'address', host(client_addr), 'application', application_name,
                 'since', to_char(backend_start, 'YYYY-MM-DD HH24:MI')) ORDER BY usename, client_addr, pid), '[]')
          FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE NOT ssl AND client_addr IS NOT NULL),
      'settings', (
        SELECT json_object_agg(name, json_build_object('value', setting, 'type', vartype, 'choices', enumvals,
                 'context', context, 'source', source, 'file', sourcefile, 'line', sourceline))
          FROM pg_settings
         WHERE name LIKE 'ssl%' OR name IN (
           'config_file', 'data_directory', 'hba_file', 'hosts_file', 'ident_file', 'listen_addresses')),
      'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
      'configure', (SELECT coalesce(max(setting), '') FROM pg_config() WHERE name = 'CONFIGURE'),
      'replication', REPLICATION)"""


def _by_version(query: str) -> str:
    """Return a script for psql: the query with what the server's version can report for ``BAD_LINES``."""
    with_maps, without = (query.replace("BAD_LINES", lines) for lines in (f"{_RULES}, {_MAPS}", _RULES))
    return _BY_VERSION.format(with_maps=with_maps, without=without)


_WHOLE_STATE = _by_version(_STATE.replace("REPLICATION", REPLICATION))
_BAD_LINES_ALONE = _by_version("SELECT json_build_array(BAD_LINES)")

_LOCAL = {"*": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",), "::": ("::1",)}  # noqa: S104
_LOOPBACK = ("localhost", "127.", "::1")


class Setting(NamedTuple):
    """A row of pg_settings; ``choices`` of an enum, ``file`` and ``line`` of where the value comes from, if a file."""

    value: str
    type: str
    choices: list[str] | None
    context: str
    source: str
    file: str | None
    line: int | None


class OnDisk(NamedTuple):
    """A setting as a file has it now, whether the server has loaded it or not."""

    name: str
    value: str
    file: str
    line: int


class ServerState(NamedTuple):
    """A server's version (as server_version_num), settings, log file and sessions that use no TLS.

    ``faults`` are the places in its configuration files for which it would take nothing of them at a reload,
    ``on_disk`` what those files say of TLS in the order of their weight, ``bad_lines`` the rows of pg_hba.conf and
    pg_ident.conf (see rules) that it could not load. ``databases`` are those that take connections.
    ``system_identifier`` is the same for a primary and its standbys. ``replication``: see REPLICATION. ``configure``
    are the options that the server was built with.
    """

    version: int
    settings: dict[str, Setting]
    log_file: str | None
    plaintext_sessions: list[dict[str, str]]
    faults: list[dict[str, Any]]
    on_disk: list[OnDisk]
    bad_lines: list[dict[str, Any]]
    databases: Sequence[str] = ()
    system_identifier: str = ""
    replication: dict[str, Any] | None = None
    configure: str = ""

    @property
    def major(self) -> int:
        """Return the major version, such as 15."""
        return self.version // 10000

    def value(self, name: str) -> str:
        """Return the value of one setting, '' for a setting that this version does not have."""
        return self.settings[name].value if name in self.settings else ""

    @property
    def local_addresses(self) -> list[str]:
        """Return the addresses of this host that the server listens on. Raises TlsError when there is none."""
        return local_addresses(self.value("listen_addresses"))


def local_addresses(listen_addresses: str) -> list[str]:
    """Return the addresses of this host that a server listens on by its setting, those first that are surely its own.

    Raises TlsError when there is none.
    """
    listed = [part.strip() for part in listen_addresses.split(",")]
    found = [address for part in listed if part for address in _LOCAL.get(part, (part,))]
    if not found:
        raise TlsError(
            "listen_addresses is empty: the server accepts no TCP connections, so TLS has nothing to protect.",
            remedy="Remove it from the managed servers. Or set listen_addresses to the addresses that its clients "
            "use, and restart the server yourself.",
            code="listen_addresses_empty",
        )
    # An address that moves between hosts may be at another one, where another server answers.
    return sorted(dict.fromkeys(found), key=lambda address: not address.startswith(_LOOPBACK))


def inspect(administrator: Administrator) -> ServerState:
    """Ask the server for its state. Raises TlsError, also when the role is no superuser."""
    found = as_superuser(administrator, _WHOLE_STATE)
    return ServerState(
        version=found["version"],
        settings={name: Setting(**setting) for name, setting in found["settings"].items()},
        log_file=found["log_file"],
        plaintext_sessions=found["plaintext_sessions"],
        faults=found["faults"],
        on_disk=[OnDisk(**row) for row in found["on_disk"]],
        bad_lines=_joined(found["bad_lines"]),
        databases=found["databases"],
        system_identifier=found["system_identifier"],
        replication=found["replication"],
        configure=found["configure"],
    )


def bad_lines(administrator: Administrator) -> list[dict[str, Any]]:
    """Ask again for the lines of pg_hba.conf and pg_ident.conf that the server could not load. Raises TlsError."""
    return _joined(administrator.query(_BAD_LINES_ALONE))


def _joined(lists: list[list[dict[str, Any]] | None]) -> list[dict[str, Any]]:
    return [row for rows in lists for row in rows or []]


def as_superuser(administrator: Administrator, query: str) -> dict[str, Any]:
    """Return the answer to a query for an object with ``superuser``, whether the role is one. Raises TlsError."""
    try:
        found: dict[str, Any] = administrator.query(query)
    except TlsError as error:
        # Without the right to set lc_messages a session does not begin, and the server says so in its own language
        if "permission denied" in error.message or "lc_messages" in error.message:
            raise _no_superuser(administrator) from error
        raise
    if not found["superuser"]:
        raise _no_superuser(administrator)
    return found


def _no_superuser(administrator: Administrator) -> TlsError:
    """Return the error for a role that sees too little."""
    return TlsError(
        f"{administrator.target}: role {administrator.role!r} is no superuser; settings, rules and reloads need one.",
        remedy=f"Name a superuser in {option('login_user')}.",
        code="login_user_not_superuser",
    )
