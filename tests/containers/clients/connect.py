# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes one connection by a driver for Python, and prints who it is with which certificate, or why not.

Run by ``python3 connect.py DRIVER PARAMETERS``; the parameters are JSON, with the names of libpq. None leave everything
to the environment.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import ssl
import sys
from typing import Any

ASK = (
    "SELECT current_user || ' ' || coalesce(client_serial::text, 'none') FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
)


def context(given: dict[str, str]) -> ssl.SSLContext:
    """Return what verifies chain and name by the files in PEM."""
    made = ssl.create_default_context(cafile=given["sslrootcert"])
    if given.get("sslcert"):
        made.load_cert_chain(given["sslcert"], given["sslkey"])
    return made


def by_psycopg(given: dict[str, str]) -> str:
    """Connect as libpq does."""
    driver: Any = importlib.import_module("psycopg")

    with driver.connect(**given) as connection:
        return str(connection.execute(ASK).fetchone()[0])


def by_asyncpg(given: dict[str, str]) -> str:
    """Connect by files, or by the environment."""
    driver: Any = importlib.import_module("asyncpg")

    async def connect() -> str:
        own = {"host": given["host"], "user": given["user"], "database": given["dbname"]} if given else {}
        connection = await driver.connect(**own, **({"ssl": context(given)} if given else {}))
        try:
            return str(await connection.fetchval(ASK))
        finally:
            await connection.close()

    return asyncio.run(connect())


def by_pg8000(given: dict[str, str]) -> str:
    """Connect by Python's own ssl."""
    driver: Any = importlib.import_module("pg8000.dbapi")

    own: Any = {"user": given["user"], "host": given["host"], "database": given["dbname"]}
    connection = driver.connect(**own, ssl_context=context(given))
    cursor = connection.cursor()
    cursor.execute(ASK)
    return str(cursor.fetchone()[0])


DRIVERS = {"psycopg": by_psycopg, "asyncpg": by_asyncpg, "pg8000": by_pg8000}

if __name__ == "__main__":
    try:
        print("ok", DRIVERS[sys.argv[1]](json.loads(sys.argv[2] or "{}")))
    except Exception as error:  # noqa: BLE001 (whatever it is, the test reads it)
        print(
            "failed:", type(error).__name__, " ".join(str(error).split()), " ".join(str(error.__cause__ or "").split())
        )
