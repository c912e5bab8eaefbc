# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages that the troubleshooting page quotes, and a server with a client on which they are provoked."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

PAGE = Path(__file__).parent.parent / "docs" / "docsite" / "rst" / "guide_troubleshooting.rst"
OURS = "pgops.tls"
SOURCES = ("libpq", "server log", OURS)
SYMPTOM = re.compile(r"^(?P<title>\S.*)\n~+\n", re.MULTILINE)  # titles of the third level are symptoms
SECTION = re.compile(r"^\S.*\n(?:=+|-+|~+)\n", re.MULTILINE)
QUOTE_BLOCK = re.compile(
    r"^\.\. code-block:: text\n +:caption: (?P<source>.+?)(?: (?P<versions>\d+(?:, \d+)*))?\n\n"
    r"(?P<text>(?:(?: {3,}.*)?\n)+)",
    re.MULTILINE,
)


class Quote(NamedTuple):
    """A message that the page quotes: who says it, in which major versions (none: in all that are tried), its text."""

    source: str
    versions: tuple[int, ...]
    text: str


def symptoms() -> dict[str, list[Quote]]:
    """Return the quoted messages of each symptom on the page, by the symptom's title."""
    page = PAGE.read_text(encoding="utf-8") + "\n"
    found = {}
    for heading in SYMPTOM.finditer(page):
        body = SECTION.split(page[heading.end() :])[0]
        found[heading["title"]] = [
            Quote(
                block["source"], tuple(map(int, re.findall(r"\d+", block["versions"] or ""))), _dedented(block["text"])
            )
            for block in QUOTE_BLOCK.finditer(body)
        ]
    return found


def _dedented(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


@dataclass
class Heard:
    """What was said while a symptom was provoked, told with the names that the page uses."""

    cluster: Any
    user: str
    home: Path
    heard: dict[str, str] = field(default_factory=lambda: dict.fromkeys(SOURCES, ""))

    def occurs(self, quote: Quote) -> bool:
        """Return whether a quoted message was heard, waiting a while for the server to write its log."""
        until = time.monotonic() + (10 if quote.source == "server log" else 0)
        while quote.text not in self.told(quote.source):
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
        return True

    def told(self, source: str) -> str:
        """Return all that was heard from a source."""
        text: str = self.cluster.log() if source == "server log" else self.heard[source]
        for found, name in self._names():
            text = text.replace(found, name)
        return text

    def _names(self) -> list[tuple[str, str]]:
        return [
            (str(self.home), "/home/shop"),
            (self.user, "shop"),
            (str(self.cluster.data), "/var/lib/postgresql/data"),
            (f"{self.cluster.home}/tls", "/etc/postgresql/tls/5432"),
            (str(self.cluster.home), "/var/run/postgresql"),
            (str(self.cluster.port), "5432"),
            ("127.0.0.1", "192.0.2.10"),
        ]


@dataclass
class Site(Heard):
    """A server with TLS that takes certificates only, and an OS user with files for role app at the default places."""

    server_authority: Any = None
    client_authority: Any = None

    def set_up(self) -> None:
        """Make the roles, serve db1.example.com, and give the OS user its files."""
        self.cluster.psql("CREATE ROLE app LOGIN PASSWORD 'sesame'; CREATE ROLE report LOGIN PASSWORD 'sesame'")
        self.cluster.hba("hostssl all all all cert")
        self.serve("DNS:db1.example.com")
        self.own(self.client_authority, "app")
        self.give("root.crt", self.server_authority.root.read_bytes())
        assert self.connect() == "app", "the starting point works"

    @property
    def files(self) -> Path:
        """Return the directory of the default files."""
        return self.home / ".postgresql"

    def serve(self, names: str, days: int = 10) -> None:
        """Serve a certificate with these names (as openssl writes them)."""
        pair = self.server_authority.issue("db1.example.com", "serverAuth", names, days)
        self.cluster.serve(*pair, self.client_authority.root)

    def own(self, authority: Any, role: str, usage: str = "clientAuth", days: int = 10) -> None:
        """Give the OS user a certificate and its key."""
        certificate, key = authority.issue(role, usage, days=days)
        self.give("postgresql.crt", certificate.read_bytes())
        self.give("postgresql.key", key.read_bytes())

    def give(self, name: str, content: bytes, mode: int = 0o600) -> Path:
        """Write one of the OS user's default files."""
        self.files.mkdir(mode=0o700, exist_ok=True)
        path = self.files / name
        path.write_bytes(content)
        path.chmod(mode)
        for one in (path, self.files):
            shutil.chown(one, self.user, pwd.getpwnam(self.user).pw_gid)
        return path

    def connect(self, **changes: str | None) -> str:
        """Connect as the OS user; note and return what psql says. None takes a parameter away."""
        parameters = {
            "host": "db1.example.com",
            "hostaddr": "127.0.0.1",
            "port": str(self.cluster.port),
            "user": "app",
            "dbname": "postgres",
            "sslmode": "verify-full",
            "gssencmode": "disable",
            **changes,
        }
        line = " ".join(f"{name}='{value}'" for name, value in parameters.items() if value is not None)
        argv = ["runuser", "-u", self.user, "--", self.cluster.programs / "psql", "-XAtw", "-c", "SELECT user", line]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C"}
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            cwd="/",
            start_new_session=True,  # without a terminal, nobody is asked for a passphrase
            check=False,
        )
        self.heard["libpq"] += done.stderr
        return (done.stdout + done.stderr).strip()

    def rules(self, *lines: str) -> None:
        """Give the server other rules and let it load them, or try to."""
        self.cluster.hba(*lines)
        self.cluster.reload()

    def setting(self, *lines: str) -> None:
        """Add settings and let the server load them, or try to."""
        self.cluster.append("postgresql.conf", "\n".join([*lines, ""]))
        self.cluster.reload()

    def fails_to_start(self) -> None:
        """Stop the server and note that it does not start again."""
        self.cluster.stop()
        try:
            self.cluster.start()
        except AssertionError:
            return
        raise AssertionError("the server started")


Provocation = Callable[[Any], None]


class Provocations(dict[str, Provocation]):
    """What provokes each symptom, by its title."""

    def of(self, title: str) -> Callable[[Provocation], Provocation]:
        """Return a decorator that notes what provokes the symptom of this title."""

        def note(provocation: Provocation) -> Provocation:
            assert title not in self, title
            self[title] = provocation
            return provocation

        return note


def check(heard: Heard, quotes: list[Quote], major: int) -> None:
    """Look for every message that the page quotes for this major version, and for none that it quotes for another."""
    for quote in quotes:
        if not quote.versions or major in quote.versions:
            assert heard.occurs(quote), f"{quote.source} {major} does not say\n{quote.text}\n\n{_all(heard, quote)}"
        else:
            assert quote.text not in heard.told(quote.source), f"{major} says it too: {quote.text}"


def _all(heard: Heard, quote: Quote) -> str:
    return f"but\n{heard.told(quote.source)}"
