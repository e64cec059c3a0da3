package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// A pause is an address of a server that holds back, once, what a client says when it
// has a text in it for the nth time, and does something else first.
type pause struct {
	text string
	nth  int
	do   func()

	mu   sync.Mutex
	seen int
	done bool
}

func (p *pause) listen(t *testing.T, to string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nothing is left to be written
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			s, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close() // the client sees that nothing answers
				continue
			}
			go p.forward(s, c)
			go func() {
				_, _ = io.Copy(c, s) // its end is the connection's
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func (p *pause) forward(to, from net.Conn) {
	defer func() { _ = to.Close() }() // both ends see it
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if bytes.Contains(buffer[:n], []byte(p.text)) {
			p.mu.Lock()
			if p.seen++; p.seen == p.nth {
				p.do()
				p.done = true
			}
			p.mu.Unlock()
		}
		if _, write := to.Write(buffer[:n]); err != nil || write != nil {
			return
		}
	}
}

// exchanges are what somebody does while pg_repack has no lock of the table, or one that
// does not hinder it, and where rows are afterwards.
func exchanges() map[string]struct{ do, tables string } {
	return map[string]struct{ do, tables string }{
		"columns exchanged": {"alter table ev.ev add column x text; update ev.ev set x = note; alter table " +
			"ev.ev drop column note; alter table ev.ev rename x to note", "ev.leaf"},
		"column added and dropped": {"alter table ev.ev add column more int; update ev.ev set more = 1; alter table " +
			"ev.ev drop column more", "ev.leaf"},
		"leaf exchanged": {"alter table ev.ev detach partition ev.leaf; alter table ev.leaf rename to old; " +
			"create table ev.leaf (like ev.old including all); insert into ev.leaf select i, 'new' from " +
			"generate_series(1, 500) i; alter table ev.ev attach partition ev.leaf for values from (0) to (1000000)",
			"ev.old ev.leaf"},
		"renamed and made anew": {"alter table ev.leaf rename to old; create table ev.leaf (like ev.old including " +
			"all); insert into ev.leaf select i, 'new' from generate_series(1, 500) i", "ev.old ev.leaf"},
		"schema exchanged": {"alter schema ev rename to was; create schema ev; create table ev.leaf (like " +
			"was.leaf including all); insert into ev.leaf select i, 'new' from generate_series(1, 500) i",
			"was.leaf ev.leaf"},
		"trigger off for a while": {"alter table ev.leaf disable trigger repack_trigger; update ev.leaf set note = " +
			"'unseen' where id % 2 = 0; alter table ev.leaf enable always trigger repack_trigger", "ev.leaf"},
	}
}

// What somebody does to the table while pg_repack does not exclude it costs no row and no
// value: the files are not changed, and nothing is left that would fail a write.
func TestPgRepackBesideDefinitions(t *testing.T) {
	t.Parallel()
	s := own(t, "", nil)
	servertest.Exec(t, s.URL, "create extension pg_repack")
	for moment, m := range map[string]struct {
		text  string
		nth   int
		only  string
		until string // what is committed by then
	}{
		"before it looks up the name": {text: "FROM repack.tables", nth: 1, only: "renamed"},
		"before its first lock":       {text: "IN ACCESS EXCLUSIVE MODE", nth: 1, only: "columns leaf"},
		"between its first two locks": {text: "IN ACCESS SHARE MODE", nth: 1,
			until: "select count(*) from pg_trigger where tgname = 'repack_trigger'"},
		"while it copies":      {text: "INSERT INTO repack.table_", nth: 1, only: "trigger"},
		"before its last lock": {text: "IN ACCESS EXCLUSIVE MODE", nth: 2, only: "schema"},
	} {
		for name, exchange := range exchanges() {
			if kind, _, _ := strings.Cut(name, " "); m.only != "" && !strings.Contains(m.only, kind) {
				continue
			}
			t.Run(name+" "+moment, func(t *testing.T) {
				servertest.Exec(t, s.URL, "drop schema if exists ev, was cascade", "create schema ev",
					"create table ev.ev (id int not null, note text, primary key (id)) partition by range (id)",
					"create table ev.leaf partition of ev.ev for values from (0) to (1000000) with "+
						"(autovacuum_enabled = off)",
					"insert into ev.ev select i, md5(i::text) from generate_series(1, 10000) i",
					"delete from ev.ev where id <= 7500", "vacuum (analyze, truncate off) ev.leaf")
				straight := serverClinic(t, s.URL)
				before := make(map[string]string)
				p := &pause{text: m.text, nth: m.nth, do: func() {
					if m.until != "" {
						straight.until(t, moment, m.until)
					}
					for sql := range strings.SplitSeq(exchange.do, "; ") {
						servertest.Exec(t, s.URL, sql)
					}
					for table := range strings.FieldsSeq(exchange.tables) {
						before[table] = straight.digest(t, table)
					}
				}}
				u, err := url.Parse(s.URL)
				if err != nil {
					t.Fatal(err)
				}
				u.Host = p.listen(t, fmt.Sprintf("127.0.0.1:%d", s.Port))
				c := serverClinic(t, u.String())
				action := postgres.Repack(c.server)
				plan, err := action.Plan(t.Context(), remediate.Request{Action: action.Name,
					Subject: map[string]string{"server": "main", "database": "postgres", "schema": "ev",
						"table": "leaf"}})
				if err != nil {
					t.Fatal(err)
				}
				wants(t, plan, "the way is pg_repack")
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				err = action.Apply(ctx, remediate.Fence{Token: 1, Held: held}, plan.Steps[0])
				if !p.done || !refusedFor(err, remediate.ReasonChanged, "") {
					t.Errorf("%v, want a refusal that says what changed", err)
				}
				t.Log(err)
				for table, was := range before {
					if now := straight.digest(t, table); now != was {
						t.Errorf("the rows of %s were %s and are %s", table, was, now)
					}
					servertest.Exec(t, s.URL, "update "+table+" set note = note where id = 8000")
				}
				if left := straight.remains(t); left != "" {
					t.Errorf("left behind: %s", left)
				}
			})
		}
	}
}

// digest is the content of a table, whatever the order of its columns' numbers.
func (c *fixture) digest(t *testing.T, table string) string {
	t.Helper()
	return c.text(t, "select count(*) || ' ' || coalesce(md5(string_agg(concat_ws(' ', id, coalesce(note, '-')), ',' "+
		"order by id)), '') from "+table)
}
