package session

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// PlaceSQL reports where the server keeps its data and how to know it there. A role
// without the right does not see the setting; a connection from afar says that
// the folder of that name on this machine is another's.
const PlaceSQL = `
select coalesce((select setting from pg_settings where name = 'data_directory'), ''),
       current_setting('port'),
       extract(epoch from pg_postmaster_start_time())::int8,
       coalesce(inet_server_addr() = inet_client_addr() or inet_server_addr() <<= '127.0.0.0/8'
         or inet_server_addr() = '::1', true)`

// freeDisk returns the share that is free of the fullest disk that the server
// writes to, or nil where that cannot be seen from here.
func freeDisk(ctx context.Context, db *target.Database) (*float64, error) {
	var data, port string
	var started int64
	var local bool
	if err := db.QueryRow(ctx, PlaceSQL).Scan(&data, &port, &started, &local); err != nil {
		return nil, err
	}
	if !local || !LivesIn(data, port, started) {
		return nil, nil //nolint:nilnil // nil is what is not known, and that is no fault
	}
	spaces, err := os.ReadDir(filepath.Join(data, "pg_tblspc"))
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // what cannot be seen may be full
	}
	folders := []string{data, filepath.Join(data, "pg_wal")}
	for _, s := range spaces {
		folders = append(folders, filepath.Join(data, "pg_tblspc", s.Name()))
	}
	var least *float64
	for _, folder := range folders {
		var s unix.Statfs_t
		if err := unix.Statfs(folder, &s); err != nil {
			return nil, nil //nolint:nilerr,nilnil // as above
		}
		// As df counts: what only root may use is neither used nor free.
		usable := float64(s.Blocks-s.Bfree) + float64(s.Bavail)
		if usable <= 0 {
			continue
		}
		if free := float64(s.Bavail) / usable; least == nil || free < *least {
			least = &free
		}
	}
	return least, nil
}

// startWithin is how far the two times may differ at which a server says it has
// started: it writes the file before it counts itself as started.
const startWithin = 60

// LivesIn reports whether the server that was asked is the one whose data is in
// the folder, and not another in a container or behind a tunnel: postmaster.pid
// names the folder, the start and the port.
func LivesIn(data, port string, started int64) bool {
	if data == "" {
		return false
	}
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return false // not here, or not for us
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 4 || lines[1] != data || lines[3] != port {
		return false
	}
	at, err := strconv.ParseInt(lines[2], 10, 64)
	return err == nil && at <= started+1 && started-at <= startWithin
}
