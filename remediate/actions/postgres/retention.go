package postgres

import (
	"context"
	"time"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A retention is what moves or deletes the rows that are past their age.
type retention struct {
	target *target.Postgres
	now    func() time.Time // upkeep's clock
}

// Headroom implements remediate.Roomer.
func (a retention) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return session.Headroom(ctx, a.target)
}

// aged finds what a request is about and its archive in the configuration, for a plan.
func aged(ctx context.Context, t *target.Postgres, r remediate.Request) (*target.Database, relation.Subject,
	target.Archive, error) {
	db, rel, err := relation.Find(ctx, t, r)
	if err != nil {
		return db, rel, target.Archive{}, err
	}
	entry, err := entryOf(t, session.PlaceOf(r))
	return db, rel, entry, err
}

// entryOf returns the archive of the configuration that is about a request's table.
func entryOf(t *target.Postgres, at session.Place) (target.Archive, error) {
	for _, a := range t.Archives {
		if a.Database == at.Database && a.Schema == at.Schema && a.Table == at.Table {
			return a, nil
		}
	}
	return target.Archive{}, remediate.Refuse(remediate.ReasonUnfit,
		"no archive of the configuration is about table %s: say in targets.postgres[].archives when its rows are too "+
			"old", at.Table)
}

// retained measures how many rows of a request's table are past their age.
func retained(ctx context.Context, t *target.Postgres, r remediate.Request) (float64, error) {
	db, err := relation.Database(ctx, t, r)
	if err != nil {
		return 0, err
	}
	if _, err := relation.Lookup(ctx, db, r.Subject); err != nil {
		return 0, err
	}
	entry, err := entryOf(t, session.PlaceOf(r))
	if err != nil {
		return 0, err
	}
	return read.ReadRetention(ctx, db, entry)
}

// away is the movement of an archive: from its table to its destination, or to nowhere.
func away(a target.Archive) rows.Movement {
	return rows.Movement{Database: a.Database, From: rows.Table{Schema: a.Schema, Name: a.Table},
		To: rows.Table{Schema: a.To.Schema, Name: a.To.Table}, Column: a.Column, Age: a.After}
}

// pacing are the parameters that say how hard a run may work.
func pacing() []remediate.Param {
	return []remediate.Param{
		{Name: "lag", Type: remediate.Duration, Default: "10s",
			Doc: "How far replicas may be behind before the run pauses."},
		{Name: "wal", Type: remediate.Int, Default: "0",
			Doc: "How much WAL the server may write in a second while the run goes on, in MiB; 0: as much as comes. " +
				"A budget of half of what the disk or the network to the replicas can bear leaves the other half to " +
				"the clients."},
	}
}

// movingRights are what the batches of a movement need.
func movingRights() []remediate.Right {
	return []remediate.Right{
		{Grant: `grant usage on schema :"schema" to :"role"`, For: "the table and the destination"},
		{Grant: `grant select, delete on table :"schema".:"table" to :"role"`,
			For: "take rows that are past their age"},
		{Grant: `grant update on table :"schema".:"table" to :"role"`, For: "hold rows while they are taken"},
		{Grant: `grant insert on table :"schema".:"table" to :"role"`,
			For: "the destination's table, where it is a table"},
		{Grant: `grant pg_monitor to :"role"`, For: "see how far replicas are behind"},
	}
}

// filingRights are what objects of a folder or a bucket need beside.
func filingRights() []remediate.Right {
	return []remediate.Right{
		{Grant: `create schema if not exists upkeep authorization :"role"`,
			For: "write down which rows are in which object, where the destination is a folder or a bucket"},
	}
}

// maintainRights are what VACUUM and ANALYZE of the table need.
func maintainRights() []remediate.Right {
	return []remediate.Right{
		{Grant: `grant :"owner" to :"role"`, Until: 16, For: "vacuum and analyze the table afterwards"},
		{Grant: `grant maintain on table :"schema".:"table" to :"role"`, Since: 17,
			For: "vacuum and analyze the table afterwards"},
	}
}

// The names of the actions on rows that are past their age.
const (
	nameArchive = "postgres/archive"
	namePurge   = "postgres/purge"
	nameRestore = "postgres/restore_archived"
)
