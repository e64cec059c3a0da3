package rebuild

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// roomAgain is when to look again for room on a disk, which somebody must make.
const roomAgain = 10 * time.Minute

// A need is what an action writes to one place of a server.
type need struct {
	what   string
	folder string // below the data directory
	bytes  int64
}

// rebuildSQL reports where the server would put a new copy of an index: its
// tablespace, those for what a sort spills, and what a session may spill.
//
// Rights: none beyond CONNECT. Versions: 13 and later.
const rebuildSQL = `
select coalesce(nullif(c.reltablespace, 0), d.dattablespace)::int8,
       pg_relation_size(c.oid),
       coalesce((select array_agg(s.oid::int8 order by s.oid) from pg_tablespace s
                  where s.spcname = any (string_to_array(replace(replace(current_setting('temp_tablespaces'), ', ',
                    ','), '"', ''), ','))), array[d.dattablespace::int8]),
       (select setting::int8 * 1024 from pg_settings where name = 'temp_file_limit'),
       (select setting::int8 * 1024 from pg_settings where name = 'maintenance_work_mem')
  from pg_class c, pg_database d
 where c.oid = $1::int8::oid and d.datname = current_database()`

// A rebuild is what building an index anew takes at most: its size for the new
// one, as much for the sort where that does not fit into memory, and as much WAL.
type rebuild struct {
	Tablespace int64
	Bytes      int64
	Temporary  []int64 // tablespaces
	TempLimit  int64   // of a session, in bytes; negative: none
	Memory     int64   // of a sort
}

func readRebuild(ctx context.Context, q read.Querier, index int64) (r rebuild, err error) {
	rows, err := q.Query(ctx, rebuildSQL, index)
	if err == nil {
		r, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[rebuild])
	}
	if err != nil {
		return r, fmt.Errorf("what a rebuild takes: %w", err)
	}
	return r, nil
}

// needs lists what is written where.
func (r rebuild) needs() []need {
	all := []need{{"the new index", tablespaceFolder(r.Tablespace), r.Bytes}, {"WAL", "pg_wal", r.Bytes}}
	for _, t := range r.Temporary {
		all = append(all, need{"sorting", tablespaceFolder(t), r.spill()})
	}
	return all
}

func (r rebuild) spill() int64 {
	if r.Bytes <= r.Memory/2 { // a row to be sorted takes more in memory than in the index
		return 0
	}
	return r.Bytes
}

// fits refuses a rebuild for which the server has no room, and says what it takes.
func (r rebuild) fits(ctx context.Context, q session.Rower) (fact string, err error) {
	if spill := r.spill(); r.TempLimit >= 0 && spill > r.TempLimit {
		return "", remediate.Refuse(session.ReasonHeadroom,
			"sorting may take %s in temporary files, and temp_file_limit allows %s: raise it for upkeep's role",
			session.Bytes(spill), session.Bytes(r.TempLimit))
	}
	fact = fmt.Sprintf("a rebuild takes up to %s for the new index, %s for sorting and %s of WAL",
		session.Bytes(r.Bytes),
		session.Bytes(r.spill()), session.Bytes(r.Bytes))
	lacks, known, err := shortage(ctx, q, r.needs())
	switch {
	case err != nil:
		return "", fmt.Errorf("the room on the server's disk: %w", err)
	case !known:
		return fact + "; the server's disk cannot be seen from here: see that it has as much", nil
	case lacks != "":
		return "", &remediate.Refusal{Reason: session.ReasonHeadroom, Detail: fact + ": " + lacks,
			Until: time.Now().Add(roomAgain)}
	}
	return fact + ", and the disk has it", nil
}

// tablespaceFolder is where a tablespace is, below the data directory.
func tablespaceFolder(oid int64) string {
	const standard, global = 1663, 1664 // pg_default and pg_global have no links
	switch oid {
	case 0, standard:
		return "base"
	case global:
		return "global"
	}
	return filepath.Join("pg_tblspc", strconv.FormatInt(oid, 10))
}

// shortage compares needs with what is free where they are. Needs on one disk are
// added up. It is not known where the server's folder is not this machine's, or
// not for us to look at.
func shortage(ctx context.Context, q session.Rower, needs []need) (lacks string, known bool, err error) {
	var data, port string
	var started int64
	var local bool
	if err := q.QueryRow(ctx, session.PlaceSQL).Scan(&data, &port, &started, &local); err != nil {
		return "", false, err
	}
	if !local || !session.LivesIn(data, port, started) {
		return "", false, nil
	}
	type disk struct {
		free, wanted int64
		what         []string
	}
	disks := make(map[uint64]*disk)
	var order []*disk
	for _, n := range needs {
		folder := filepath.Join(data, n.folder)
		info, err := os.Stat(folder)
		if err != nil {
			return "", false, nil //nolint:nilerr // what cannot be seen is not known
		}
		place, ok := info.Sys().(*syscall.Stat_t)
		var s unix.Statfs_t
		if !ok || unix.Statfs(folder, &s) != nil {
			return "", false, nil
		}
		d := disks[place.Dev]
		if d == nil {
			d = &disk{free: int64(s.Bavail) * s.Bsize}
			disks[place.Dev] = d
			order = append(order, d)
		}
		if n.bytes > 0 {
			d.wanted += n.bytes
			d.what = append(d.what, n.what)
		}
	}
	var all []string
	for _, d := range order {
		if d.wanted > d.free {
			all = append(all, fmt.Sprintf("the disk for %s has %s free and would need %s", strings.Join(d.what, ", "),
				session.Bytes(d.free), session.Bytes(d.wanted)))
		}
	}
	return strings.Join(all, "; "), true, nil
}
