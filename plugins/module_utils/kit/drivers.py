# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines that connect with the files of a kit, driver by driver, as data. Its README is made of them.

Each is for a program that is started in the folder of the kit, with the password in KIT_PASSWORD.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Callable, Mapping, NamedTuple
from urllib.parse import quote

from ansible_collections.pgops.tls.plugins.module_utils.x509.names import packed_address

PASSWORD = "KIT_PASSWORD"  # noqa: S105 (the name of a variable)
ENCRYPTED, OWN = "postgresql.key", "own.key"
_PLACE = re.compile(r"<(host|port|database|role|service)(:url|:shell|)>")


class Driver(NamedTuple):
    """A driver, and what connects with it.

    ``text`` is for a kit with a key. For one whose key the person has, that is the same with another name of the key
    and without the lines about the password, unless ``with_own_key`` says something else.
    """

    name: str
    text: str
    with_own_key: str = ""

    def lines(self, values: Mapping[str, str | int], *, has_key: bool) -> list[str]:
        """Return what connects, with the ``values`` of its places."""
        text = self.text if has_key else self.with_own_key or _without_password(self.text)
        return _PLACE.sub(lambda match: _FORMS[match[2]](values[match[1]]), text).splitlines()


def _without_password(text: str) -> str:
    kept = [line for line in text.splitlines() if PASSWORD not in line]
    return "\n".join(kept).replace(ENCRYPTED, OWN)


def _in_url(value: str | int) -> str:
    text = str(value)
    return f"[{text}]" if ":" in text and packed_address(text) else quote(text, safe="")


def _in_shell(value: str | int) -> str:
    return "'" + str(value).replace("'", "'\\''") + "'"


# A text as Python, JavaScript, Java, Go and C# write it; in a URL; as one word of a shell
_FORMS: Mapping[str, Callable[[str | int], str]] = {
    "": functools.partial(json.dumps, ensure_ascii=False),
    ":url": _in_url,
    ":shell": _in_shell,
}

_URL = "<role:url>@<host:url>:<port:url>/<database:url>?sslmode=verify-full&sslrootcert=root.crt&sslcert=postgresql.crt"
_DECRYPTED = f"openssl pkey -in {ENCRYPTED} -passin env:{PASSWORD} -out {OWN}"

DRIVERS = (
    # It asks for the password. With own keys the service names own.key
    Driver("psql", "PGSERVICEFILE=pg_service.conf psql service=<service:shell>"),
    Driver(
        "psycopg",
        f"""\
import os, psycopg
connection = psycopg.connect(
    host=<host>, port=<port>, dbname=<database>, user=<role>,
    sslmode="verify-full", sslrootcert="root.crt",
    sslcert="postgresql.crt", sslkey="{ENCRYPTED}",
    sslpassword=os.environ["{PASSWORD}"],
)""",
        f"""\
import psycopg
connection = psycopg.connect(
    host=<host>, port=<port>, dbname=<database>, user=<role>,
    sslmode="verify-full", sslrootcert="root.crt",
    sslcert="postgresql.crt", sslkey="{OWN}",
)""",
    ),
    Driver(
        "asyncpg",
        f"""\
import os, ssl, asyncpg
context = ssl.create_default_context(cafile="root.crt")
context.load_cert_chain(
    "postgresql.crt", "{ENCRYPTED}",
    os.environ["{PASSWORD}"],
)
connection = await asyncpg.connect(
    host=<host>, port=<port>, database=<database>, user=<role>, ssl=context,
)""",
    ),
    Driver(
        "node-postgres",
        f"""\
const fs = require("fs"), {{ Client }} = require("pg");
const client = new Client({{
  host: <host>, port: <port>, database: <database>, user: <role>,
  ssl: {{
    ca: fs.readFileSync("root.crt"), cert: fs.readFileSync("postgresql.crt"),
    key: fs.readFileSync("{ENCRYPTED}"),
    passphrase: process.env.{PASSWORD},
  }},
}});
await client.connect();""",
    ),
    Driver(
        "JDBC",
        f"""\
Properties properties = new Properties();
properties.setProperty("user", <role>);
properties.setProperty("sslmode", "verify-full");
properties.setProperty("sslrootcert", "root.crt");
properties.setProperty("sslkey", "postgresql.p12");
properties.setProperty("sslpassword", System.getenv("{PASSWORD}"));
Connection connection = DriverManager.getConnection(
    "jdbc:postgresql://<host:url>:<port:url>/<database:url>", properties);""",
        f"""\
// once: openssl pkcs8 -topk8 -nocrypt -in {OWN} -outform DER -out own.pk8
Properties properties = new Properties();
properties.setProperty("user", <role>);
properties.setProperty("sslmode", "verify-full");
properties.setProperty("sslrootcert", "root.crt");
properties.setProperty("sslcert", "postgresql.crt");
properties.setProperty("sslkey", "own.pk8");
Connection connection = DriverManager.getConnection(
    "jdbc:postgresql://<host:url>:<port:url>/<database:url>", properties);""",
    ),
    Driver(
        "pgx",
        f"""\
// once, as pgx reads no encrypted PKCS#8: {_DECRYPTED}
connection, err := pgx.Connect(context.Background(),
    "postgres://{_URL}&sslkey={OWN}")""",
        f"""\
connection, err := pgx.Connect(context.Background(),
    "postgres://{_URL}&sslkey={OWN}")""",
    ),
    Driver(
        "Npgsql",
        f"""\
var builder = new NpgsqlConnectionStringBuilder {{
    Host = <host>, Port = <port>, Database = <database>, Username = <role>,
    SslMode = SslMode.VerifyFull, RootCertificate = "root.crt",
    SslCertificate = "postgresql.p12",
    SslPassword = Environment.GetEnvironmentVariable("{PASSWORD}"),
}};
await using var source = NpgsqlDataSource.Create(builder);""",
        f"""\
var builder = new NpgsqlConnectionStringBuilder {{
    Host = <host>, Port = <port>, Database = <database>, Username = <role>,
    SslMode = SslMode.VerifyFull, RootCertificate = "root.crt",
    SslCertificate = "postgresql.crt", SslKey = "{OWN}",
}};
await using var source = NpgsqlDataSource.Create(builder);""",
    ),
    Driver(
        "sqlx",
        f"""\
// once, as sqlx reads no encrypted key: {_DECRYPTED}
let connection = PgConnection::connect(
    "postgres://{_URL}&sslkey={OWN}").await?;""",
        f"""\
let connection = PgConnection::connect(
    "postgres://{_URL}&sslkey={OWN}").await?;""",
    ),
)
