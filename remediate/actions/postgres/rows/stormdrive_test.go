package rows_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// stormPatience is how long a step may take: no step may hang.
const stormPatience = 90 * time.Second

// An act is one action and what it is asked.
type act struct {
	name   string
	action remediate.Action
	on     string // schema.table
	params map[string]string
}

func (w *world) archiving() act {
	a := act{name: "archive", action: postgres.Archive(w.server), on: srcName}
	if w.scene.to == "nothing" {
		a.name, a.action = "purge", postgres.Purge(w.server)
	}
	return a
}

// turn is the next action of those that take turns in a scene.
func (w *world) turn() act {
	restore := act{name: "restore", action: postgres.RestoreArchived(w.server), on: srcName, params: map[string]string{
		"since": w.now.Add(-time.Duration(2000+w.rng.IntN(100)) * 24 * time.Hour).Format(time.RFC3339),
		"until": w.now.Add(-time.Duration(182+w.rng.IntN(100)) * 24 * time.Hour).Format(time.RFC3339),
	}}
	often := 2
	if w.store != nil { // the work with an object is over soon: it takes more of them for the storm to fall into it
		often, restore.params["until"] = 3, w.now.Add(-time.Duration(182+w.rng.IntN(3))*24*time.Hour).
			Format(time.RFC3339)
	}
	switch n := w.rng.IntN(10); {
	case n < 8-often:
		return w.archiving()
	case n < 8 && w.scene.to != "nothing":
		w.stock()
		return restore
	default:
		return act{name: "repack", action: postgres.Repack(w.server), on: w.bloated()}
	}
}

// stock puts a few objects into the store, with no storm, so that something can be
// brought back, in several transactions. An archive that is refused stays away.
func (w *world) stock() {
	if w.store == nil {
		return
	}
	w.still = true
	defer func() { w.still = false }()
	for range 3 {
		w.insert("stock", 40, 198, 185)
		a := w.archiving()
		w.note("stock: %v", w.carry(a))
	}
}

// bloated is a table with rows, most of which the storm has deleted.
func (w *world) bloated() string {
	leaf := srcName
	w.blow("bloat", func(q *gust) (err error) {
		if leaf, err = q.leaf(srcName); err != nil {
			return err
		}
		if err := q.put(srcName, 320, 90, 1); err != nil {
			return err
		}
		ids, _, err := q.ids("delete from %s where id %% 8 <> 0 and at > now() - interval '95 days' and %s returning "+
			"id", srcName, q.unreferred())
		q.later(func() {
			for _, id := range ids {
				delete(q.model.rows, id)
			}
		})
		return err
	})
	if w.scene.parts {
		leaf = "public.src_new"
	}
	w.plain("vacuum (analyze, truncate off) " + leaf)
	return leaf
}

// label is what a step is counted as.
func (w *world) label(a act, s remediate.Step) string {
	part := s.Args["part"]
	switch {
	case part == "vacuum" || part == "analyze":
		return ""
	case a.name == "repack" && s.Args["way"] != "":
		return "repack " + s.Args["way"]
	case strings.Contains(strings.ToLower(part), "hand"):
		return "hand over"
	case part == "detach" || part == "drop":
		return "purge partitions"
	case w.store != nil && a.name == "archive":
		return "archive " + w.place()
	case w.store != nil:
		return "restore " + w.place()
	case a.name == "purge":
		return "purge"
	default:
		return a.name + " table"
	}
}

func (w *world) place() string { return strings.TrimPrefix(w.server.Archives[0].To.Label, "a ") }

// drive lets the actions run and the storm beside them, until the storm ends, and
// then once without it.
func (w *world) drive() {
	for round := 0; w.left > 0 && round < 14 && !w.t.Failed(); round++ {
		if round > 0 {
			w.refill()
		}
		for w.rng.IntN(4) == 0 {
			w.gustOf() // what a plan sees
		}
		a := w.turn()
		err := w.carry(a)
		w.note("%s of %s: %v", a.name, a.on, err)
		w.end(a, err)
		if err != nil {
			w.heal([]int{1, 100, 100, 100}[w.rng.IntN(4)])
		}
		if len(w.hazards) == 0 {
			w.level()
		}
	}
	w.left = 0
	w.heal(100)
	w.level()
	w.sweep()
	w.refill()
	a := w.archiving()
	err := w.carry(a)
	w.note("%s of %s, when it is quiet: %v", a.name, a.on, err)
	w.end(act{name: "quiet " + a.name}, err)
}

// refill makes sure that old rows exist.
func (w *world) refill() {
	if w.scene.parts && w.rng.IntN(2) == 0 {
		w.blow("refill", func(q *gust) error { return q.newPart(60) })
	}
	w.insert("refill", 250, 198, 182)
}

// carry plans and applies.
func (w *world) carry(a act) error {
	schema, table, _ := strings.Cut(a.on, ".")
	limit := 0.1
	r := remediate.Request{Action: a.action.Name, Limit: &limit, Params: a.params,
		Subject: map[string]string{"server": "main", "database": w.database, "schema": schema, "table": table}}
	ctx, cancel := context.WithTimeout(w.t.Context(), stormPatience)
	defer cancel()
	plan, err := a.action.Plan(ctx, r)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	for _, s := range plan.Steps {
		if err := w.apply(a, s); err != nil {
			return fmt.Errorf("%.60s: %w", s.Do, err)
		}
	}
	return nil
}

// apply carries out one step, with the storm between its batches or beside them.
func (w *world) apply(a act, s remediate.Step) error {
	ctx, cancel := context.WithTimeoutCause(w.t.Context(), stormPatience, errHangs)
	defer cancel()
	label := w.label(a, s)
	w.mu.Lock()
	w.running, w.pending = label, nil
	w.checks.Store(0)
	w.mu.Unlock()
	if label != "" {
		w.tally.actions[label] = true
	}
	before := w.count()
	// pg_repack is asked to give way while a statement waits for it.
	ended := func() {}
	if w.beside || s.Args["way"] == "pg_repack" {
		ended = w.blowBeside()
	}
	err := a.action.Apply(ctx, remediate.Fence{Token: 1, Held: w.hook}, s)
	ended()
	for _, kind := range w.pending {
		w.tally.fall(kind, label, 1)
	}
	w.running = ""
	after := w.count()
	if n := before - after; label != "" && n != 0 {
		w.tally.acted[label] += max(n, -n)
		w.tally.moved += max(n, -n)
	}
	return err
}

var errHangs = errors.New("the step took longer than the storm waits")

// count is how many rows are in the source, for the log.
func (w *world) count() (n int) {
	if err := w.conn.QueryRow(context.Background(), "select count(*) from "+srcName).Scan(&n); err != nil {
		return 0 // it has another name at the moment
	}
	return n
}

// hook is asked before each batch, and lets the storm blow.
func (w *world) hook(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.still {
		return nil
	}
	objects := strings.HasPrefix(w.running, "restore ") && w.store != nil
	if n := w.checks.Add(1); w.running == "" || n == 1 && w.seed%4 > 0 && !objects {
		return nil // before the first look at the tables: seldom
	}
	if w.tokens != nil {
		select {
		case w.tokens <- struct{}{}:
		default:
		}
		return nil
	}
	n := w.rng.IntN(3)
	if objects {
		n = max(n, 1)
	}
	for ; n > 0; n-- {
		w.gustOf()
	}
	return nil
}

// blowBeside lets the storm run at the same time. It is given a statement for each
// batch.
func (w *world) blowBeside() (end func()) {
	tokens, ended := make(chan struct{}, 3), make(chan struct{})
	w.mu.Lock()
	w.tokens = tokens
	was := w.beside
	w.beside = true
	w.mu.Unlock()
	go func() {
		defer close(ended)
		for range tokens {
			time.Sleep(time.Duration(w.rng.IntN(4000)) * time.Microsecond)
			if w.rng.IntN(3) > 0 {
				w.gustOf()
			}
		}
	}()
	return func() {
		w.mu.Lock()
		w.tokens, w.beside = nil, was
		close(tokens)
		w.mu.Unlock()
		<-ended
	}
}

// admit remembers the tables of which the error of a step says that our constraint is
// left on them, with the statement that takes it away.
func (w *world) admit(err error) {
	left, ok := errors.AsType[*remediate.LeftError](err)
	if !ok {
		return
	}
	for _, m := range regexp.MustCompile(`ALTER TABLE (.+?) DROP CONSTRAINT IF EXISTS upkeep_bounds`).
		FindAllStringSubmatch(left.Detail, -1) {
		name := m[1]
		if i := strings.LastIndex(name, "ALTER TABLE "); i >= 0 { // of a statement before it
			name = name[i+len("ALTER TABLE "):]
		}
		var oid *int64
		if err := w.conn.QueryRow(context.Background(), "select to_regclass($1)::oid::int8", name).
			Scan(&oid); err != nil {
			w.t.Fatal(err)
		}
		if oid != nil {
			w.admitted[*oid] = true
		}
	}
}

// end counts how a run has ended. What is neither nil nor a refusal is a fault, which
// an engine tries again.
func (w *world) end(a act, err error) {
	w.admit(err)
	said := "done"
	switch refusal, refused := remediate.Refused(err); {
	case errors.Is(err, errHangs) || errors.Is(err, context.DeadlineExceeded):
		w.t.Errorf("seed %d: %s: %v", w.seed, a.name, err)
		said = "hangs"
	case refused:
		said = "refused: " + refusal.Reason
	case errors.Is(err, remediate.ErrGone):
		said = "gone"
	case err != nil:
		said = "fault: " + regexp.MustCompile(`[0-9]+`).ReplaceAllString(err.Error(), "N")
	}
	w.tally.ended[a.name+": "+said[:min(len(said), 150)]]++
}
