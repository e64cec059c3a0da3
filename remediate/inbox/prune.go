package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// pruneAtOnce is how many incidents or dead letters are deleted in one write: a delivery waits no
// longer for it than for another delivery.
const pruneAtOnce = 200

// Prune deletes a part of the incidents that were closed before a moment and that no run is of, and
// of the dead letters from before it, and reports whether there may be more. The newest of each
// stays, so that no number is given twice.
func (i *Inbox) Prune(ctx context.Context, before time.Time) (more bool, err error) {
	ms := store.Millis(before)
	err = i.store.Write(ctx, func(tx *store.Tx) error {
		more = false
		for _, query := range []string{
			"delete from incidents where id in (select id from incidents where closed > 0 and closed < ? and id < " +
				"(select max(id) from incidents) and not exists (select 1 from runs where runs.incident = " +
				"incidents.id) order by closed, id limit ?)",
			"delete from dead_letters where id in (select id from dead_letters where received < ? and id < " +
				"(select max(id) from dead_letters) order by id limit ?)",
			"delete from floods where id in (select id from floods where last < ? and id < (select max(id) from " +
				"floods) order by id limit ?)",
		} {
			res, err := tx.Exec(query, ms, pruneAtOnce)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			more = more || n == pruneAtOnce
		}
		if more {
			return nil
		}
		return recount(tx)
	})
	if err != nil {
		return false, fmt.Errorf("delete closed incidents: %w", err)
	}
	return more, nil
}

// recount mends the counts of open incidents where they are wrong: a replica of a version before,
// which does not keep them, has opened and closed incidents meanwhile.
func recount(tx *store.Tx) error {
	var wrong bool
	if err := tx.QueryRow("select (select count(*) from incidents where closed = 0) <> (select coalesce(sum(opened), " +
		"0) from incident_counts where scope = 'all') or (select count(*) from incidents where closed = 0) <> " +
		"(select coalesce(sum(opened), 0) from incident_counts where scope = 'alert') or (select count(*) from " +
		"incidents where closed = 0) <> (select coalesce(sum(opened), 0) from incident_counts where scope = " +
		"'rated') or (select count(*) from incidents where closed = 0) <> (select coalesce(sum(opened), 0) from " +
		"incident_counts where scope = 'severity')").Scan(&wrong); err != nil {
		return err
	}
	if !wrong {
		return nil
	}
	for _, query := range []string{
		"delete from incident_counts",
		"insert into incident_counts (scope, name, opened) select 'alert', name, count(*) from incidents where " +
			"closed = 0 group by name",
		"insert into incident_counts (scope, name, opened) select 'rated', severity || '/' || server, count(*) from " +
			"incidents where closed = 0 group by severity, server",
		"insert into incident_counts (scope, name, opened) select 'severity', severity || '', count(*) from " +
			"incidents where closed = 0 group by severity",
		"insert into incident_counts (scope, name, opened) select 'all', '', count(*) from incidents where closed = 0",
	} {
		if _, err := tx.Exec(query); err != nil {
			return err
		}
	}
	return nil
}
