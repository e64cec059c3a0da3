package actions_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/common/model"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ai-micro-service/upkeep/remediate"
)

// commands are the words of the scenarios.
//
//	sql [-as ROLE] [-on TARGET] STATEMENT|FILE.sql…   run statements, each on its own; as the superuser, on main
//	session NAME STATEMENT…                           the same in a session that stays open
//	session NAME close                                end it
//	configure FILE                                    work by these policies and windows
//	as ROLE                                           the engine works as this role on main
//	alert NAME [label=value]…                         the alert fires; limit= and expr= are its annotations
//	archive TABLE KEY=VALUE…                          rows of the table age; to.table=NAME, purge=true and the like
//	ask ACTION [label=value]… [with.PARAM=value]…     a person asks for an action; limit=, mode=
//	want [RUN] STATE [REASON]                         the run, or the last one, comes to that state
//	says [RUN] TEXT…                                  its story has each of the texts
//	runs N                                            there are so many runs
//	approve, reject                                   what a person says to the last run
//	notified ask|page|tell TEXT…                      a notification has these words
//	clock DURATION|at HH:MM                           so much time passes
//	value QUERY WANT                                  the query's answer comes to be that
//	keep QUERY…; kept                                 what is answered now is answered later too
//
// Those of servers are in servers_test.go.
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	all := make(map[string]func(*testscript.TestScript, bool, []string))
	for name, do := range map[string]func(*testscript.TestScript, *harness, []string) error{
		"sql": sql, "session": session, "configure": configure, "as": actAs, "alert": alert, "ask": ask, "want": want,
		"says": says,
		"runs": runs, "approve": approve, "reject": reject, "notified": notified, "clock": clock, "value": value,
		"keep": keep, "kept": kept,
		"server": server, "standby": standby, "halt": halt, "start": start, "redis": redisServer, "cli": redisCLI,
		"archive": archiveRows, "disk": disk, "engine": dockerEngine, "image": dockerImage, "has": dockerHas,
		"psql": psqlFile,
	} {
		all[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			h, ok := ts.Value(houseKey{}).(*harness)
			if !ok {
				ts.Fatalf("there is no harness")
			}
			err := do(ts, h, args)
			if neg && err == nil {
				ts.Fatalf("%s %s did not fail", name, strings.Join(args, " "))
			}
			if !neg {
				ts.Check(err)
			}
		}
	}
	return all
}

// flags takes -name value pairs from the front of the arguments.
func flags(args []string) (map[string]string, []string) {
	all := make(map[string]string)
	for len(args) >= 2 && len(args[0]) > 1 && args[0][0] == '-' {
		all[args[0][1:]] = args[1]
		args = args[2:]
	}
	return all, args
}

// statements are those of arguments and files, which end with a semicolon at the
// end of a line.
func statements(ts *testscript.TestScript, args []string) (all []string) {
	for _, arg := range args {
		if !strings.HasSuffix(arg, ".sql") {
			all = append(all, arg)
			continue
		}
		for s := range strings.SplitSeq(ts.ReadFile(arg), ";\n") {
			if s = strings.TrimSpace(s); s != "" {
				all = append(all, s)
			}
		}
	}
	return all
}

// url is where a command's statements go.
func (h *harness) url(set map[string]string) (string, error) {
	on := set["on"]
	if on == "" {
		on = "main"
	}
	raw, ok := h.urls[on]
	if !ok {
		return "", fmt.Errorf("there is no target %q", on)
	}
	role := set["as"]
	if role == "" {
		role = "upkeep" // the superuser, for every engine
	}
	return as(raw, role)
}

func sql(ts *testscript.TestScript, h *harness, args []string) error {
	set, args := flags(args)
	u, err := h.url(set)
	if err != nil {
		return err
	}
	return execute(context.Background(), u, statements(ts, args)...)
}

func session(ts *testscript.TestScript, h *harness, args []string) error {
	set, args := flags(args)
	name, ctx := args[0], context.Background()
	c := h.sessions[name]
	if slices.Equal(args[1:], []string{"close"}) {
		delete(h.sessions, name)
		return c.Close(ctx)
	}
	if c == nil {
		u, err := h.url(set)
		if err == nil {
			c, err = pgx.Connect(ctx, u)
		}
		if err != nil {
			return err
		}
		h.sessions[name] = c
	}
	for _, s := range statements(ts, args[1:]) {
		if _, err := c.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// ignore is for what may have ended by itself.
func ignore(error) error { return nil }

func configure(ts *testscript.TestScript, h *harness, args []string) error {
	return h.configure(ts.ReadFile(args[0]))
}

func actAs(_ *testscript.TestScript, h *harness, args []string) (err error) {
	if h.urls["main"], err = as(h.urls["main"], args[0]); err != nil {
		return err
	}
	return h.configure(h.text)
}

// archiveRows says which rows of a table of main are past their age, as the
// configuration does.
func archiveRows(_ *testscript.TestScript, h *harness, args []string) error {
	one := map[string]any{"database": h.database, "table": args[0]}
	to := make(map[string]any)
	for _, arg := range args[1:] {
		k, v, _ := strings.Cut(arg, "=")
		switch name, ok := strings.CutPrefix(k, "to."); {
		case ok:
			to[name] = v
		case v == "true":
			one[k] = true
		default:
			one[k] = v
		}
	}
	if len(to) > 0 {
		one["to"] = to
	}
	h.archives = append(h.archives, one)
	return h.configure(h.text)
}

// pairs are key=value arguments. Of a subject, the server and the database are
// the scenario's where nothing else is said.
func (h *harness) pairs(args []string) (map[string]string, error) {
	all := map[string]string{"server": "main", "database": h.database, "schema": "public"}
	for _, arg := range args {
		k, v, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("%q: want key=value", arg)
		}
		all[k] = v
	}
	return all, nil
}

// alert delivers an alert as Alertmanager would, with the annotations of its rule.
func alert(_ *testscript.TestScript, h *harness, args []string) error {
	labels, err := h.pairs(args[1:])
	if err != nil {
		return err
	}
	rule := h.known[args[0]]
	a := remediate.Alert{
		Source: "alertmanager", Firing: true, StartsAt: time.UnixMilli(1000).UTC(), Labels: labels,
		Annotations: map[string]string{"limit": rule.Annotations["limit"], "summary": rule.Annotations["summary"]},
	}
	if limit, ok := labels["limit"]; ok {
		a.Annotations["limit"] = limit
		delete(labels, "limit")
	}
	if labels["firing"] == "false" {
		a.Firing = false
	}
	delete(labels, "firing")
	labels["alertname"] = args[0]
	h.refused = nil
	if last, err := h.run(context.Background(), 0); err == nil {
		h.floor = last.ID
	}
	return h.inbox.Accept(context.Background(), []remediate.Alert{a})
}

// ask makes a run as a person does.
func ask(_ *testscript.TestScript, h *harness, args []string) error {
	labels, err := h.pairs(args[1:])
	if err != nil {
		return err
	}
	r := remediate.Request{
		Key: fmt.Sprintf("user/%d", h.now().UnixNano()), Action: args[0], Mode: remediate.Auto, By: "user/ann",
		Subject: make(map[string]string), Params: make(map[string]string),
	}
	if text, ok := labels["limit"]; ok {
		limit, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return err
		}
		r.Limit = &limit
	}
	if mode, ok := labels["mode"]; ok {
		r.Mode = remediate.Mode(mode)
	}
	if w, ok := labels["window"]; ok {
		r.Terms.Windows = []string{w}
	}
	for k, v := range labels {
		if name, ok := strings.CutPrefix(k, "with."); ok {
			r.Params[name] = v
		}
	}
	known := []string{"limit", "mode", "window"}
	i := slices.IndexFunc(h.actions, func(a remediate.Action) bool { return a.Name == args[0] })
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		given := slices.ContainsFunc(args[1:], func(arg string) bool { return strings.HasPrefix(arg, k+"=") })
		if strings.HasPrefix(k, "with.") || slices.Contains(known, k) || !given &&
			(i < 0 || !slices.Contains(h.actions[i].Subject, k)) {
			continue
		}
		r.Subject[k] = labels[k]
	}
	h.refused = nil
	run, err := h.engine.Request(context.Background(), r)
	if refusal, ok := remediate.Refused(err); ok {
		h.refused = refusal
		return nil
	}
	h.floor = run.ID - 1
	return err
}

// number takes the number of a run from the front of the arguments.
func number(args []string) (int64, []string) {
	if n, err := strconv.ParseInt(args[0], 10, 64); err == nil {
		return n, args[1:]
	}
	return 0, args
}

func want(_ *testscript.TestScript, h *harness, args []string) error {
	id, args := number(args)
	state := remediate.State(args[0])
	ctx := context.Background()
	if !slices.Contains(remediate.States(), state) {
		return fmt.Errorf("there is no state %q", state)
	}
	if h.refused != nil && id == 0 {
		if state != remediate.StoppedBy(h.refused.Reason) || len(args) > 1 && args[1] != h.refused.Reason {
			return fmt.Errorf("refused at once: %w", h.refused)
		}
		return nil
	}
	var run remediate.Run
	var ended time.Time
	err := until(func() (err error) {
		h.engine.Wake()
		if run, err = h.run(ctx, id); err != nil {
			return err
		}
		if run.State != state || len(args) > 1 && run.Reason != args[1] {
			err = fmt.Errorf("run %d is %s (%s), want %s", run.ID, run.State, run.Reason, strings.Join(args, " "))
			if run.State.Ended() && ended.IsZero() {
				ended = time.Now()
			}
			if run.State.Ended() && time.Since(ended) > another {
				return neverError{err}
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, h.story(ctx, run))
	}
	return nil
}

// another is how long it may take until the next run of a chain is there.
const another = 5 * time.Second

// neverError says that nothing remains to wait for.
type neverError struct{ error }

func says(_ *testscript.TestScript, h *harness, args []string) error {
	id, args := number(args)
	ctx := context.Background()
	if h.refused != nil && id == 0 {
		return has(h.refused.Error(), args)
	}
	var story string
	return until(func() error {
		run, err := h.run(ctx, id)
		if err != nil {
			return err
		}
		story = h.story(ctx, run)
		return has(story, args)
	})
}

func has(text string, parts []string) error {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return fmt.Errorf("%q is not said in:\n%s", part, text)
		}
	}
	return nil
}

func runs(_ *testscript.TestScript, h *harness, args []string) error {
	all, err := h.journal.Recent(context.Background(), 0, 1000)
	if err == nil && strconv.Itoa(len(all)) != args[0] {
		err = fmt.Errorf("there are %d runs, want %s", len(all), args[0])
	}
	return err
}

func approve(_ *testscript.TestScript, h *harness, args []string) error {
	ctx := context.Background()
	if err := want(nil, h, append(args, string(remediate.AwaitingApproval))); err != nil {
		return err
	}
	id, _ := number(append(args, string(remediate.AwaitingApproval)))
	run, err := h.run(ctx, id)
	if err != nil {
		return err
	}
	err = h.journal.Approve(ctx, run.ID, run.Plan.Question(), "ann", "", h.now().Add(24*time.Hour))
	h.engine.Wake()
	return err
}

func reject(_ *testscript.TestScript, h *harness, args []string) error {
	ctx := context.Background()
	if err := want(nil, h, append(args, string(remediate.AwaitingApproval))); err != nil {
		return err
	}
	run, err := h.run(ctx, 0)
	if err != nil {
		return err
	}
	err = h.journal.Reject(ctx, run.ID, run.Plan.Question(), "ann", "not today")
	h.engine.Wake()
	return err
}

func notified(_ *testscript.TestScript, h *harness, args []string) error {
	return until(func() error {
		h.engine.Wake()
		all, err := h.notifications(context.Background(), remediate.NotificationKind(args[0]))
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, n := range all {
			fmt.Fprintln(&b, n.Title, "\n", n.Text)
		}
		if len(all) == 0 {
			return errors.New("no notification was sent")
		}
		return has(b.String(), args[1:])
	})
}

func clock(_ *testscript.TestScript, h *harness, args []string) error {
	if args[0] == "at" {
		hour, err := time.Parse("15:04", args[1])
		if err != nil {
			return err
		}
		now := h.now().UTC()
		next := time.Date(now.Year(), now.Month(), now.Day(), hour.Hour(), hour.Minute(), 0, 0, time.UTC)
		if !next.After(now) {
			next = next.Add(24 * time.Hour)
		}
		h.skip(next.Sub(now))
		return nil
	}
	d, err := model.ParseDuration(args[0])
	if err == nil {
		h.skip(time.Duration(d))
	}
	return err
}

// ask one value of a target.
func (h *harness) one(set map[string]string, query string) (answer string, err error) {
	ctx := context.Background()
	u, err := h.url(set)
	if err != nil {
		return "", err
	}
	c, err := pgx.Connect(ctx, u)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close(ctx) }() // read only
	err = c.QueryRow(ctx, "select coalesce(("+query+")::text, 'null')").Scan(&answer)
	return answer, err
}

func value(_ *testscript.TestScript, h *harness, args []string) error {
	set, args := flags(args)
	return until(func() error {
		got, err := h.one(set, args[0])
		if err == nil && got != args[1] {
			err = fmt.Errorf("%s: %s, want %s", args[0], got, args[1])
		}
		return err
	})
}

func keep(_ *testscript.TestScript, h *harness, args []string) error {
	for _, query := range args {
		got, err := h.one(nil, query)
		if err != nil {
			return err
		}
		h.kept = append(h.kept, [2]string{query, got})
	}
	return nil
}

func kept(_ *testscript.TestScript, h *harness, _ []string) error {
	if len(h.kept) == 0 {
		return errors.New("nothing was kept")
	}
	for _, k := range h.kept {
		got, err := h.one(nil, k[0])
		if err != nil {
			return err
		}
		if got != k[1] {
			return fmt.Errorf("%s is %s, and was %s", k[0], got, k[1])
		}
	}
	return nil
}
