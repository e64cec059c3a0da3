package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/common/model"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/collectors/postgres/usage"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/advice"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// DropIndex drops one index that is not needed.
func DropIndex(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/drop_index",
		Target: t.Name,
		Doc: `DropIndex drops one index that is unused, a duplicate or invalid, with DROP INDEX CONCURRENTLY.

It always needs approval. The parameter because gives the reason for the drop, and with
it the metric that is verified. The reason is evaluated for the plan and again in the
session that drops, right before the drop (DROP INDEX CONCURRENTLY cannot run in a
transaction), by the same queries as the collectors use.

unused: no query has used the index, here or on a standby, for at least 30 days. The
time counts from the latest of these: upkeep first saw the index, a reset of the
statistics or of those of this index, a start of the server (it may have crashed, which
empties the counters), a crash without a start, a promotion, and the end of a time with
track_counts off. A standby that was seen in the last 35 days and is not monitored
makes the index unfit. So does a WAL archive, which may feed other standbys, until the
target's standbys_listed says that every standby is a target.

duplicate: another index of the table is identical and valid, and is not itself unused
where this one is used. Of two identical indexes only one is ever dropped. An index
whose keys are only the first keys of another one stays.

invalid: an interrupted build or drop has left the index, and no build is under way.

It refuses an index that enforces or backs something (unique, primary key, exclusion,
any constraint), that is the replica identity, that CLUSTER uses, that belongs to a
partitioned index or an extension, or on which anything depends. An unused index is
also refused if it is on expressions (their statistics help the planner: CREATE
STATISTICS first) or the only one that supports a foreign key. It refuses a replica,
and a role that owns neither the table nor its schema. An invalid unique index may be
dropped if no constraint uses it: it enforces nothing.

Reads and writes go on, and no session queues behind it: it waits for the transactions
that use the table by their transaction ids. It does not start while one of them is
older than the parameter patience. If its wait is interrupted, the index stays invalid:
no query uses it, and every write maintains it. The drop is then retried within the
timeout of the step, and resumed after a crash; if that is not enough, the result of
the run says so. The plan, and so the journal, has the statements that create the index
again, with tablespace, statistics targets and comment. The step is done when the index
no longer exists.

Rights: own the table or its schema; pg_monitor to see how old the transactions of
other sessions are.`,
		Lowers: "upkeep_postgres_index_unused_bytes",
		LowersBy: map[string]string{
			"because=" + advice.BecauseDuplicate: "upkeep_postgres_index_duplicate_bytes",
			"because=" + advice.BecauseInvalid:   "upkeep_postgres_index_invalid_bytes",
		},
		Risk: remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "SHARE UPDATE EXCLUSIVE; ACCESS EXCLUSIVE of the index alone at the end",
			Blocks: "DDL and other maintenance of the table",
			WAL:    "little",
			Disk:   "frees the index",
			Undo:   "the statements in the plan create it again",
		},
		Asks:      true,
		Removes:   true,
		Subject:   []string{"server", "database", "schema", "table", "index"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Params: []remediate.Param{
			{Name: "because", Type: remediate.Text,
				Doc: "Why it is to go: unused, duplicate or invalid. It must be said, and true."},
			{Name: "counted", Type: remediate.Duration, Default: "30d",
				Doc: "For how long scans must have been counted before an index counts as unused; 30d at least. 100d " +
					"has the work of the end of a quarter in it."},
			session.PatienceParam(),
		},
		Rights: []remediate.Right{
			{Grant: `grant :"owner" to :"role"`, For: "to drop an index of the table"},
			{Grant: `grant pg_monitor to :"role"`, For: "to see how old the transactions of others are"},
		},
		Timeout:  2 * time.Hour, // longer than patience may be
		Executor: dropIndex{t, time.Now},
	}
}

// dropIndexArgs are the arguments of its step.
type dropIndexArgs struct {
	session.Place

	Index    string        `arg:"index"`
	OID      int64         `arg:"oid"`
	Because  string        `arg:"because"`
	Keeper   string        `arg:"keeper,omitempty"` // the oid of the index that stays in its place
	Patience time.Duration `arg:"patience"`
	Counted  time.Duration `arg:"counted"` // for how long scans must have been counted
}

// A dropIndexStep is one with these arguments.
type dropIndexStep = remediate.Typed[dropIndexArgs]

type dropIndex struct {
	target *target.Postgres
	now    func() time.Time
}

// Headroom implements remediate.Roomer.
func (a dropIndex) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return session.Headroom(ctx, a.target)
}

// reason is the parameter because.
func (dropIndex) reason(r remediate.Request) (string, error) {
	because := r.Params["because"]
	if !slices.Contains([]string{advice.BecauseUnused, advice.BecauseDuplicate, advice.BecauseInvalid}, because) {
		return "", remediate.Refuse(remediate.ReasonSubject,
			"the parameter because is %q, want unused, duplicate or invalid", because)
	}
	return because, nil
}

// counted is the parameter of that name.
func (dropIndex) counted(params map[string]string) (time.Duration, error) {
	text := params["counted"]
	if text == "" {
		return advice.ProvenAfter, nil
	}
	d, err := model.ParseDuration(text)
	if err != nil || time.Duration(d) < advice.ProvenAfter {
		return 0, remediate.Refuse(remediate.ReasonSubject,
			"the parameter counted is %q, want a duration of 30d at least, like 100d", text)
	}
	return time.Duration(d), nil
}

// Plan implements remediate.Executor.
func (a dropIndex) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.PlanWrites(ctx, a.target, r, a.plan)
}

func (a dropIndex) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	because, err := a.reason(r)
	if err != nil {
		return p, err
	}
	wait, err := session.PatienceOf(r.Params)
	if err != nil {
		return p, err
	}
	counted, err := a.counted(r.Params)
	if err != nil {
		return p, err
	}
	db, err := relation.Database(ctx, a.target, r)
	var x advice.Traits
	if err == nil {
		x, err = advice.ReadTraits(ctx, db, r.Subject["schema"], r.Subject["table"], r.Subject["index"])
	}
	if errors.Is(err, remediate.ErrGone) {
		return p, remediate.Refuse(remediate.ReasonGone, "%v", err)
	}
	if err != nil {
		return p, err
	}
	if err := p.NoteMissing(x.MayGo(because)); err != nil {
		return p, err
	}
	proof, keeper, err := a.verify(ctx, db, r.Subject["database"], x, because, counted)
	if err != nil {
		return p, err
	}
	unseen, err := free(ctx, db, x.TableOID, wait)
	if err != nil {
		return p, err
	}
	p.Facts = append(x.Facts(because), proof...)
	if unseen != "" {
		p.Facts = append(p.Facts, unseen)
	}
	name := pgx.Identifier{r.Subject["schema"], r.Subject["index"]}.Sanitize()
	s := remediate.StepOf("DROP INDEX CONCURRENTLY "+name, dropIndexArgs{
		Place: session.PlaceOf(r), Index: r.Subject["index"], OID: x.OID, Because: because, Keeper: keeper,
		Patience: wait, Counted: counted,
	})
	s.Undo, s.Left = x.Again(), begunLeft(x.Name())
	p.Steps = []remediate.Step{s}
	return p, nil
}

// free refuses for now while somebody is in the way, and tells what it could not see.
func free(ctx context.Context, q read.Querier, table int64, wait time.Duration) (fact string, err error) {
	others, err := session.ReadBlockers(ctx, q, table, wait)
	if err != nil {
		return "", err
	}
	return others.Clear()
}

// verify finds out whether the reason is true, by what the collectors ask too, and
// returns what was found, and which index stays in the place of a duplicate.
func (a dropIndex) verify(ctx context.Context, q read.Querier, database string, x advice.Traits, because string,
	counted time.Duration) (facts []string, keeper string, err error) {
	switch because {
	case advice.BecauseUnused:
		facts, err = a.verifyUnused(ctx, q, database, x, counted)
	case advice.BecauseDuplicate:
		facts, keeper, err = a.verifyDuplicate(ctx, q, database, x)
	case advice.BecauseInvalid:
		if x.Valid {
			err = remediate.Refuse(remediate.ReasonNothing, "the index is valid")
		}
	}
	return facts, keeper, err
}

func (a dropIndex) verifyUnused(ctx context.Context, q read.Querier, database string, x advice.Traits,
	counted time.Duration) ([]string, error) {
	known, err := a.usage(ctx, q, database)
	if err != nil {
		return nil, err
	}
	row := known.Of(x.Schema, x.Index)
	switch {
	case !x.Valid:
		return nil, remediate.Refuse(remediate.ReasonNothing,
			"the index is invalid: nothing can use it; the reason to drop it is invalid")
	case x.Scans > 0:
		return nil, remediate.Refuse(remediate.ReasonNothing, "queries have used the index %d times", x.Scans)
	case !known.Counted:
		return nil, remediate.Refuse(remediate.ReasonUnfit,
			"scans are not counted: track_counts is off, or not known to be on for every role and database, here and "+
				"on the standbys")
	case len(known.Unasked) > 0:
		return nil, remediate.Refuse(remediate.ReasonUnfit, "%s", unaskedText(known.Unasked))
	case a.now().Sub(known.Since) < counted:
		return nil, young(known.Since, known.Why, counted)
	case x.Made != nil && a.now().Sub(*x.Made) < counted:
		return nil, remediate.Refuse(remediate.ReasonUnfit,
			"the index was made or changed at %s, less than %d days ago",
			x.Made.UTC().Format(time.RFC3339), session.Days(counted))
	case row == nil:
		return nil, remediate.Refuse(remediate.ReasonNothing,
			"the index is in use on a standby, or is there for more than queries")
	case a.now().Sub(row.Since) < counted:
		return nil, young(row.Since, row.Why, counted)
	}
	return []string{fmt.Sprintf("no query has used it since %s (%d days), here or on the %d standbys that are asked; "+
		"%s",
		row.Since.UTC().Format(time.RFC3339), session.Days(a.now().Sub(row.Since)), known.Asked, row.Why)}, nil
}

// usage reads what is known of the use of indexes. A standby that is not there to be
// asked may use any.
func (a dropIndex) usage(ctx context.Context, q read.Querier, database string) (usage.Indexes, error) {
	known, err := usage.Read(ctx, a.target, database, q, a.now())
	if silent, ok := errors.AsType[*usage.StandbyError](err); ok && ctx.Err() == nil {
		return known, remediate.Refuse(remediate.ReasonUnfit, "standby %s may use the index and cannot be asked: %v",
			silent.Name, silent.Err)
	}
	if err != nil {
		return known, fmt.Errorf("the use of indexes: %w", err)
	}
	return known, nil
}

// young refuses what was not counted for long enough, and says when it will have been.
func young(since time.Time, why string, counted time.Duration) error {
	return remediate.Refuse(remediate.ReasonUnfit,
		"scans of the index count since %s: %s; that is less than %d days, and young statistics prove nothing: "+
			"enough on %s",
		since.UTC().Format(time.RFC3339), why, session.Days(counted), since.Add(counted).UTC().Format(time.DateOnly))
}

// unaskedText reports which standbys may use an index, and what to do about it.
func unaskedText(all []string) string {
	return fmt.Sprintf("%d standbys may use the index and are not asked: %s; make each a target that names in "+
		"replica_of the server it follows, and set standbys_listed when no other answers queries", len(all),
		strings.Join(all, ", "))
}

func (a dropIndex) verifyDuplicate(ctx context.Context, q read.Querier, database string, x advice.Traits) (
	facts []string, keeper string, err error) {
	row, err := duplicateOf(ctx, q, x.Schema, x.Table, x.Index)
	switch {
	case err != nil:
		return nil, "", err
	case row == nil:
		return nil, "", remediate.Refuse(remediate.ReasonNothing,
			"no other index of the table is identical to it and would stay")
	case row.Kind != "identical":
		return nil, "", remediate.Refuse(remediate.ReasonUnfit,
			"its keys are the first of %s, which is not identical: it may be worth its space where it is much "+
				"smaller, which only people can weigh", row.CoveredBy)
	}
	by, err := advice.ReadTraits(ctx, q, x.Schema, x.Table, row.CoveredBy)
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("the index that stays: %w", err)
	case !by.Valid:
		return nil, "", remediate.Refuse(remediate.ReasonUnfit, "%s, which would stay, is invalid", by.Name())
	}
	known, err := a.usage(ctx, q, database)
	if err != nil {
		return nil, "", err
	}
	if known.Of(by.Schema, by.Index) != nil && known.Of(x.Schema, x.Index) == nil {
		return nil, "", remediate.Refuse(remediate.ReasonUnfit,
			"%s, which would stay, counts as unused while this one is used: drop that one, or both would go", by.Name())
	}
	return []string{fmt.Sprintf("%s is identical and stays: %s; it has %s and was scanned %d times", by.Name(),
		by.Definition, session.Bytes(by.SizeBytes), by.Scans)}, strconv.FormatInt(by.OID, 10), nil
}

// duplicateOf returns what the collector says of one index, nil for nothing.
func duplicateOf(ctx context.Context, q read.Querier, schema, table, index string) (*read.DuplicateIndexRow, error) {
	rows, err := read.ReadDuplicateIndex(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("duplicate indexes: %w", err)
	}
	for _, r := range rows {
		if r.Schema == schema && r.Table == table && r.Index == index {
			return &r, nil
		}
	}
	return nil, nil //nolint:nilnil // nothing is said of it
}

// Measure implements remediate.Executor. An invalid index that has no page yet counts
// as one byte: it is there.
func (a dropIndex) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	because, err := a.reason(r)
	if err != nil {
		return 0, err
	}
	db, err := relation.Database(ctx, a.target, r)
	if err != nil {
		return 0, err
	}
	if _, err := relation.Lookup(ctx, db, r.Subject); err != nil {
		return 0, err
	}
	of := relation.Names(r)
	switch because {
	case advice.BecauseDuplicate:
		row, err := duplicateOf(ctx, db, of.Schema, of.Table, of.Index)
		if err != nil || row == nil || row.Kind != "identical" {
			return 0, err
		}
		return row.SizeBytes, nil
	case advice.BecauseInvalid:
		rows, err := read.ReadInvalidIndex(ctx, db)
		for _, row := range rows {
			if row.Schema == of.Schema && row.Table == of.Table && row.Index == of.Index {
				return max(row.SizeBytes, 1), err
			}
		}
		return 0, err
	}
	known, err := usage.Read(ctx, a.target, r.Subject["database"], db, a.now())
	switch {
	case err != nil:
		return 0, fmt.Errorf("the use of indexes: %w", err)
	case !known.Counted && !known.Standby:
		return 0, errors.New("the use of indexes: scans are not counted")
	}
	if row := known.Of(of.Schema, of.Index); row != nil {
		return row.SizeBytes, nil
	}
	return 0, nil
}

// Identified implements remediate.Identifier.
func (a dropIndex) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}

// begunLeft says what a drop leaves that was begun.
func begunLeft(name string) string {
	return fmt.Sprintf("where index %s is invalid: DROP INDEX CONCURRENTLY IF EXISTS %[1]s ends the drop, REINDEX "+
		"INDEX CONCURRENTLY %[1]s has the index back", name)
}
