// Copyright (c) the pgops.tls authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Makes one connection by node-postgres, and prints who it is with which certificate, or why not. Run by
// "node connect.js PARAMETERS"; the parameters are JSON, with the names of libpq.
const fs = require('fs');
const { Client } = require('pg');

const ASK = "SELECT current_user || ' ' || coalesce(client_serial::text, 'none') AS who FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

async function main() {
  const given = JSON.parse(process.argv[2]);
  const ssl = { ca: fs.readFileSync(given.sslrootcert, 'utf8') };
  if (given.sslcert) {
    ssl.cert = fs.readFileSync(given.sslcert, 'utf8');
    ssl.key = fs.readFileSync(given.sslkey, 'utf8');
  }
  const client = new Client({ host: given.host, user: given.user, database: given.dbname, ssl });
  client.on('error', () => {});
  await client.connect();
  console.log('ok', (await client.query(ASK)).rows[0].who);
  await client.end();
}

main().catch((error) => console.log(`failed: ${error.code || ''} ${error.message.replace(/\s+/g, ' ')}`));
