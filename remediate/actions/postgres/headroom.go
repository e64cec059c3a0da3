package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// headroom tells how much room a server has. Least privilege: pg_monitor, to see
// the sessions of others and how far replicas are; without it what cannot be seen
// is not reported. The disk is reported if upkeep runs beside the server and may read
// its data directory.
func headroom(ctx context.Context, t *target.Postgres) (h remediate.Headroom, err error) {
	db, err := t.Server()
	if err != nil {
		return h, err
	}
	if h.Lag, err = lag(ctx, db); err != nil {
		return h, fmt.Errorf("how far replicas are behind: %w", err)
	}
	if h.Transaction, h.Who, err = oldest(ctx, db); err != nil {
		return h, fmt.Errorf("the oldest transaction: %w", err)
	}
	if h.FreeDisk, err = freeDisk(ctx, db); err != nil {
		return h, fmt.Errorf("the free disk: %w", err)
	}
	return h, nil
}

// lagSQL is how long ago the server wrote what the slowest of its replicas has
// replayed last. One that is not connected is in no hurry: its slot keeps the WAL
// for it. A role without the right sees rows without a state.
const lagSQL = `
select count(*) filter (where state is null), coalesce(extract(epoch from max(replay_lag)), 0)::float8
  from pg_stat_replication`

func lag(ctx context.Context, db *target.Database) (*time.Duration, error) {
	var hidden int
	var seconds float64
	if err := db.QueryRow(ctx, lagSQL).Scan(&hidden, &seconds); err != nil || hidden > 0 {
		return nil, err
	}
	return new(time.Duration(seconds * float64(time.Second))), nil
}

// oldestSQL names the oldest transaction of the server, in whichever database, and
// counts the sessions that cannot be looked into. Our own and the server's own
// vacuums do not count: they hold nothing back that they would not end by
// themselves.
const oldestSQL = `
with transactions as (
  select a.xact_start as began,
         format('session %s of %s in database %s (%s, %s)', a.pid, a.usename, a.datname, coalesce(nullif(a.application_name, ''), 'no application_name'), a.state) as who
    from pg_stat_activity a
   where a.backend_type = 'client backend' and a.xact_start is not null and a.pid <> pg_backend_pid()
     and not (a.usesysid = (select usesysid from pg_stat_activity where pid = pg_backend_pid())
              and (a.application_name = 'upkeep' or starts_with(a.application_name, 'upkeep ')))
  union all
  select prepared, format('prepared transaction %L of %s in database %s', gid, owner, database) from pg_prepared_xacts
)
select (select count(*) from pg_stat_activity where datid is not null and usesysid is not null and backend_type is null),
       coalesce(extract(epoch from clock_timestamp() - t.began), 0)::float8,
       coalesce(t.who, '')
  from (select 1) one
  left join (select began, who from transactions order by began limit 1) t on true`

func oldest(ctx context.Context, db *target.Database) (age *time.Duration, who string, err error) {
	var hidden int
	var seconds float64
	if err := db.QueryRow(ctx, oldestSQL).Scan(&hidden, &seconds, &who); err != nil || hidden > 0 {
		return nil, "", err
	}
	return new(time.Duration(max(seconds, 0) * float64(time.Second))), who, nil
}

// placeSQL tells where the server keeps its data and how to know it there. A role
// without the right does not see the setting; a connection from afar says that
// the folder of that name on this machine is another's.
const placeSQL = `
select coalesce((select setting from pg_settings where name = 'data_directory'), ''),
       current_setting('port'),
       extract(epoch from pg_postmaster_start_time())::int8,
       coalesce(inet_server_addr() = inet_client_addr() or inet_server_addr() <<= '127.0.0.0/8' or inet_server_addr() = '::1', true)`

// freeDisk returns the share that is free of the fullest disk that the server
// writes to, or nil where that cannot be seen from here.
func freeDisk(ctx context.Context, db *target.Database) (*float64, error) {
	var data, port string
	var started int64
	var local bool
	if err := db.QueryRow(ctx, placeSQL).Scan(&data, &port, &started, &local); err != nil {
		return nil, err
	}
	if !local || !livesIn(data, port, started) {
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

// livesIn reports whether the server that was asked is the one whose data is in
// the folder, and not another in a container or behind a tunnel: postmaster.pid
// names the folder, the start and the port.
func livesIn(data, port string, started int64) bool {
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
