package target

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// yieldEvery is how often is looked whether a database must be free of sessions. DROP
	// DATABASE, ALTER DATABASE … RENAME and CREATE DATABASE … TEMPLATE wait 5 seconds for
	// that, and then fail.
	yieldEvery = 2 * time.Second

	// yieldWithin is how long the question may take.
	yieldWithin = time.Second

	// yieldFor is how long no session is opened after the last look that found such a command.
	yieldFor = 2 * yieldEvery
)

// wantedSQL names the databases that are being dropped, renamed, moved or copied: the lock
// of each such command excludes that of a session that begins.
//
// Rights: none. Versions: 13 and later. Cost: one look at the locks, 0.1 ms.
const wantedSQL = `
select d.datname
  from pg_catalog.pg_locks l
  join pg_catalog.pg_database d on d.oid = l.objid
 where l.locktype = 'object' and l.database = 0 and l.classid = 'pg_catalog.pg_database'::pg_catalog.regclass
   and l.mode in ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock') and l.granted`

// yields keeps the idle sessions of upkeep out of the way of such commands, from the first
// connection until Close.
func (p *Postgres) yields() {
	ticker := time.NewTicker(yieldEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.ended:
			return
		case <-ticker.C:
			p.yield()
		}
	}
}

// yield looks once. Where no connection is idle, each is being used and looks like anybody's;
// the next look is soon.
func (p *Postgres) yield() {
	all := p.all()
	for _, d := range all {
		select {
		case d.turn <- struct{}{}:
		default:
			continue
		}
		names, known := d.wanted()
		<-d.turn
		if !known {
			continue
		}
		for _, d := range all {
			if slices.Contains(names, d.name) {
				d.leave()
			}
		}
		return
	}
}

// all returns the databases that have or had a connection, the server's first.
func (p *Postgres) all() []*Database {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []*Database{p.server}
	for _, d := range p.databases {
		all = append(all, d)
	}
	return all
}

// wanted asks over a connection that is there. Only who has the turn may.
func (d *Database) wanted() (names []string, known bool) {
	if d.conn == nil {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), yieldWithin)
	defer cancel()
	rows, err := d.conn.Query(ctx, wantedSQL)
	if err == nil {
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		d.disconnect()
		return nil, false
	}
	return names, true
}

// leave closes the connection, at once where it is idle and else after its question.
func (d *Database) leave() {
	d.away.Store(time.Now().Add(yieldFor).UnixNano())
	select {
	case d.turn <- struct{}{}:
		d.disconnect()
		<-d.turn
	default:
	}
}
