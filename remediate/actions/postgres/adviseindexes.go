package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/advice"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// AdviseIndexes writes the list of what could be done about the indexes of a server.
func AdviseIndexes(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/advise_indexes",
		Target: t.Name,
		Doc: "AdviseIndexes writes a list of the indexes of a server that are unused, duplicate, redundant, invalid or bloated, and of foreign keys without one." + `

It changes nothing on the server. The list is two files in the folder "advice" of
data_dir: indexes-SERVER.md for people, and the same as JSON. For each index
they list its size, its scans and the start of the count, its write cost (entries and
bytes a day, and the share of updates that touch no index), the advised statement and
the statement that reverts it. The hundred
largest of each kind are listed. It runs the collectors' own
queries on every database that the role may connect to; a database that cannot be read
is listed with the reason. The files are replaced atomically; the action is done when
the list has changed. It refuses a replica, whose indexes are those of its primary. Rights: CONNECT
on each database; SELECT on the tables (pg_read_all_data) for the bloat.`,
		Lowers: "upkeep_postgres_index_advice_age_seconds",
		Risk:   remediate.Safe,
		Effects: remediate.Effects{
			Lock:   "none",
			Blocks: "no one",
			WAL:    "none",
			Disk:   "two small files in data_dir",
			Undo:   "nothing to undo",
		},
		Subject:   []string{"server"},
		Exclusive: []string{"server"},
		Rights: []remediate.Right{
			{Grant: `grant connect on database :"database" to :"role"`,
				For: "to read the catalogs and the statistics of its indexes"},
			{Grant: `grant pg_read_all_data to :"role"`, Since: 14, For: "to estimate the bloat of indexes"},
			{Grant: `grant select on all tables in schema :"schema" to :"role"`, Until: 13,
				For: "to estimate the bloat of indexes"},
		},
		Timeout:  10 * time.Minute,
		Cancel:   remediate.CancelAnytime,
		Executor: adviseIndexes{t, time.Now},
	}
}

// adviceArgs are the arguments of its step.
type adviceArgs struct {
	File   string `arg:"file"`
	Before string `arg:"before"` // its fingerprint
}

type adviseIndexes struct {
	target *target.Postgres
	now    func() time.Time
}

// Plan implements remediate.Executor.
func (a adviseIndexes) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.Plan(ctx, a.target, r, a.plan)
}

func (a adviseIndexes) plan(ctx context.Context, _ remediate.Request) (p remediate.Plan, err error) {
	file := read.AdviceFile(a.target)
	if file == "" {
		return p, remediate.Refuse(remediate.ReasonUnfit,
			"upkeep has no folder for the list: this target was made without one")
	}
	server, err := a.target.Server()
	if err != nil {
		return p, err
	}
	var recovery bool
	if err := server.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&recovery); err != nil {
		return p, err
	}
	if recovery {
		return p, remediate.Refuse(remediate.ReasonReadOnly,
			"the server is a replica: its indexes are its primary's, which asks it how they are used")
	}
	list, err := advice.Read(ctx, a.target, a.now())
	if err != nil {
		return p, err
	}
	before, err := fingerprint(file)
	if err != nil {
		return p, err
	}
	for _, d := range list.Databases {
		p.Facts = append(p.Facts, fact(d))
	}
	p.Steps = []remediate.Step{remediate.StepOf("write "+file+" and the same as JSON", adviceArgs{file, before})}
	return p, nil
}

// fact is a database in one line.
func fact(d advice.Database) string {
	if d.Fault != "" {
		return fmt.Sprintf("database %q: not all of it could be read: %s", d.Database, d.Fault)
	}
	var parts []string
	for _, kind := range []struct {
		name string
		all  []advice.Index
	}{{"unused", d.Unused}, {"duplicate", d.Duplicate}, {"redundant", d.Redundant}, {"invalid", d.Invalid},
		{"bloated", d.Bloated}} {
		sum := int64(0)
		for _, x := range kind.all {
			sum += x.SizeBytes
		}
		if len(kind.all) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(kind.all), kind.name, session.Bytes(sum)))
		}
	}
	if n := len(d.ForeignKeys); n > 0 {
		parts = append(parts, fmt.Sprintf("%d foreign keys without an index", n))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("database %q: nothing is advised", d.Database)
	}
	return fmt.Sprintf("database %q: %s", d.Database, strings.Join(parts, ", "))
}

// fingerprint identifies a list, or is "" without one.
func fingerprint(file string) (string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("the list there is: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}

// Apply implements remediate.Executor. The list for people is written last: when that
// is another, the step is done.
func (a adviseIndexes) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := remediate.ArgsOf[adviceArgs](s)
	if err != nil {
		return err
	}
	file := args.File
	now, err := fingerprint(file)
	if err != nil {
		return err
	}
	if now != args.Before {
		return f.Check(ctx) // it was written; a lost fence is an error all the same
	}
	if err := session.Same(ctx, a.target, session.Planned(s)); err != nil {
		return err
	}
	list, err := advice.Read(ctx, a.target, a.now())
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return fmt.Errorf("the list as JSON: %w", err)
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	if err := replace(ctx, f, strings.TrimSuffix(file, ".md")+".json", append(text, '\n')); err != nil {
		return err
	}
	return replace(ctx, f, file, []byte(list.Markdown()))
}

// replace writes a file atomically: a reader sees the old or the new one.
// The name of what is being written has the fence, so that two never write one, and
// what an earlier attempt has left is removed.
func replace(ctx context.Context, f remediate.Fence, file string, text []byte) (err error) {
	fresh := fmt.Sprintf("%s.new-%d", file, f.Token)
	if left, err := filepath.Glob(escapeGlob(file) + ".new-*"); err == nil {
		for _, l := range left {
			_ = os.Remove(l) // a process that still writes it has lost its fence
		}
	}
	w, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	err = errors.Join(err, w.Sync(), w.Close())
	if err == nil {
		err = f.Check(ctx)
	}
	if err == nil {
		err = os.Rename(fresh, file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return nil
}

// escapeGlob makes a pattern that matches a path itself.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// Measure implements remediate.Executor.
func (a adviseIndexes) Measure(context.Context, remediate.Request) (float64, error) {
	age, there, err := read.ReadIndexAdvice(a.target)
	if err == nil && !there {
		age = remediate.Never
	}
	return age.Seconds(), err
}

// Identified implements remediate.Identifier.
func (a adviseIndexes) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}
