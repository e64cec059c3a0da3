package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

// pictures is where the pictures of README and docs are written, "make pictures" says it.
var pictures = flag.String("pictures", "", "the folder of the pictures") //nolint:gochecknoglobals // a flag

// picture takes one of the page that is open.
func (d *desk) picture(t *testing.T, name string) {
	t.Helper()
	if *pictures == "" {
		return
	}
	d.browser.Window(1100, 700, "light")
	if err := os.WriteFile(filepath.Join(*pictures, name+".png"), d.browser.Shot(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A desk is an upkeep with a PostgreSQL, and a person before its console.
type desk struct {
	site
	conn    *pgx.Conn
	browser *servertest.Browser
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{site: site{dir: t.TempDir(), address: freeAddress(t)}}
	d.postgres, d.database = servertest.Database(t)
	var prepare []string
	for table, rows := range map[string]int{"approved": 500, "rejected": 500, "slow": 50000, "demoted": 500,
		"paused": 500} {
		prepare = append(prepare, "create table "+table+" (id int) with (autovacuum_enabled = off)",
			fmt.Sprintf("insert into %s select generate_series(1, %d)", table, rows),
			"delete from "+table+" where id % 2 = 0")
	}
	servertest.Exec(t, d.postgres, append(prepare, "select pg_stat_force_next_flush()")...)
	write(t, filepath.Join(d.dir, "upkeep.yaml"), fmt.Sprintf(`data_dir: data
web: {listen: %q}
targets: {postgres: [{name: main, url: %q}]}
embedded: {enabled: false}
policies:
- {name: dead rows, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum, mode: ask}
- {name: by itself, match: ['alertname="DeadRowsOfApp"'], action: postgres/vacuum, mode: auto, limit: 0.2}
`, d.address, d.postgres))
	spawn(t, d.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	d.awaitReady(t)
	var err error
	if d.conn, err = pgx.Connect(t.Context(), d.postgres); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.conn.Close(t.Context()) }) // the database is dropped anyway
	d.browser = servertest.StartBrowser(t)
	status, text := try(t, "POST", d.address, console.Prefix+"/logins", "{}", with("Authorization", "Bearer "+adminToken))
	var link portal.LoginLink
	if err := json.Unmarshal([]byte(text), &link); err != nil || status != http.StatusOK {
		t.Fatal(status, text)
	}
	d.browser.Open(link.URL)
	d.browser.Click("main form button.good")
	return d
}

// subject is a table as a label set.
func (d *desk) subject(table string) map[string]string {
	return map[string]string{"server": "main", "database": d.database, "schema": "public", "table": table}
}

// fires has the alert of a table delivered, and waits for the run that asks.
func (d *desk) fires(t *testing.T, table string, run int64) {
	t.Helper()
	d.alert(t, "PostgresDeadRows", table)
	d.awaits(t, run, remediate.AwaitingApproval)
}

// alert has an alert of a table delivered.
func (d *desk) alert(t *testing.T, name, table string) {
	t.Helper()
	labels := d.subject(table)
	labels["alertname"], labels["severity"] = name, "warning"
	text, err := json.Marshal(map[string]any{"version": "4", "alerts": []any{map[string]any{"status": "firing",
		"startsAt": "2026-01-01T00:00:00Z", "labels": labels, "annotations": map[string]string{
			"summary": "half of the rows of " + table + " are dead"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if status, said := try(t, "POST", d.address, "/webhook/alertmanager", string(text),
		with("Authorization", "Bearer "+adminToken)); status != http.StatusOK {
		t.Fatal(status, said)
	}
}

// awaits waits until a run is in a state.
func (d *desk) awaits(t *testing.T, run int64, state remediate.State) (details console.RunDetails) {
	t.Helper()
	servertest.Eventually(t, fmt.Sprintf("run %d is %s", run, state), func() error {
		err := d.get(fmt.Sprint("/runs/", run), &details)
		if err == nil && details.Run.State != state {
			err = fmt.Errorf("it is %s: %s", details.Run.State, details.Run.Why)
		}
		return err
	})
	return details
}

// shows waits until the open page says something, without being loaded again.
func (d *desk) shows(t *testing.T, selector, text string) {
	t.Helper()
	servertest.Eventually(t, "the page shows "+text, func() error {
		if is := d.browser.Value(fmt.Sprintf("document.querySelector(%q)?.innerText", selector)); !strings.Contains(is, text) {
			return fmt.Errorf("it shows %s", is)
		}
		return nil
	})
}

// said reports whether the journal of a run has a note with a reason, by who has logged in.
func said(details console.RunDetails, note remediate.Note, why string) bool {
	for _, e := range details.Entries {
		if e.Note == note && strings.HasPrefix(e.By, "token/") && strings.Contains(e.Why, why) {
			return true
		}
	}
	return false
}

// vacuumed returns how often a table was vacuumed.
func (d *desk) vacuumed(t *testing.T, table string) (n int) {
	t.Helper()
	if err := d.conn.QueryRow(t.Context(), "select vacuum_count from pg_stat_all_tables where relname = $1",
		table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A person approves a run with the mouse on the first page, rejects one with the keyboard and without
// JavaScript, sees a VACUUM begin on the page that is open, cancels it, and retries it; each is carried out on
// PostgreSQL and journalled with the reason. Then a policy is demoted, promoted, paused and resumed.
func TestConsoleClicked(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	b, home := d.browser, "http://"+d.address
	d.fires(t, "approved", 1)
	b.Open(home + "/")
	for _, want := range []string{"policy dead rows", "run 1", "waits for a person who may approve"} {
		d.shows(t, "#firing", want)
	}
	d.picture(t, "now")
	b.Fill("#why-1", "the table is small")
	b.Click("#asks button[value=approve]")
	if details := d.awaits(t, 1, remediate.Resolved); !said(details, remediate.NoteApproved, ": the table is small") {
		t.Errorf("%+v", details.Entries)
	}
	servertest.Eventually(t, "the table is vacuumed", func() bool { return d.vacuumed(t, "approved") == 1 })
	d.shows(t, "#sums", "0\nto approve")

	d.fires(t, "rejected", 2)
	b.Scripts(false)
	b.Open(home + "/runs/2")
	b.Fill("#why-2", "it is dropped tonight")
	b.Press(true, "Tab", "Tab", "Enter")
	if details := d.awaits(t, 2, remediate.Rejected); !said(details, remediate.NoteRejected, "it is dropped tonight") {
		t.Errorf("%+v", details.Entries)
	}
	b.Scripts(true)

	servertest.Exec(t, d.postgres, "alter database "+d.database+" set vacuum_cost_delay = '100ms'",
		"alter database "+d.database+" set vacuum_cost_limit = 1")
	if err := d.conn.QueryRow(t.Context(), "select 1").Scan(new(int)); err != nil {
		t.Fatal(err)
	}
	b.Open(home + "/runs?state=active")
	b.Value("window.kept = 'kept'")
	ask, err := json.Marshal(console.Ask{Action: "postgres/vacuum", Subject: d.subject("slow"), Key: "by hand"})
	if err != nil {
		t.Fatal(err)
	}
	if status, text := try(t, "POST", d.address, console.Prefix+"/runs", string(ask), with("Authorization",
		"Bearer "+adminToken)); status != http.StatusAccepted {
		t.Fatal(status, text)
	}
	d.shows(t, "#runs", "allowed") // live
	if b.Value("window.kept") != "kept" {
		t.Error("the page was loaded again")
	}
	b.Open(home + "/runs/3")
	d.shows(t, "#plan", "running")
	b.Fill("#cancel-3", "it is too slow")
	b.Click("#decide button")
	details := d.awaits(t, 3, remediate.Cancelled)
	if n := d.vacuumed(t, "slow"); !said(details, remediate.NoteCancel, "it is too slow") || n != 0 {
		t.Errorf("vacuumed %d times, %+v", n, details.Entries)
	}
	servertest.Eventually(t, "no VACUUM runs", func() error {
		var n int
		err := d.conn.QueryRow(t.Context(), "select count(*) from pg_stat_progress_vacuum where datname = current_database()").
			Scan(&n)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d run", n)
		}
		return err
	})

	servertest.Exec(t, d.postgres, "alter database "+d.database+" reset vacuum_cost_delay",
		"alter database "+d.database+" reset vacuum_cost_limit")
	d.shows(t, "#again", "Retry")
	b.Fill("#retry-3", "nothing else runs now")
	b.Click("#again button")
	if at := b.Value("location.pathname"); at != "/runs/4" {
		t.Fatalf("the retry leads to %s: %s", at, b.Value("document.body.innerText"))
	}
	b.Value("window.kept = 'kept'")
	d.awaits(t, 4, remediate.Resolved)
	d.shows(t, "#head [role=status]", "resolved") // live
	d.picture(t, "run")
	servertest.Eventually(t, "the table is vacuumed", func() bool { return d.vacuumed(t, "slow") == 1 })
	if b.Value("window.kept") != "kept" {
		t.Error("the page was loaded again")
	}
	d.governs(t, 5)
	d.settings(t)
	for _, wrong := range b.Wrong(home) {
		if !strings.Contains(wrong, "about:blank") {
			t.Error(wrong)
		}
	}
}

// opens opens a part of the page that can be opened, with the keyboard.
func (d *desk) opens(t *testing.T, id string) {
	t.Helper()
	d.browser.Value(fmt.Sprintf("document.querySelector('#%s summary').focus()", id))
	d.browser.Press(false, "Enter")
	if d.browser.Value(fmt.Sprintf("document.getElementById(%q).open", id)) != "true" {
		t.Fatalf("%s does not open", id)
	}
}

// governs demotes a policy with the mouse, promotes it with the keyboard and without JavaScript, pauses and resumes
// it: its run asks, acts, waits and acts again. next is the number of the next run.
func (d *desk) governs(t *testing.T, next int64) {
	t.Helper()
	b, page := d.browser, "http://"+d.address+"/policies/by%20itself"
	b.Open(page)
	d.opens(t, "to-demote")
	b.Fill("#why-demote", "the storage is slow")
	b.Click("#to-demote button")
	d.shows(t, "#head", "its runs need approval")
	d.alert(t, "DeadRowsOfApp", "demoted")
	if r := d.awaits(t, next, remediate.AwaitingApproval).Run; !strings.Contains(r.Why, "the storage is slow") {
		t.Errorf("it asks because %s", r.Why)
	}
	b.Scripts(false)
	b.Open(page)
	d.opens(t, "to-promote")
	b.Fill("#why-promote", "it is fast again")
	b.Press(true, "Tab", "Enter")
	d.awaits(t, next, remediate.Resolved)
	b.Scripts(true)
	if n := d.vacuumed(t, "demoted"); n != 1 {
		t.Errorf("vacuumed %d times", n)
	}
	b.Open(page)
	d.opens(t, "to-pause")
	b.Fill("#why-pause", "a migration runs")
	b.Click("#to-pause button")
	d.shows(t, "#head", "a migration runs")
	d.alert(t, "DeadRowsOfApp", "paused")
	if r := d.awaits(t, next+1, remediate.Waiting).Run; r.Reason != remediate.ReasonPause {
		t.Errorf("it waits because %s", r.Why)
	}
	d.opens(t, "to-resume")
	b.Fill("#why-resume", "it is over")
	b.Click("#to-resume button")
	d.awaits(t, next+1, remediate.Resolved)
	if n := d.vacuumed(t, "paused"); n != 1 {
		t.Errorf("vacuumed %d times", n)
	}
	d.shows(t, "#runs", "resolved")
	var log []remediate.Entry
	if err := d.get("/journal?limit=100", &log); err != nil {
		t.Fatal(err)
	}
	for note, why := range map[remediate.Note]string{remediate.NoteDemoted: "the storage is slow",
		remediate.NotePromoted: "it is fast again", remediate.NotePaused: "policy/by itself: a migration runs",
		remediate.NoteResumed: "policy/by itself: it is over"} {
		if !said(console.RunDetails{Entries: log}, note, why) {
			t.Errorf("the journal has no entry %s because of %q: %+v", note, why, log)
		}
	}
}

// settings follows the links to the settings, to the rights that are missing on the server, and to the journal, and
// has it verified.
func (d *desk) settings(t *testing.T) {
	t.Helper()
	b := d.browser
	b.Click(`nav a[href="/settings"]`)
	d.shows(t, "#targets", "answers")
	d.shows(t, "#collectors", "postgres/")
	b.Click(`a[href="/settings/rights"]`)
	d.shows(t, "main", "superuser") // as which the test logs in
	b.Click(`nav a[href="/journal"]`)
	d.shows(t, "#entries", "nothing else runs now")
	b.Click("#filter form.line button")
	d.shows(t, "#filter", "journal OK: ")
	b.Click(`nav a[href="/reports"]`)
	d.shows(t, "#reports", "No report yet")
}
