// Copyright (c) the pgops.tls authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Connects again and again by lib/pq and by pgx, for as long as there is the file GO; see connecting.py for what it
// prints. Run by "connecting-go GO CONNINFO...".
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/jackc/pgx/v4"
	_ "github.com/lib/pq"
)

const pause = 400 * time.Millisecond // between two connections of a loop

var user = regexp.MustCompile(`user=(\S+)`)

type seen struct {
	Kind        string         `json:"kind"`
	Conninfo    string         `json:"conninfo"`
	Counts      map[string]int `json:"counts"`
	FirstFault  int            `json:"first_fault"`
	LastSuccess int            `json:"last_success"`
}

func main() {
	drivers := map[string]func(string) error{"lib/pq": byPq, "pgx": byPgx}
	var printing sync.Mutex
	var all sync.WaitGroup
	for _, conninfo := range os.Args[2:] {
		for kind, connect := range drivers {
			all.Add(1)
			go func(kind string, connect func(string) error, conninfo string) {
				defer all.Done()
				found := againAndAgain(os.Args[1], kind, connect, conninfo)
				printing.Lock()
				defer printing.Unlock()
				json.NewEncoder(os.Stdout).Encode(found)
			}(kind, connect, conninfo)
		}
	}
	all.Wait()
}

func againAndAgain(goes string, kind string, connect func(string) error, conninfo string) seen {
	found := seen{Kind: kind, Conninfo: conninfo, Counts: map[string]int{}}
	for number := 1; exists(goes); number++ {
		full, err := withFiles(conninfo)
		if err == nil {
			err = connect(full)
		}
		if err == nil {
			found.Counts[""]++
			found.LastSuccess = number
		} else {
			found.Counts[err.Error()]++
			if found.FirstFault == 0 {
				found.FirstFault = number
			}
		}
		time.Sleep(pause)
	}
	return found
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// The files of one generation, which stay when it is replaced: these drivers open certificate and key one after the other.
func withFiles(conninfo string) (string, error) {
	generation, err := filepath.EvalSymlinks(os.Getenv("HOME") + "/.postgresql/pgops/current")
	role := user.FindStringSubmatch(conninfo)[1]
	files := fmt.Sprintf("sslcert=%[1]s/%[2]s/postgresql.crt sslkey=%[1]s/%[2]s/postgresql.key", generation, role)
	return fmt.Sprintf("sslrootcert=%s/root.crt sslmode=verify-full connect_timeout=60 %s %s", generation, files, conninfo), err
}

func byPq(conninfo string) error {
	database, err := sql.Open("postgres", conninfo)
	if err != nil {
		return err
	}
	defer database.Close()
	_, err = database.Exec("SELECT 1")
	return err
}

func byPgx(conninfo string) error {
	connection, err := pgx.Connect(context.Background(), conninfo)
	if err != nil {
		return err
	}
	defer connection.Close(context.Background())
	return connection.PgConn().Exec(context.Background(), "SELECT 1").Close()
}
