// Copyright (c) the pgops.tls authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Makes one connection by lib/pq or pgx, and prints who it is with which certificate, or why not. Run by
// "connect-go DRIVER CONNINFO"; an empty CONNINFO leaves everything to the environment.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"

	"github.com/jackc/pgx/v4"
	_ "github.com/lib/pq"
)

const ask = "SELECT current_user || ' ' || coalesce(client_serial::text, 'none') FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

func main() {
	drivers := map[string]func(string) (string, error){"lib/pq": byPq, "pgx": byPgx}
	who, err := drivers[os.Args[1]](os.Args[2])
	if err != nil {
		fmt.Printf("failed: %v\n", err)
		return
	}
	fmt.Println("ok", who)
}

func byPq(conninfo string) (who string, err error) {
	database, err := sql.Open("postgres", conninfo)
	if err == nil {
		defer database.Close()
		err = database.QueryRow(ask).Scan(&who)
	}
	return
}

func byPgx(conninfo string) (who string, err error) {
	connection, err := pgx.Connect(context.Background(), conninfo)
	if err == nil {
		defer connection.Close(context.Background())
		err = connection.QueryRow(context.Background(), ask).Scan(&who)
	}
	return
}
