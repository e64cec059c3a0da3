package usage

import (
	"context"
	_ "embed"
	"errors"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// evidenceSQL reports what the server itself knows of how long it has counted scans.
//
// A crash empties the statistics, with or without a new start of the server, and the
// database does not say so; the statistics of the whole server that cannot be read
// begin anew, and say when. Those of one kind can be reset alone, so the earlier of two
// kinds counts. A promotion is another timeline. track_counts may be off for sessions
// of some role or database only, and the setting in our session is not that of
// others.
//
// Rights: none beyond CONNECT, unless EXECUTE on the functions was taken away.
// Versions: 13 and later.
const evidenceSQL = `
select d.oid::int8,
       (select c.system_identifier::text from pg_control_system() c),
       case when pg_is_in_recovery() then '' else left(pg_walfile_name(pg_current_wal_lsn()), 8) end,
       pg_is_in_recovery(),
       s.stats_reset, pg_postmaster_start_time(), least(b.stats_reset, a.stats_reset),
       clock_timestamp(), pg_conf_load_time(),
       t.setting::bool and t.source <> all (array['database', 'user', 'database user', 'client', 'session', 'global'])
         and not exists (
           select from pg_db_role_setting r, unnest(r.setconfig) c
            where r.setdatabase in (0, d.oid)
              and case when lower(split_part(c, '=', 1)) = 'track_counts' then not split_part(c, '=', 2)::bool else false end),
       current_setting('archive_mode') <> 'off',
       current_setting('port')::int4
  from pg_stat_database s
  join pg_database d on d.oid = s.datid
  cross join pg_stat_bgwriter b
  cross join pg_stat_archiver a
  join pg_settings t on t.name = 'track_counts'
 where s.datname = current_database()`

// evidenceRow is one row of evidenceSQL.
type evidenceRow struct {
	Database         int64
	System, Timeline string
	Recovery         bool
	Reset            *time.Time
	Started          time.Time
	Emptied          *time.Time // when all statistics began anew
	Now, Loaded      time.Time
	Counts           bool
	Archives         bool
	Port             int32
}

// since is when the statistics of a server began.
func (e evidenceRow) since(of string) moment {
	at := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return *t
	}
	return latest(
		moment{at(e.Reset), "the statistics" + of + " were reset then, by a person or a crash"},
		moment{e.Started, "the server" + of + " was started then, perhaps after a crash, which empties its statistics"},
		moment{at(e.Emptied), "the statistics" + of + " were emptied then, as by a crash"},
	)
}

// usedSQL names the indexes that queries have used.
const usedSQL = `
select n.nspname, c.relname
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'i' and pg_stat_get_numscans(c.oid) > 0`

type usedIndexRow struct {
	Schema, Index string
}

// senderRow is one row of sendersSQL.
type senderRow struct {
	Slot, Application, Address string
	There                      bool // else only its slot is
}

// key is how a server tells a standby from others.
func (r senderRow) key() string {
	switch {
	case r.Slot != "":
		return "the standby of slot " + r.Slot
	case r.Application == "" && r.Address == "":
		return "a standby"
	case r.Address == "":
		return "standby " + r.Application
	}
	return "standby " + r.Application + " at " + r.Address
}

// archives reports whether it writes WAL to an archive: what restores from that is not
// known, and the program itself answers no query.
func (r senderRow) archives() bool {
	return slices.Contains([]string{"pg_receivewal", "barman_receive_wal"}, r.Application) || r.Slot == "barman"
}

// receiverRow is one row of receiverSQL.
type receiverRow struct {
	There, Seen         bool // Seen: the role may see the rest
	Slot                string
	Port                int32  // of its upstream
	Application, Answer string // Answer: the address where it answers
}

// A usageNode is a server or one of its standbys that is asked.
type usageNode struct {
	target   *target.Postgres
	evidence evidenceRow
	senders  []senderRow
	receiver receiverRow
}

// readNode asks one server about itself.
func readNode(ctx context.Context, t *target.Postgres, q target.Querier) (n usageNode, err error) {
	n.target = t
	rows, err := target.Rows[evidenceRow](ctx, q, evidenceSQL)
	if err == nil && len(rows) != 1 {
		err = errors.New("the server has no statistics of this database")
	}
	if err != nil {
		return n, err
	}
	n.evidence = rows[0]
	if n.senders, err = target.Rows[senderRow](ctx, q, sendersSQL); err != nil {
		return n, err
	}
	receivers, err := target.Rows[receiverRow](ctx, q, receiverSQL)
	if err == nil && len(receivers) > 0 {
		n.receiver = receivers[0]
	}
	return n, err
}

// latest returns the last of some moments, and what happened then.
func latest(all ...moment) (last moment) {
	for _, m := range all {
		if m.At.After(last.At) {
			last = m
		}
	}
	return last
}

// A moment is when something happened.
type moment struct {
	At  time.Time
	Why string
}

//go:embed unused.sql
var unusedSQL string

// An Unused is one index that no query has used.
type Unused struct {
	Schema, Table, Index string
	SizeBytes            float64
	Since                time.Time // since when that is known
	Why                  string    // what happened then
}

// unusedRow is one row of unused.sql.
type unusedRow struct {
	Schema, Table, Index string
	OID                  int64
	SizeBytes            float64
}

// sendersSQL lists the standbys that receive WAL from a server, and those for which it retains WAL though
// they are away. A base backup under way is no standby. A role without pg_monitor sees
// one exists, but not which.
//
// Rights: none beyond CONNECT; pg_monitor to see who they are. Versions: 13 and later.
const sendersSQL = `
select coalesce(s.slot_name::text, ''), coalesce(r.application_name, ''), coalesce(host(r.client_addr), ''), true
  from pg_stat_replication r
  left join pg_replication_slots s on s.active_pid = r.pid
 where s.slot_type is distinct from 'logical'
   and coalesce(r.application_name, '') <> 'pg_basebackup' and coalesce(r.state, '') <> 'backup'
   and (s.slot_name is null or not (s.temporary and s.slot_name ~ '^pg_basebackup_'))
union all
select slot_name::text, '', '', false
  from pg_replication_slots
 where slot_type = 'physical' and not temporary and not active
 order by 1, 2, 3`

// receiverSQL reports whom a standby follows, as far as the role may see it.
//
// Rights: none beyond CONNECT; pg_monitor to see whom. Versions: 13 and later.
const receiverSQL = `
select w.pid is not null, w.status is not null, coalesce(w.slot_name, ''), coalesce(w.sender_port, 0),
       coalesce(substring(w.conninfo from '(?:^| )application_name=([^ '']+)'), substring(w.conninfo from 'fallback_application_name=([^ '']+)'), ''),
       coalesce(host(inet_server_addr()), '')
  from (select 1) one
  left join pg_stat_wal_receiver w on true`
