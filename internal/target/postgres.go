package target

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A Password tells a password at the moment a connection is made, so that a
// file that was changed is read again. It returns "" where there is none.
type Password func() (string, error)

// PostgresConfig says where a PostgreSQL server is.
type PostgresConfig struct {
	Name     string   // the server label
	URL      string   // postgres://user@host:port/database?sslmode=…, without a password
	Password Password // may be nil
}

// A Postgres is one PostgreSQL server and its databases.
type Postgres struct {
	Name string

	config   *pgx.ConnConfig
	password Password

	mu    sync.Mutex
	pools map[string]*pgxpool.Pool
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
	return &Postgres{Name: c.Name, config: config, password: c.Password, pools: make(map[string]*pgxpool.Pool)}, nil
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
	pool, err := p.Database(p.Maintenance())
	if err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, databasesSQL)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
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

// Database returns the pool for reading one database: read-only by a setting of
// the session, one connection at most, closed when idle.
func (p *Postgres) Database(name string) (*pgxpool.Pool, error) {
	if p.config == nil {
		return nil, errors.New("target: a server without a configuration")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if pool, ok := p.pools[name]; ok {
		return pool, nil
	}
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	config.ConnConfig = p.session(name, "upkeep")
	config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	config.ConnConfig.RuntimeParams["statement_timeout"] = "60s"
	config.MaxConns = 1
	config.MinConns = 0
	config.MaxConnIdleTime = 5 * time.Minute
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error { return p.authorize(c) }
	pool, err := pgxpool.NewWithConfig(context.Background(), config) // connects at the first question
	if err != nil {
		return nil, err
	}
	p.pools[name] = pool
	return pool, nil
}

// Session opens a connection of its own to one database, for an action. Its
// application_name is given, so that people see who works there.
func (p *Postgres) Session(ctx context.Context, database, application string, onNotice func(severity, message string)) (*pgx.Conn, error) {
	if p.config == nil {
		return nil, errors.New("target: a server without a configuration")
	}
	config := p.session(database, application)
	if err := p.authorize(config); err != nil {
		return nil, err
	}
	if onNotice != nil {
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { onNotice(n.SeverityUnlocalized, n.Message) }
	}
	return pgx.ConnectConfig(ctx, config)
}

func (p *Postgres) session(database, application string) *pgx.ConnConfig {
	c := p.config.Copy()
	c.Database = database
	c.RuntimeParams["application_name"] = application
	c.RuntimeParams["search_path"] = "pg_catalog"
	return c
}

func (p *Postgres) authorize(c *pgx.ConnConfig) error {
	if p.password == nil {
		return nil
	}
	secret, err := p.password()
	if err != nil {
		return fmt.Errorf("postgres %s: %w", p.Name, err)
	}
	if secret != "" {
		c.Password = secret
	}
	return nil
}

// Close closes every connection to the server.
func (p *Postgres) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pool := range p.pools {
		pool.Close()
	}
	clear(p.pools)
}
