package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// RedisOptions says where a server keeps its data and how it is set.
type RedisOptions struct {
	Dir    string   // made where it is missing; its parents must let other users pass
	File   string   // its configuration file; "": none
	Args   []string // further arguments, like "--save", ""
	Port   int      // to listen on; 0: one that is free
	Server string   // the program; "": the one that is installed
}

// A Redis is a running private Redis server.
type Redis struct {
	URL  string
	Dir  string
	Port int

	child *child
}

// StartRedis starts a server, which answers when StartRedis returns.
func StartRedis(ctx context.Context, o RedisOptions) (*Redis, error) {
	server := o.Server
	if server == "" {
		var err error
		if server, err = binary("redis-server", "redis-server"); err != nil {
			return nil, err
		}
	}
	if err := folder(o.Dir); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	r := &Redis{Dir: o.Dir, Port: o.Port}
	if r.Port == 0 {
		var err error
		if r.Port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	r.URL = fmt.Sprintf("redis://127.0.0.1:%d", r.Port)
	logFile := filepath.Join(o.Dir, "redis.log")
	logTo, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = logTo.Close() }() // the child has its own
	args := append([]string{
		"--port", strconv.Itoa(r.Port), "--bind", "127.0.0.1", "--dir", o.Dir, "--daemonize", "no",
	}, o.Args...)
	if o.File != "" {
		args = append([]string{o.File}, args...)
	}
	if r.child, err = start(server, o.Dir, nil, logTo, args...); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return r, r.child.wait(ctx, logFile, r.ping)
}

// ping is answered by a server that wants a password too.
func (r *Redis) ping(ctx context.Context) error {
	c := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:" + strconv.Itoa(r.Port), DisableIdentity: true, MaxRetries: -1,
	})
	defer func() { _ = c.Close() }() // nothing is left to be written
	err := c.Ping(ctx).Err()
	if err != nil && redis.HasErrorPrefix(err, "NOAUTH") {
		return nil
	}
	return err
}

// PID returns the number of the server's process.
func (r *Redis) PID() int { return r.child.cmd.Process.Pid }

// Stop ends the server as its owner would, and waits for it.
func (r *Redis) Stop() error { return r.child.end(syscall.SIGTERM) }
