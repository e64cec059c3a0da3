package rebuild

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// unmovableSQL finds what prevents updates that change nothing: triggers and rules that
// would fire, and which column can be used in them. A trigger that a partition
// inherits is internal before 15, and has a parent; those of constraints do nothing
// where the key stays. An update of a column that a generated one is made of has that
// made anew, by the function and in the time zone of now: such a column stays out.
const unmovableSQL = `
select coalesce((select t.tgname::text from pg_trigger t left join pg_constraint k on k.oid = t.tgconstraint
                  where t.tgrelid = c.oid and t.tgenabled <> 'D' and t.tgtype & 16 <> 0
                    and coalesce(k.contype, 't') not in ('f', 'p', 'u', 'x') and (not t.tgisinternal
                      or t.tgparentid <> 0) order by t.tgname limit 1), ''),
       coalesce((select r.rulename::text from pg_rewrite r where r.ev_class = c.oid order by r.rulename limit 1), ''),
       coalesce((select k.conname::text from pg_constraint k where k.conrelid = c.oid and not k.convalidated
         and k.contype in ('c', 'f') order by k.conname limit 1), ''),
       coalesce((select a.attname::text from pg_attribute a
                  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
                    and a.attidentity <> 'a'
                    and not exists (select from pg_depend d
                                      left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
                                      join pg_attribute g on g.attrelid = c.oid and g.attgenerated <> ''
                                        and g.attnum = case when d.classid = 'pg_class'::regclass then d.objsubid
                                          else f.adnum end
                                     where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid
                                       and d.refobjsubid = a.attnum
                                       and (d.classid = 'pg_class'::regclass and d.objid = c.oid or f.adrelid = c.oid))
                  order by a.attlen < 0, a.attlen, a.attnum limit 1), ''),
       c.relreplident::text,
       exists (select from pg_index i where i.indrelid = c.oid and (i.indisreplident or c.relreplident = 'd'
         and i.indisprimary)),
       coalesce((select string_agg(p.pubname::text, ', ') from pg_publication_tables p
         join pg_publication q on q.pubname = p.pubname and q.pubupdate
                  where p.schemaname = n.nspname and p.tablename = c.relname), ''),
       coalesce((select m.amname::text from pg_am m where m.oid = c.relam), ''),
       exists (select from pg_language l where l.lanname = 'plpgsql' and has_language_privilege(l.oid, 'USAGE')),
       (select count(*) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and a.attisdropped)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.oid = $1::int8::oid`

// movable is what decides whether rows of a table can be moved.
type movable struct {
	Trigger, Rule, Constraint string // that prevent it
	Column                    string // that an update can set to what it is
	Identity                  string // pg_class.relreplident
	Identified                bool   // an index names its rows
	Publications              string // of its updates
	Method                    string // by which it is stored
	PLpgSQL                   bool   // the role may use it
	Dropped                   int    // columns
}

// fit refuses a table whose rows cannot be moved by updates that change nothing.
func (m movable) fit(role string) error {
	switch {
	case !m.PLpgSQL:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the database has no PL/pgSQL for role %s, in which rows are moved", role)
	case m.Method != "heap":
		return remediate.Refuse(remediate.ReasonUnfit, "the table is stored by the access method %q", m.Method)
	case m.Trigger != "":
		return remediate.Refuse(remediate.ReasonUnfit, "the trigger %q would fire for each row that is moved",
			m.Trigger)
	case m.Rule != "":
		return remediate.Refuse(remediate.ReasonUnfit, "the rule %q would rewrite the updates", m.Rule)
	case m.Constraint != "":
		return remediate.Refuse(remediate.ReasonUnfit,
			"the constraint %q is not validated: rows that break it cannot be updated", m.Constraint)
	case m.Column == "":
		return remediate.Refuse(remediate.ReasonUnfit,
			"no column of the table can be used in an UPDATE: each is generated, an identity, or the base of a "+
				"generated column")
	case m.Publications != "" && m.Identity != "f" && !m.Identified:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the table is published (%s) without a replica identity: it cannot be updated", m.Publications)
	}
	return nil
}

// facts are what people should know of it.
func (m movable) facts() (facts []string) {
	if m.Dropped > 0 {
		facts = append(facts, fmt.Sprintf("%d columns were dropped: rows that are moved leave the values of those "+
			"behind, rows in front keep them, so less may be won than the estimate says", m.Dropped))
	}
	if m.Publications != "" {
		facts = append(facts, "each of these updates is sent to the subscribers of "+m.Publications)
	}
	if m.Identity == "f" {
		facts = append(facts, "the replica identity is the whole row: each update writes the old one to WAL too")
	}
	return facts
}

// noteRights notes in the plan which rights are missing for an update of the rows.
func (h heap) noteRights(p *remediate.Plan) {
	if !h.Update {
		// it is noted
		_ = p.NoteMissing(remediate.Refuse(remediate.ReasonPrivilege,
			"role %s may not update the table: own it, or GRANT UPDATE ON TABLE", h.Role))
	}
	if h.Filtered {
		// as above
		_ = p.NoteMissing(remediate.Refuse(remediate.ReasonPrivilege,
			"row security hides rows of the table from role %s: it must own the table or have BYPASSRLS", h.Role))
	}
}

// planRows plans to move rows from the end of the table to its front, or refuses
// and says why.
func (a Repack) planRows(ctx context.Context, db *target.Database, h heap, r remediate.Request) (p remediate.Plan,
	err error) {
	can, err := session.One(ctx, db, pgx.RowToStructByPos[movable], unmovableSQL, h.OID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return p, remediate.Refuse(remediate.ReasonGone, "the table was dropped meanwhile")
	case err != nil:
		return p, fmt.Errorf("what prevents moving rows: %w", err)
	}
	if err := can.fit(h.Role); err != nil {
		return p, err
	}
	h.noteRights(&p)
	relied, err := relianceOn(ctx, db, h.OID)
	if err == nil {
		err = relied.contract.Relations[h.OID].Unfit(relation.Update)
	}
	if err != nil {
		return p, err
	}
	goal := goalOf(h.needed())
	if float64(goal) > (1-leastGain)*float64(h.pages()) {
		return p, remediate.Refuse(remediate.ReasonCannotHelp,
			"it would take %d of the %d pages that the table has: too little is won", goal, h.pages())
	}
	p.Facts = append(p.Facts, h.costs(goal)...)
	p.Facts = append(p.Facts, newXmin("that is moved"))
	if h.Toast > 0 {
		p.Facts = append(p.Facts, fmt.Sprintf("values that are stored out of line (TOAST, %s) stay where they are: "+
			"nothing of that is won", remediate.Quantity("_bytes", float64(h.Toast))))
	}
	p.Facts = append(p.Facts, can.facts()...)
	name := pgx.Identifier{r.Subject["schema"], r.Subject["table"]}.Sanitize()
	do := fmt.Sprintf("UPDATE ONLY %s SET %[2]s = %[2]s WHERE ctid = ANY (the rows behind page %d, in batches, until "+
		"they are in front of it); VACUUM (TRUNCATE on) %[1]s", name, pgx.Identifier{can.Column}.Sanitize(), goal)
	p.Steps = []remediate.Step{remediate.StepOf(do, repackArgs{
		TableArgs: TableArgs{Place: session.PlaceOf(r), OID: h.OID}, Way: byRows, Column: can.Column, Goal: goal,
		Version: strconv.Itoa(h.Version), Contract: relied.contract.String(),
	})}
	return p, nil
}

// goalOf is how many pages are left at the end: what is needed and some more, as
// a round number, so that a plan made again a moment later is the same.
func goalOf(needed int64) int64 {
	const grain = 32 // of the power of two above: a few hundredths
	goal := float64(needed)*slack + 1
	unit := math.Max(math.Exp2(math.Ceil(math.Log2(goal)))/grain, 1)
	return int64(math.Ceil(goal/unit) * unit)
}

// costs reports what is moved and what that writes. To leave a page with room a row
// must first fill it with its own old versions.
func (h heap) costs(goal int64) []string {
	const logged = 120 // bytes of WAL for an update that changes nothing, and its share of pages written whole
	behind := h.pages() - goal
	a := h.Rows / float64(max(h.needed(), 1)) // rows that fit on a page
	updates := float64(behind) * a
	return []string{
		"the way is to move rows: those of the last " + strconv.FormatInt(behind, 10) +
			" pages go into the room in front of them, and the empty end is cut off",
		fmt.Sprintf("that is up to %.0f updates that change nothing, about %s of WAL", updates,
			remediate.Quantity("_bytes", updates*logged+float64(behind*h.Block))),
		"each index gets an entry for every row that has moved: postgres/reindex should follow where that is much",
	}
}
