package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/internal/depot"
)

// A Password tells a password at the moment a connection is made, so that a
// file that was changed is read again. It returns "" where there is none.
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

	// WithoutText leaves the texts of statements out of what is told.
	WithoutText bool

	Exclude []string // databases that are left alone
}

// An Archive says which rows of a table are past their age, and what becomes of them.
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

	Store depot.Store // or a store of objects; nil where it is none
	Label string      // the store, for people
}

// databaseConnections is how many databases of one server are read at once, and
// so how many connections are kept. One more is for questions about the server.
const databaseConnections = 5

// A Postgres is one PostgreSQL server and its databases.
type Postgres struct {
	Name     string
	Archives []Archive
	Advice   string      // folder of upkeep's own for the list of index advice; "" for none
	Rebuilds string      // file of upkeep's own that notes which indexes are being built anew; "" for none
	Alone    bool        // no other upkeep carries runs of the same store: what is not noted here was not begun
	Replicas []*Postgres // standbys of this server that are targets too
	Exclude  []string    // databases that are left alone

	WithoutText bool // the texts of statements are not told

	config   *pgx.ConnConfig
	url      string // that config was made of
	password Password
	slots    chan struct{} // one for each connection to a database

	mu        sync.Mutex
	closed    bool
	server    *Database
	databases map[string]*Database
}

// NewPostgres returns a server. It connects to nothing yet.
func NewPostgres(c PostgresConfig) (*Postgres, error) {
	config, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("postgres %s: %w", c.Name, err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	p := &Postgres{Name: c.Name, Archives: c.Archives, Advice: c.Advice, Rebuilds: c.Rebuilds, Alone: c.Alone, WithoutText: c.WithoutText, Exclude: c.Exclude, config: config, url: c.URL, password: c.Password, slots: make(chan struct{}, databaseConnections), databases: make(map[string]*Database)}
	p.server = p.database(p.Maintenance())
	return p, nil
}

// databasesSQL lists the databases that can be asked. A limit of -2 marks one
// whose DROP DATABASE was interrupted.
const databasesSQL = `
select datname
  from pg_catalog.pg_database
 where datallowconn and not datistemplate and datconnlimit <> -2
   and pg_catalog.has_database_privilege(oid, 'CONNECT')
 order by datname`

// Databases returns the names of the server's databases, found anew at each call.
func (p *Postgres) Databases(ctx context.Context) ([]string, error) {
	server, err := p.Server()
	if err != nil {
		return nil, err
	}
	rows, err := server.Query(ctx, databasesSQL)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(p.Exclude, name) }), err
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

// Server returns where questions about the whole server are asked. Its
// connection is its own, so that they do not wait for a slow question to a
// database.
func (p *Postgres) Server() (*Database, error) {
	if p.config == nil {
		return nil, errors.New("target: a server without a configuration")
	}
	return p.server, nil
}

// Database returns a database for reading. It connects at the first question.
func (p *Postgres) Database(name string) (*Database, error) {
	if p.config == nil {
		return nil, errors.New("target: a server without a configuration")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ok := p.databases[name]
	if !ok {
		d = p.database(name)
		d.slots = p.slots
		p.databases[name] = d
	}
	return d, nil
}

// ErrPooler says that a pooler stands between us and a server: who is answered next
// by the same session of the server is not known, so nothing may be changed there.
var ErrPooler = errors.New("the connection goes through a pooler")

// Session opens a connection of its own to one database, for an action. Its
// application_name is given, so that people see who works there. The error is
// ErrPooler where a pooler answers, which is found out before anything is set: not
// even the startup packet has a parameter of ours, for the pooler might set it in a
// session that is another's afterwards.
func (p *Postgres) Session(ctx context.Context, database, application string, onNotice func(severity, message string)) (*pgx.Conn, error) {
	if p.config == nil {
		return nil, errors.New("target: a server without a configuration")
	}
	config, err := p.session(database)
	if err != nil {
		return nil, err
	}
	config.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, c net.Conn) (net.Conn, error) { return inPieces(c), nil }
	if onNotice != nil {
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { onNotice(n.SeverityUnlocalized, n.Message) }
	}
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	pooled, err := isPooled(ctx, c)
	if err == nil && pooled {
		err = ErrPooler
	}
	if err == nil {
		_, err = c.Exec(ctx, "select pg_catalog.set_config('application_name', $1, false), pg_catalog.set_config('search_path', 'pg_catalog', false)", pgx.QueryExecModeExec, application)
	}
	if err != nil {
		hangUp(c)
		return nil, err
	}
	return c, nil
}

// isPooled tells whether the process that answers is another than the one that the
// connection was made to. It leaves no trace in the session that answers.
func isPooled(ctx context.Context, c *pgx.Conn) (bool, error) {
	var pid uint32
	if err := c.QueryRow(ctx, "select pg_catalog.pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid); err != nil {
		return false, fmt.Errorf("whether a pooler answers: %w", err)
	}
	return pid != c.PgConn().PID(), nil
}

func (p *Postgres) session(database string) (*pgx.ConnConfig, error) {
	c := p.config.Copy()
	c.Database = database
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

// Close closes every connection to the server. A question that is under way is
// answered before.
func (p *Postgres) Close() {
	p.mu.Lock()
	p.closed = true
	all := []*Database{p.server}
	for _, d := range p.databases {
		all = append(all, d)
	}
	p.mu.Unlock()
	for _, d := range all {
		if d != nil {
			d.turn <- struct{}{}
			d.disconnect()
			<-d.turn
		}
	}
}

// evict closes the connection of a database that nobody asks at the moment, so
// that another can have its slot. Which one is left to chance: who walks through
// more databases than there are slots would otherwise never find one open.
func (p *Postgres) evict() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.databases { // in no order
		select {
		case d.turn <- struct{}{}:
			had := d.conn != nil
			d.disconnect()
			<-d.turn
			if had {
				return
			}
		default:
		}
	}
}
