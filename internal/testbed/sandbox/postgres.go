package sandbox

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// PostgresOptions says where a server keeps its data and how it is set.
type PostgresOptions struct {
	Dir      string            // made where it is missing; its parents must let other users pass
	Bin      string            // folder of initdb and postgres; the installed ones where empty
	Settings map[string]string // of postgresql.conf
	Port     int               // to listen on; 0: one that is free
	Env      []string          // beside the environment of this process
}

// A Postgres is a running private PostgreSQL server.
type Postgres struct {
	URL  string // of the superuser "upkeep" in the database "postgres"
	Dir  string
	Port int

	child *child
}

// StartPostgres makes a cluster in the folder if necessary, and starts its
// server, which answers when StartPostgres returns.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	_, server, err := o.Programs()
	if err != nil {
		return nil, err
	}
	if err := MakeCluster(ctx, o); err != nil {
		return nil, err
	}
	data := filepath.Join(o.Dir, "data")
	p := &Postgres{Dir: o.Dir, Port: o.Port}
	if p.Port == 0 {
		if p.Port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	p.URL = fmt.Sprintf("postgres://upkeep@127.0.0.1:%d/postgres?sslmode=disable", p.Port)
	logFile := filepath.Join(o.Dir, "postgres.log")
	logTo, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // a restart adds to it
	if err != nil {
		return nil, err
	}
	defer func() { _ = logTo.Close() }() // the child has its own
	args := []string{
		"-D", data, "-p", strconv.Itoa(p.Port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
	}
	for _, name := range slices.Sorted(maps.Keys(o.Settings)) {
		args = append(args, "-c", name+"="+o.Settings[name])
	}
	if p.child, err = start(server, o.Dir, o.Env, logTo, args...); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return p, p.child.wait(ctx, logFile, func(ctx context.Context) error {
		c, err := pgx.Connect(ctx, p.URL)
		if err != nil {
			return err
		}
		return c.Close(ctx)
	})
}

// Programs returns where initdb and postgres are.
func (o PostgresOptions) Programs() (initdb, server string, err error) {
	if o.Bin != "" {
		return filepath.Join(o.Bin, "initdb"), filepath.Join(o.Bin, "postgres"), nil
	}
	if initdb, err = binary("initdb", "postgresql"); err != nil {
		return "", "", err
	}
	server, err = binary("postgres", "postgresql")
	return initdb, server, err
}

// MakeCluster makes a cluster in the folder o.Dir/data, unless there is one.
func MakeCluster(ctx context.Context, o PostgresOptions) error {
	if err := folder(o.Dir); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	data := filepath.Join(o.Dir, "data")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		return nil
	}
	initdb, _, err := o.Programs()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, initdb, "-D", data, "--username=upkeep", "--auth=trust", "--no-sync",
		"--locale=C.UTF-8", "--encoding=UTF8")
	cmd.Dir = o.Dir
	attr, err := unprivileged()
	if err != nil {
		return err
	}
	attr.Pdeathsig = 0 // its end is waited for here, on whatever thread
	cmd.SysProcAttr = attr
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// Stop ends the server and its sessions, and waits for it.
func (p *Postgres) Stop() error { return p.child.end(syscall.SIGINT) }

// Abort ends the server at once, without a checkpoint, as pg_ctl stop -m immediate does.
func (p *Postgres) Abort() error { return p.child.end(syscall.SIGQUIT) }

// PID returns the number of the server's first process.
func (p *Postgres) PID() int { return p.child.cmd.Process.Pid }

// Kill kills the server's first process. The others end as soon as they see it.
func (p *Postgres) Kill() { p.child.kill() }
