package servertest

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// idleFor is how long a session is kept that nothing uses: shorter than the five
// seconds for which the server waits for others when it drops or copies a database.
const idleFor = time.Second

// sessions are those that are idle, by their URL. To connect costs a server forty times
// what most statements cost that a test runs.
type sessions struct {
	mu   sync.Mutex
	keep bool
	idle map[string]*session
}

type session struct {
	*pgx.Conn
	end *time.Timer
}

var kept = sessions{idle: make(map[string]*session)} //nolint:gochecknoglobals // of a test process, as its server is

// KeepSessions lets Exec and Ask use a session again that they have opened. A package
// whose tests do not count sessions, and not the statements of others, calls it in
// TestMain.
func KeepSessions() {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	kept.keep = true
}

// take returns a session that answers.
func (s *sessions) take(ctx context.Context, databaseURL string) (*pgx.Conn, error) {
	s.mu.Lock()
	was := s.idle[databaseURL]
	delete(s.idle, databaseURL)
	s.mu.Unlock()
	if was != nil {
		was.end.Stop()
		if was.Ping(ctx) == nil { // its server was not stopped since
			return was.Conn, nil
		}
		_ = was.Close(ctx) // it is broken
	}
	return pgx.Connect(ctx, databaseURL)
}

// asNew makes a session what a new one is, and has the server count at once what it did,
// as the end of a session does.
const asNew = "select pg_stat_force_next_flush(); set session authorization default; reset all; close all; " +
	"unlisten *; select pg_advisory_unlock_all(); discard plans; discard temp; discard sequences"

// give keeps the session, or ends it where it could differ from a new one.
func (s *sessions) give(ctx context.Context, databaseURL string, c *pgx.Conn) {
	major, _, _ := strings.Cut(c.PgConn().ParameterStatus("server_version"), ".")
	version, _ := strconv.Atoi(major) // 0 for a beta, which is not kept
	s.mu.Lock()
	keep := s.keep && version >= 15 // those before count later, or when the session ends
	s.mu.Unlock()
	if keep && !c.IsClosed() && c.PgConn().TxStatus() == 'I' {
		if _, err := c.Exec(ctx, asNew); err == nil && s.put(databaseURL, c) {
			return
		}
	}
	_ = c.Close(ctx) // nothing is left to be written
}

func (s *sessions) put(databaseURL string, c *pgx.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle[databaseURL] != nil {
		return false
	}
	one := &session{Conn: c}
	one.end = time.AfterFunc(idleFor, func() {
		s.mu.Lock()
		mine := s.idle[databaseURL] == one
		if mine {
			delete(s.idle, databaseURL)
		}
		s.mu.Unlock()
		if mine {
			_ = one.Close(context.Background()) // as above
		}
	})
	s.idle[databaseURL] = one
	return true
}

// forget ends those idle sessions that the statements concern.
func (s *sessions) forget(ctx context.Context, databaseURL string, statements []string) {
	// What changes what a new session is like, or cannot be run beside idle ones; and what
	// concerns those alone who are not the user that runs it.
	forAll := regexp.MustCompile(`(?i)\b(alter\s+(database|role|user|system)|drop\s+database|template|` +
		`rename\s+to|pg_reload_conf|pg_promote)\b`)
	forOthers := regexp.MustCompile(`(?i)\b(drop\s+(role|user|owned)|reassign\s+owned)\b`)
	byForce := regexp.MustCompile(`(?i)^drop database .* with \(force\)$`)
	all, others := false, false
	for _, sql := range statements {
		all = all || forAll.MatchString(sql) && !byForce.MatchString(sql)
		others = others || forOthers.MatchString(sql)
	}
	if !all && !others {
		return
	}
	user, _, _ := strings.Cut(databaseURL, "@")
	var ended []*session
	s.mu.Lock()
	for url, one := range s.idle {
		if all || !strings.HasPrefix(url, user+"@") {
			delete(s.idle, url)
			ended = append(ended, one)
		}
	}
	s.mu.Unlock()
	for _, one := range ended {
		one.end.Stop()
		_ = one.Close(ctx) // as above
	}
}

// Exec runs statements, one after the other and each on its own.
func Exec(t testing.TB, databaseURL string, statements ...string) {
	t.Helper()
	ctx := context.Background() // also after the test's own has ended
	kept.forget(ctx, databaseURL, statements)
	defer kept.forget(ctx, databaseURL, statements)
	c, err := kept.take(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.give(ctx, databaseURL, c)
	for _, s := range statements {
		if _, err := c.Exec(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// Ask returns the one value that a statement gives, as text.
func Ask(t testing.TB, databaseURL, statement string, args ...any) (said string) {
	t.Helper()
	ctx := context.Background() // as in Exec
	c, err := kept.take(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.give(ctx, databaseURL, c)
	// Tables change between two questions: no plan of a statement is kept.
	if err := c.QueryRow(ctx, statement, append([]any{pgx.QueryExecModeExec}, args...)...).Scan(&said); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return said
}
