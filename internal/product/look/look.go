package look

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/collectors/postgres/serverlog"
	"github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// fresh is how long a report is shown again: many who look at once are one look.
	fresh = 3 * time.Second

	// askedFor is how long the answers to the look's own queries are used again.
	askedFor = 20 * time.Second

	// patience is how long the queries to one target may take. What has not answered by then is not known.
	patience = 15 * time.Second

	// loggedFor is the same for what a server's own log says, which may be megabytes.
	loggedFor = time.Minute

	// comparedFor is the same for how statements compare with the week before, which reads more.
	comparedFor = 5 * time.Minute

	// filled is how long Prometheus may take to say what fills up, and what takes longer.
	filled = 2 * time.Second

	// warming is how long a Prometheus that has just begun may take longer: it reads what it has kept.
	warming = time.Minute

	// alive is how long a target may take to say that it is there. What has not answered by then may be busy.
	alive = 2 * time.Second
)

// A Looker looks at the targets in force.
type Looker struct {
	scraper *scrape.Scraper
	metrics Prometheus
	targets atomic.Pointer[target.Set]
	turn    chan struct{} // held by who looks; what follows is its

	last    Report
	answers map[any]answer // by the target, or by what is asked
	asked   time.Time      // when Prometheus was asked first
}

// Prometheus returns the Prometheus that is asked what fills up, or nil where none is configured, and whether it has
// begun.
type Prometheus func() (p forecast.Asker, ready bool)

// An answer is what the queries of a look have read of a target.
type answer struct {
	at       time.Time
	postgres Postgres
	redis    *redis.Usage
	forecast []forecast.Row
	changed  []Changed
	log      *serverlog.Report
	unknown  []Unknown
	down     string // why it does not answer now
	pending  bool   // it has not answered yet
}

// New returns a Looker without targets. It starts nothing.
func New(s *scrape.Scraper, metrics Prometheus) *Looker {
	l := &Looker{scraper: s, metrics: metrics, turn: make(chan struct{}, 1), answers: make(map[any]answer)}
	l.targets.Store(&target.Set{})
	return l
}

// Use sets the targets that are asked.
func (l *Looker) Use(s target.Set) { l.targets.Store(&s) }

// Look returns what is wrong with the targets, the worst first. It reads what the collectors have read last,
// and asks what none reads, at most once in 20 seconds for all who look. What cannot be
// read is in the report as not known.
func (l *Looker) Look(ctx context.Context) (Report, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return Report{}, context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	if time.Since(l.last.At) < fresh {
		return l.last, nil
	}
	// Who asked first may go: the others wait for the same.
	r, err := l.look(context.WithoutCancel(ctx))
	if err == nil {
		l.last = r
	}
	return r, err
}

func (l *Looker) look(ctx context.Context) (Report, error) {
	set := *l.targets.Load()
	states := states(l.scraper.Status())
	l.ask(ctx, set, states)
	filling, changing := l.answers[growing{}], l.answers[slowing{}]
	r := Report{At: time.Now().UTC(), Complete: !filling.pending && !changing.pending, Targets: []Seen{},
		Unknown: slices.Concat([]Unknown{}, filling.unknown, changing.unknown)}
	var all []Finding
	for _, p := range slices.SortedFunc(maps.Keys(states), place.compare) {
		state := states[p]
		readings, err := l.scraper.Read(p.server, wanted())
		if err != nil {
			return r, err
		}
		f := Facts{Server: p.server, Kind: p.kind, At: r.At, Down: l.down(p, set, state), Forecast: filling.forecast,
			Changed: changing.changed}
		if f.Figures, err = ParseFigures(readings); err != nil {
			return r, err
		}
		unknown := l.take(&f, set)
		list := finders(f.Kind)
		if f.Down != "" { // what was read before says nothing of now
			list = []finder{down}
		}
		found := f.find(list)
		all = append(all, found...)
		r.Targets = append(r.Targets, Seen{Server: p.server, Kind: p.kind, Findings: len(found),
			Pending: state.pending})
		r.Complete = r.Complete && len(state.pending) == 0 && f.Down == ""
		if f.Down == "" { // why it is down is a finding
			r.Unknown = append(r.Unknown, granted(once(append(state.unknown, unknown...)), f.Postgres)...)
		}
	}
	rank(all)
	r.Findings, r.Left = cut(all)
	return r, nil
}

// wanted reports which metrics are read.
func wanted() func(string) bool {
	all := make(map[string]bool)
	for _, m := range Metrics() {
		all[m] = true
	}
	return func(m string) bool { return all[m] }
}

// finders are those of a kind of target. One that does not answer has one finding.
func finders(kind string) []finder {
	switch kind {
	case "postgres":
		return slices.Concat([]finder{down}, postgresServer(), onPrimary(postgresObjects()),
			[]finder{changedStatements, growth})
	case "redis":
		return slices.Concat([]finder{down}, redisFinders(), []finder{growth})
	case "docker":
		return slices.Concat([]finder{down}, dockerFinders(), []finder{growth})
	case "host":
		return slices.Concat([]finder{down}, hostFinders(), []finder{growth})
	}
	return []finder{down}
}

func down(f Facts) []Finding {
	if f.Down == "" {
		return nil
	}
	evidence := []Evidence{{What: "answer", Value: f.Down, From: "collectors of " + f.Kind, At: f.At}}
	if loginRefused(f.Down) {
		return []Finding{{Kind: f.Kind + "/login_refused", Severity: severity(remediate.Warning), Harm: Care,
			Title: "it answers, and refuses the login of upkeep", Cost: "nothing else is known of it",
			Evidence: evidence, ByHand: "Check the user and the password of the target in the configuration."}}
	}
	return []Finding{{Kind: f.Kind + "/down", Severity: severity(remediate.Critical), Harm: Service,
		Title: "it does not answer", Cost: "what needs it fails, and nothing else is known of it",
		Evidence: evidence, ByHand: "Find out why before it is started again."}}
}

// loginRefused reports whether an error is the answer of a server that lets a client not in.
func loginRefused(text string) bool {
	for _, code := range []string{"NOAUTH", "WRONGPASS", "SQLSTATE 28"} {
		if strings.Contains(text, code) {
			return true
		}
	}
	return false
}

// A place is a target: those of two kinds may have one name, as a server and its backups.
type place struct{ server, kind string }

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.server, other.server), cmp.Compare(p.kind, other.kind))
}

// placeOf is the target of a collector. The logs are an engine's.
func placeOf(s scrape.Status) place {
	kind, _, _ := strings.Cut(s.Collector, "/")
	if kind == "logs" {
		kind = "docker"
	}
	return place{s.Server, kind}
}

// A state is how the collectors of a target do.
type state struct {
	down    string
	has     []string // its collectors
	pending []string
	unknown []Unknown
}

// away reports whether a target does not answer.
func (s *state) away() bool { return s != nil && s.down != "" }

// states sums up how the collectors of each target do.
func states(all []scrape.Status) map[place]*state {
	byPlace := make(map[place]*state)
	for _, s := range all {
		one := byPlace[placeOf(s)]
		if one == nil {
			one = new(state)
			byPlace[placeOf(s)] = one
		}
		one.down = cmp.Or(one.down, s.Down)
		switch {
		case s.At.IsZero():
			one.pending = append(one.pending, s.Collector)
		case s.Err != "":
			one.unknown = append(one.unknown, Unknown{Server: s.Server, What: s.Collector, Why: s.Err})
		}
		if s.Beyond > 0 {
			one.unknown = append(one.unknown, Unknown{Server: s.Server, What: s.Collector,
				Why: fmt.Sprintf("%d objects, the smallest, are beyond the limit of the collector: raise it in "+
					"collectors.settings", s.Beyond)})
		}
		one.has = append(one.has, s.Collector)
	}
	for p, one := range byPlace {
		for _, name := range Expected(p.kind) {
			if !slices.Contains(one.has, name) {
				one.unknown = append(one.unknown, Unknown{Server: p.server, What: name,
					Why: "the collector is disabled in the configuration"})
			}
		}
	}
	return byPlace
}

// The keys of what was asked of Prometheus, and of what is kept for another time than the rest of a target.
type (
	growing struct{}
	slowing struct{}
	logOf   struct{ *target.Postgres }
	lifeOf  struct{ target any }
)

// ask asks the targets at once what no collector does, and waits for all of them. One that does not answer is
// not waited for.
func (l *Looker) ask(ctx context.Context, set target.Set, states map[place]*state) {
	now := make(map[any]answer)
	var mu sync.Mutex
	var all sync.WaitGroup
	each := func(t any, kept time.Duration, read func(ctx context.Context) answer) {
		if last, known := l.answers[t]; known && time.Since(last.at) < kept {
			now[t] = last
			return
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %s", patience))
			defer cancel()
			a := read(ctx)
			a.at = time.Now()
			mu.Lock()
			defer mu.Unlock()
			now[t] = a
		})
	}
	mu.Lock()
	for _, t := range set.Postgres {
		if states[place{t.Name, "postgres"}].away() {
			continue
		}
		each(lifeOf{t}, 0, living(func(ctx context.Context) error { return livingPostgres(ctx, t) }))
		each(logOf{t}, loggedFor, func(ctx context.Context) (a answer) {
			a.log, a.unknown = readServerLog(ctx, t)
			return a
		})
		each(t, askedFor, func(ctx context.Context) (a answer) {
			a.postgres, a.unknown = askPostgres(ctx, t)
			return a
		})
	}
	for _, t := range set.Redis {
		if states[place{t.Name, "redis"}].away() {
			continue
		}
		each(lifeOf{t}, 0, living(func(ctx context.Context) error { return t.Client.Ping(ctx).Err() }))
		each(t, askedFor, func(ctx context.Context) answer { return askRedis(ctx, t) })
	}
	l.history(each)
	mu.Unlock()
	all.Wait()
	l.answers = now
}

func askRedis(ctx context.Context, t *target.Redis) (a answer) {
	u, err := redis.ReadMemory(ctx, t.Client)
	if err != nil {
		a.unknown = []Unknown{{Server: t.Name, What: "maxmemory and its policy", Why: err.Error()}}
		return a
	}
	a.redis = &u
	return a
}

// history asks Prometheus, if there is one.
func (l *Looker) history(each func(any, time.Duration, func(context.Context) answer)) {
	p, ready := l.metrics()
	switch {
	case p == nil:
		return
	case !ready:
		each(growing{}, 0, func(context.Context) answer { return answer{pending: true} })
		return
	case l.asked.IsZero():
		l.asked = time.Now()
	}
	warm := time.Since(l.asked) > warming
	each(slowing{}, comparedFor, history("which statements take longer than before", warm,
		func(ctx context.Context, a *answer) (err error) { a.changed, err = readChanged(ctx, p); return err }))
	each(growing{}, askedFor, history("what fills up", warm, func(ctx context.Context, a *answer) (err error) {
		a.forecast, err = forecast.Read(ctx, p, "", time.Time{})
		return err
	}))
}

// history reads something of a Prometheus. Where that fails it is not known; where the Prometheus has just begun
// and takes long, it is not read yet.
func history(what string, warm bool, read func(context.Context, *answer) error) func(context.Context) answer {
	return func(ctx context.Context) (a answer) {
		late := fmt.Errorf("no answer within %s", filled)
		ctx, cancel := context.WithTimeoutCause(ctx, filled, late)
		defer cancel()
		switch err := read(ctx, &a); {
		case err == nil:
		case !warm && errors.Is(context.Cause(ctx), late):
			a.pending = true
		default:
			a.unknown = []Unknown{{Server: "prometheus", What: what, Why: err.Error()}}
		}
		return a
	}
}

// living asks a target whether it is there. What takes long may be busy: that it is not there is not known then.
func living(ask func(context.Context) error) func(context.Context) answer {
	return func(ctx context.Context) (a answer) {
		ctx, cancel := context.WithTimeout(ctx, alive)
		defer cancel()
		err := ask(ctx)
		if err == nil || ctx.Err() != nil {
			return a
		}
		if why := target.Reason(err); why != target.ReasonOther && why != target.ReasonTimeout {
			a.down = err.Error()
		}
		return a
	}
}

func livingPostgres(ctx context.Context, t *target.Postgres) error {
	server, err := t.Server()
	if err != nil {
		return err
	}
	var one int
	return server.QueryRow(ctx, "select 1").Scan(&one)
}

// down says why a target does not answer: as the collectors saw it last, or now.
func (l *Looker) down(p place, set target.Set, s *state) string {
	if s.down != "" {
		return s.down
	}
	for _, t := range set.Postgres {
		if t.Name == p.server && p.kind == "postgres" {
			return l.answers[lifeOf{t}].down
		}
	}
	for _, t := range set.Redis {
		if t.Name == p.server && p.kind == "redis" {
			return l.answers[lifeOf{t}].down
		}
	}
	return ""
}

// once says each thing about a target that is not known once: a database that cannot be reached keeps many
// collectors from reading. Of several errors of one collector each is a line, and those that follow a tab are more of
// it.
func once(all []Unknown) (kept []Unknown) {
	type reason struct{ server, why, sql string }
	at, said := make(map[reason]int), make(map[reason][]string)
	for _, u := range all {
		for why := range strings.SplitSeq(strings.ReplaceAll(u.Why, "\n\t", " "), "\n") {
			key := reason{u.Server, strings.TrimSpace(why), u.SQL}
			if key.why == "" || slices.Contains(said[key], u.What) {
				continue
			}
			if said[key] = append(said[key], u.What); len(said[key]) == 1 {
				at[key] = len(kept)
				kept = append(kept, Unknown{Server: u.Server, Why: key.why, SQL: u.SQL})
			}
			kept[at[key]].What = strings.Join(said[key], ", ")
		}
	}
	return kept
}

// take puts what was asked of a target into its facts.
func (l *Looker) take(f *Facts, set target.Set) []Unknown {
	for _, t := range set.Postgres {
		if a := l.answers[t]; t.Name == f.Server && f.Kind == "postgres" {
			f.Postgres = a.postgres
			own := l.answers[logOf{t}]
			f.Postgres.Log = own.log
			return slices.Concat(a.unknown, own.unknown, unreadLog(t, own.log))
		}
	}
	for _, t := range set.Redis {
		if a := l.answers[t]; t.Name == f.Server && f.Kind == "redis" {
			f.Redis = a.redis
			return a.unknown
		}
	}
	return nil
}

// roles are those of PostgreSQL that show what others do not see, as errors name them.
func roles() []string {
	return []string{"pg_monitor", "pg_read_all_stats", "pg_read_all_data", "pg_read_all_settings",
		"pg_stat_scan_tables"}
}

// granted adds the statement that grants the right which an error names, where the server has such a role.
func granted(all []Unknown, p Postgres) []Unknown {
	for i := range all {
		for _, role := range roles() {
			there := role != "pg_read_all_data" || p.Version == 0 || p.Version >= since14
			if p.Role != "" && there && all[i].SQL == "" && strings.Contains(all[i].Why, "grant "+role+" to ") {
				all[i].SQL = "GRANT " + role + " TO " + pgx.Identifier{p.Role}.Sanitize() + ";"
			}
		}
	}
	return all
}

// since14 is the version that brought pg_read_all_data.
const since14 = 140000
