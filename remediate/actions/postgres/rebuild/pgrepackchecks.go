package rebuild

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// understood refuses connection data that pg_repack does not support. It puts the name of the database
// and the password unquoted into the text by which it connects, where a word
// more could mean another server.
func understood(database string, env []string) error {
	if strings.ContainsFunc(database, func(r rune) bool {
		return r != '_' && r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return errors.New("the name of the database has more than letters, digits, dots, hyphens and underscores, " +
			"which it does not quote")
	}
	if strings.ContainsAny(secretOf(env), " \t\n\r\f\v'\\") {
		return errors.New("the password has a space, a quote or a backslash, which it does not quote")
	}
	return nil
}

// ready looks once more whether pg_repack can work on the table.
func (a Repack) ready(ctx context.Context, c *pgx.Conn, f remediate.Fence, s repackStep, env []string) error {
	if err := understood(s.Args.Database, env); err != nil {
		return err
	}
	if who, err := builder(ctx, c, s); err != nil || who != "" {
		return errors.Join(err, errors.New("the table is not as it was planned for: "+who))
	}
	if _, _, err := a.obstacles(ctx, c, s.Args.OID); err != nil {
		return session.Changed(err)
	}
	// Its first lock is tried out beforehand, with pauses in which others pass: it
	// makes none between its own tries.
	if err := session.RetryLock(ctx, c, f, session.ShortPatience,
		func() error { return momentary(ctx, c, s) }); session.LockTimedOut(err) {
		return errors.Join(err, TableUsers(ctx, a.Target, c, s.Args.Place.Database, s.Args.OID))
	} else if err != nil {
		return err
	}
	if s.Args.Unprivileged != "" { // in plans of earlier versions
		return remediate.Refuse(remediate.ReasonPrivilege, "pg_repack is used as a superuser only: plan again")
	}
	return nil
}

// momentary takes the lock that pg_repack begins with, for no more than a moment, and
// gives it back.
func momentary(ctx context.Context, c *pgx.Conn, s repackStep) error {
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it has changed nothing
	for _, sql := range []string{
		fmt.Sprintf("set local lock_timeout = %d", queueMost.Milliseconds()),
		"lock table " + s.Args.Name() + " in access exclusive mode",
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// obstacles refuses a table that pg_repack cannot cope with. It names the event
// triggers that it fires, and the indexes of the table.
func (Repack) obstacles(ctx context.Context, q session.Rower, oid int64) (events, indexes string, err error) {
	var key, children bool
	var column, invalid, index, publication string
	err = q.QueryRow(ctx, obstacleSQL, oid).Scan(&key, &column, &invalid, &index, &publication,
		&events, &indexes, &children)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", "", remediate.Refuse(remediate.ReasonGone, "the table was dropped meanwhile")
	case err != nil:
		return "", "", fmt.Errorf("what blocks pg_repack: %w", err)
	case children:
		return "", "", remediate.Refuse(remediate.ReasonUnfit, "other tables inherit from the table")
	case !key:
		return "", "", remediate.Refuse(remediate.ReasonUnfit,
			"the table has neither a primary key nor a unique index of columns that are not null")
	case column != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit,
			"the key column %q has a quote or a backslash in its name, which pg_repack puts into a statement as it is",
			column)
	case invalid != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit,
			"the index %q is invalid, and pg_repack may corrupt it: reindex or drop it first", invalid)
	case index != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit,
			"pg_repack misreads the definition of index %q, which has the word WHERE or TABLESPACE in it where no "+
				"such clause is", index)
	case publication != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit,
			"publication %q is for all tables and would send pg_repack's own, which no subscriber has", publication)
	}
	return events, indexes, nil
}

// obstacleSQL finds what pg_repack cannot cope with, the first of each kind. The
// key is the index that it picks (its view primary_keys): its columns are
// unquoted in a text that becomes a trigger. Of an index's definition it looks for
// the words TABLESPACE and WHERE without heeding quotes.
const obstacleSQL = `
select exists (select from pg_index i
                where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null and 0 <> all(i.indkey)
                  and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attnum = any(i.indkey)
                    and not a.attnotnull)),
       coalesce((select a.attname::text from pg_index i join pg_attribute a on a.attrelid = c.oid
         and a.attnum = any(i.indkey)
                  where i.indrelid = c.oid and i.indisunique and a.attname ~ '[''\\]' limit 1), ''),
       coalesce((select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
         where i.indrelid = c.oid and not i.indisvalid limit 1), ''),
       coalesce((select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
                  where i.indrelid = c.oid
                    and (pg_get_indexdef(x.oid) like '%TABLESPACE%' or pg_get_indexdef(x.oid) like '%WHERE%WHERE%'
                         or i.indpred is null and pg_get_indexdef(x.oid) like '%WHERE%') limit 1), ''),
       coalesce((select p.pubname::text from pg_publication p where p.puballtables limit 1), ''),
       coalesce((select string_agg(quote_ident(e.evtname), ', ') from pg_event_trigger e where e.evtenabled <> 'D'),
         ''),
       coalesce((select string_agg(i.indexrelid::text, ',' order by i.indexrelid) from pg_index i
         where i.indrelid = c.oid), ''),
       exists (select from pg_inherits i where i.inhparent = c.oid)
  from pg_class c
 where c.oid = $1::int8::oid`
