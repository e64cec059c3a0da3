package store

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ai-micro-service/upkeep/remediate"
)

// The versions of the store: schema1.sql, schema2.sql and so on, each of which
// makes its version of the one before. They are written for SQLite with the types
// integer, real, text and blob, and avoid the words that PostgreSQL keeps for
// itself (analyze, end, limit, order, user, window).
//
//go:embed schema*.sql
var schemas embed.FS

// versions returns the schemas in their order.
func versions() (all []string, err error) {
	for {
		text, err := schemas.ReadFile(fmt.Sprintf("schema%d.sql", len(all)+1))
		if errors.Is(err, fs.ErrNotExist) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, string(text))
	}
}

// migrate brings the store to its newest version, one transaction for each. The
// version is read in the same transaction, so of two processes that begin at
// once one migrates and the other finds it done.
func (s *Store) migrate(ctx context.Context) error {
	all, err := versions()
	if err != nil {
		return err
	}
	for have := -1; have < len(all); {
		err := s.write(ctx, func(tx *Tx) (err error) {
			if have, err = s.dialect.version(tx); err != nil {
				return fmt.Errorf("its version: %w", err)
			}
			switch {
			case have > len(all):
				return fmt.Errorf("it was written by a newer version of upkeep (schema %d, this one knows %d); start "+
					"that version", have, len(all))
			case have == len(all):
				return nil
			}
			if _, err := tx.conn.ExecContext(ctx, s.dialect.schema(all[have])); err != nil {
				return fmt.Errorf("version %d: %w", have+1, err)
			}
			have++
			if fill := filled()[have]; fill != nil {
				if err := fill(tx); err != nil {
					return fmt.Errorf("version %d: %w", have, err)
				}
			}
			return s.dialect.setVersion(tx, have)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// filled are the versions with columns whose values are in JSON.
func filled() map[int]func(*Tx) error {
	return map[int]func(*Tx) error{7: nameIncidents, 8: placeIncidents}
}

// nameIncidents gives open incidents the names of their alerts, and counts them.
func nameIncidents(tx *Tx) error {
	all, err := alertLabels(tx)
	if err != nil {
		return err
	}
	for id, labels := range all {
		if _, err := tx.Exec("update incidents set name = ? where id = ?", labels["alertname"], id); err != nil {
			return err
		}
	}
	if _, err := tx.Exec("insert into incident_counts (scope, name, opened) select 'alert', name, count(*) from " +
		"incidents where closed = 0 group by name"); err != nil {
		return err
	}
	_, err = tx.Exec("insert into incident_counts (scope, name, opened) select 'all', '', count(*) from incidents " +
		"where closed = 0")
	return err
}

// placeIncidents gives open incidents the severity and the server of their alerts, and counts them.
func placeIncidents(tx *Tx) error {
	all, err := alertLabels(tx)
	if err != nil {
		return err
	}
	for id, labels := range all {
		if _, err := tx.Exec("update incidents set severity = ?, server = ? where id = ?",
			int(remediate.SeverityOf(labels["severity"])), labels["server"], id); err != nil {
			return err
		}
	}
	_, err = tx.Exec("insert into incident_counts (scope, name, opened) select 'rated', severity || '/' || server, " +
		"count(*) from incidents where closed = 0 group by severity, server")
	if err == nil {
		_, err = tx.Exec("insert into incident_counts (scope, name, opened) select 'severity', severity || '', " +
			"count(*) from incidents where closed = 0 group by severity")
	}
	return err
}

// alertLabels returns the labels of the alerts of open incidents, which are in JSON.
func alertLabels(tx *Tx) (all map[int64]map[string]string, err error) {
	rows, err := tx.Query("select id, alert from incidents where closed = 0")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	all = make(map[int64]map[string]string)
	for rows.Next() {
		var id int64
		var text []byte
		if err := rows.Scan(&id, &text); err != nil {
			return nil, err
		}
		var alert struct {
			Labels map[string]string `json:"labels"`
		}
		if err := json.Unmarshal(text, &alert); err != nil {
			return nil, fmt.Errorf("incident %d: %w", id, err)
		}
		all[id] = alert.Labels
	}
	return all, rows.Err()
}
