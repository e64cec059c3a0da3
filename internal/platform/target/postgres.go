package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
)

// A Password returns a password at the moment a connection is made, so that a
// file that was changed is read again. It returns "" without a password.
type Password func() (string, error)

// PostgresConfig says where a PostgreSQL server is.
type PostgresConfig struct {
	Name     string   // the server label
	URL      string   // postgres://user@host:port/database?sslmode=…, without a password
	Password Password // may be nil
	Archives []Archive
	Advice   string // folder of upkeep's own for the list of index advice; "" for none
	Rebuilds string // file of upkeep's own that notes which indexes are being built anew; "" for none
	Alone    bool   // no other upkeep carries runs of the same store: what is not noted here was not begun

	Notes          Notes // what was seen of the server; nil: it is remembered while upkeep runs
	StandbysListed bool  // every standby that answers queries is a target that names in replica_of whom it follows

	// WithoutText leaves out the texts of statements.
	WithoutText bool

	Databases []string // the only ones that are not left alone; empty: all
	Exclude   []string // databases that are left alone

	Log PostgresLog // where its log is, if the server does not say it
}

// A PostgresLog says where the log of a server is that does not write it itself: a file on this machine, or a
// container of an engine.
type PostgresLog struct {
	File      string
	Docker    *Docker // nil: in no container
	Container string
}

// An Archive says which rows of a table are past their age, and what is done with them.
type Archive struct {
	Database, Schema, Table string
	Column                  string // a timestamp or a date
	After                   time.Duration
	To                      Destination // where they may be moved to; the zero value: nowhere
	Purge                   bool        // they may be deleted for good
}

// A Destination is where rows go that are past their age.
type Destination struct {
	Schema, Table string // a table of the same database

	Store depot.Store // or a store of objects, or nil
	Label string      // the store, for people
}

// DatabaseConnections is how many databases of one server are read at once, and
// so how many connections are kept. One more is for questions about the server.
const DatabaseConnections = 5

// A Postgres is one PostgreSQL server and its databases.
type Postgres struct {
	Name     string
	Archives []Archive
	Advice   string      // folder of upkeep's own for the list of index advice; "" for none
	Rebuilds string      // file of upkeep's own that notes which indexes are being built anew; "" for none
	Alone    bool        // no other upkeep carries runs of the same store: what is not noted here was not begun
	Replicas []*Postgres // standbys of this server that are targets too
	Only     []string    // the only databases that are not left alone; empty: all
	Exclude  []string    // databases that are left alone

	Notes          Notes // what was seen of the server
	StandbysListed bool  // every standby that answers queries is a target that names in replica_of whom it follows

	WithoutText bool // the texts of statements are not exported

	Log PostgresLog // where its log is, if the server does not say it

	config   *pgx.ConnConfig
	url      string // that config was made of
	password Password
	slots    chan struct{} // one for each connection to a database

	watch sync.Once     // begins at the first connection
	ended chan struct{} // closed by Close

	mu        sync.Mutex
	closed    bool
	server    *Database
	databases map[string]*Database
}

// NewPostgres returns a server. It connects to nothing yet.
func NewPostgres(c PostgresConfig) (*Postgres, error) {
	config, err := parsed(c.Name, c.URL)
	if err != nil {
		return nil, err
	}
	p := &Postgres{Name: c.Name, Archives: c.Archives, Advice: c.Advice, Rebuilds: c.Rebuilds, Alone: c.Alone,
		WithoutText: c.WithoutText, Only: c.Databases, Exclude: c.Exclude, Log: c.Log, Notes: c.Notes,
		StandbysListed: c.StandbysListed,
		config:         config, url: c.URL, password: c.Password, slots: make(chan struct{}, DatabaseConnections),
		ended: make(chan struct{}), databases: make(map[string]*Database)}
	if p.Notes == nil {
		p.Notes = new(memory)
	}
	p.server = p.database(p.Maintenance())
	return p, nil
}

// parsed reads a URL, and the files with certificates and passwords that it names.
func parsed(name, url string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres %s: %w", name, err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	return config, nil
}

// Local reports whether the configuration reaches the server by this machine: by a socket, or by a loopback address. A
// tunnel or a container may be behind it.
func (p *Postgres) Local() bool {
	return p.config != nil && (strings.HasPrefix(p.config.Host, "/") || loopback(p.config.Host))
}

// Port returns the port of the configuration, by which a standby may follow the server.
func (p *Postgres) Port() int {
	if p.config == nil {
		return 0
	}
	return int(p.config.Port)
}

// Maintenance returns the name of the database that the configuration names,
// where questions about the whole server are asked.
func (p *Postgres) Maintenance() string {
	if p.config == nil {
		return ""
	}
	if p.config.Database == "" {
		return p.config.User
	}
	return p.config.Database
}

// ErrPooler says that a pooler is between us and a server: who is answered next
// by the same session of the server is not known, so nothing may be changed there.
var ErrPooler = errors.New("the connection is through a pooler")

// Session opens a connection of its own to one database, for an action. Its
// application_name is given, so that people see who works there. The error is
// ErrPooler where a pooler answers, which is found out before anything is set: not
// even the startup packet has a parameter of ours, for the pooler might set it in a
// session that is another's afterwards.
func (p *Postgres) Session(ctx context.Context, database, application string,
	onNotice func(severity, message string)) (*pgx.Conn, error) {
	if p.config == nil {
		return nil, errors.New("target: a server without a configuration")
	}
	config, err := p.session(database)
	if err != nil {
		return nil, err
	}
	config.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, c net.Conn) (net.Conn,
		error) {
		return inPieces(c), nil
	}
	if onNotice != nil {
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { onNotice(n.SeverityUnlocalized, n.Message) }
	}
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	pooled, err := isPooled(ctx, c)
	if err == nil && !pooled {
		pooled, err = isPgpool(ctx, c)
	}
	if err == nil && pooled {
		err = ErrPooler
	}
	if err == nil {
		_, err = said(ctx, c, "set statement_timeout = '60s'", "select ''")
	}
	if err == nil {
		_, err = c.Exec(ctx, "select pg_catalog.set_config('application_name', $1, false), "+
			"pg_catalog.set_config('search_path', 'pg_catalog', false), "+
			"pg_catalog.set_config('standard_conforming_strings', 'on', false), "+inUTF8(false), pgx.QueryExecModeExec,
			application)
	}
	if err != nil {
		hangUp(c)
		return nil, err
	}
	return c, nil
}

// inUTF8 has a session send and take text in UTF-8, as names are kept, compared and
// written in JSON. A database that knows no encoding, or of which the server cannot
// convert the text, sends it as it is.
// It holds for the session, or for the transaction alone.
func inUTF8(local bool) string {
	return fmt.Sprintf("pg_catalog.set_config('client_encoding', case when "+
		"pg_catalog.current_setting('server_encoding') "+
		"in ('SQL_ASCII', 'MULE_INTERNAL') then pg_catalog.current_setting('server_encoding') else 'UTF8' end, %t)",
		local)
}

// isPooled reports whether the process that answers is another than the one that the
// connection was made to. It leaves no trace in the session that answers.
func isPooled(ctx context.Context, c *pgx.Conn) (bool, error) {
	pid, err := said(ctx, c, unhurried, "select pg_catalog.pg_backend_pid()")
	if err != nil {
		return false, fmt.Errorf("whether a pooler answers: %w", err)
	}
	return pid != strconv.FormatUint(uint64(c.PgConn().PID()), 10), nil
}

// isPgpool reports whether Pgpool-II answers, which hands out the server's own process
// id. The server sees its port then and not ours; where that is so, which a machine in
// between can do as well, it is asked what it answers itself and a server has no
// setting for.
func isPgpool(ctx context.Context, c *pgx.Conn) (bool, error) {
	port, err := said(ctx, c, unhurried, "select coalesce(pg_catalog.inet_client_port()::text, '')")
	if err != nil {
		return false, fmt.Errorf("whether a pooler answers: %w", err)
	}
	if ours, ok := c.PgConn().Conn().LocalAddr().(*net.TCPAddr); ok && port == strconv.Itoa(ours.Port) {
		return false, nil
	}
	_, err = said(ctx, c, "show pool_version")
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if err != nil && !ok {
		return false, fmt.Errorf("whether a pooler answers: %w", err)
	}
	return !ok || refused.Code != unknownSetting, nil
}

// unhurried comes first in a message and holds until its end: the role's own limits may be
// too short for the first question of a session, which reads the catalog.
const unhurried = "set local statement_timeout = '60s'"

// said sends statements as one message, which prepares nothing, needs no setting to be as
// it should and is one transaction. It returns the one value that the last of them answers.
func said(ctx context.Context, c *pgx.Conn, statements ...string) (string, error) {
	sql := strings.Join(statements, "; ")
	results, err := c.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", err
	}
	if len(results) != len(statements) {
		return "", fmt.Errorf("%s: there is no answer", sql)
	}
	last := results[len(results)-1]
	if len(last.Rows) != 1 || len(last.Rows[0]) == 0 {
		return "", fmt.Errorf("%s: there is no answer", sql)
	}
	return string(last.Rows[0][0]), nil
}

// unknownSetting is the error code of a setting that a server does not have.
const unknownSetting = "42704"

// session is how a connection is made. The files that the URL names are read each time:
// a certificate may have been renewed since.
func (p *Postgres) session(database string) (*pgx.ConnConfig, error) {
	c, err := parsed(p.Name, p.url)
	if err != nil {
		return nil, err
	}
	c.Database = cmp.Or(database, c.Database)
	delete(c.RuntimeParams, "application_name") // of the URL: who works there says so himself
	if p.password == nil {
		return c, nil
	}
	secret, err := p.password()
	if err != nil {
		return nil, fmt.Errorf("postgres %s: %w", p.Name, err)
	}
	if secret != "" {
		c.Password = secret
	}
	return c, nil
}

func hangUp(c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = c.Close(ctx) // nothing was written
}

// A Database is one database of a server, for reading. One question is asked at
// a time, over one connection, which is kept, and in a transaction that the
// server holds to be read-only.
type Database struct {
	postgres *Postgres
	name     string
	turn     chan struct{} // held by who asks
	slots    chan struct{} // of the server; nil where the connection does not count

	conn   *pgx.Conn // nil while disconnected
	pooled bool      // a pooler is between us and the server
	limit  string    // the statement_timeout of the session
	asked  time.Time // when the last question ended

	away atomic.Int64 // until when no connection is made: Unix time in nanoseconds

	down atomic.Pointer[string] // the reason why the last connection could not be made; nil where it was
}

const (
	// silence is after which time without a question a connection is tried before
	// it is used: its server may be another by then.
	silence = time.Second

	// farewell is how long the end of a session may take.
	farewell = time.Second
)

func (p *Postgres) database(name string) *Database {
	return &Database{postgres: p, name: name, turn: make(chan struct{}, 1)}
}
