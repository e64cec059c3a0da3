package app

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A piece is one target in use, with what it was made of, and with what asks and changes
// it. A reload that does not change its configuration uses it again: its connections,
// what its collectors have counted and what its actions remember stay.
type piece struct {
	id         string // kind and name
	of         any    // the configuration that it was made of
	target     any
	collectors []collectors.Collector
	actions    []remediate.Action
}

// pieces are the targets of a configuration, in the order in which they are shown.
type pieces []*piece

// find returns a piece by its id, or nil.
func (all pieces) find(id string) *piece {
	for _, p := range all {
		if p.id == id {
			return p
		}
	}
	return nil
}

// close closes the connections of those targets that are not among others.
func (all pieces) close(but pieces) {
	for _, p := range all {
		if c, ok := p.target.(interface{ Close() }); ok && but.find(p.id) != p {
			c.Close()
		}
	}
}

func (all pieces) collectors() (list []collectors.Collector) {
	for _, p := range all {
		list = append(list, p.collectors...)
	}
	return list
}

func (all pieces) actions() (list []remediate.Action) {
	for _, p := range all {
		list = append(list, p.actions...)
	}
	return list
}

// set returns the targets.
func (all pieces) set() (s target.Set) {
	for _, p := range all {
		switch t := p.target.(type) {
		case *target.Backup:
			s.Backup = append(s.Backup, t)
		case *target.Docker:
			s.Docker = append(s.Docker, t)
		case *target.Host:
			s.Host = append(s.Host, t)
		case *target.Packages:
			s.Packages = append(s.Packages, t)
		case *target.Postgres:
			s.Postgres = append(s.Postgres, t)
		case *target.Probe:
			s.Probe = append(s.Probe, t)
		case *target.Redis:
			s.Redis = append(s.Redis, t)
		case *target.Sentinel:
			s.Sentinel = append(s.Sentinel, t)
		}
	}
	return s
}

// Targets makes the targets of a configuration. It connects to none of them; they
// are the caller's to close.
func Targets(c *config.Config) (target.Set, error) {
	all, err := targets(c, nil, nil)
	return all.set(), err
}

// targets makes the targets of a configuration, and uses those of before again where
// nothing that they were made of has changed.
func targets(c *config.Config, before pieces, notes target.Notes) (pieces, error) {
	b := builder{config: c, before: before, notes: notes}
	for _, t := range c.Targets.Backup {
		_ = take(&b, "backup", t.Name, t, func() (*target.Backup, error) { return new(target.Backup(t)), nil })
	}
	engines := make(map[string]*target.Docker)
	for _, t := range c.Targets.Docker {
		engines[t.Name] = take(&b, "docker", t.Name, t, func() (*target.Docker, error) { return b.docker(t) })
	}
	for _, t := range c.Targets.Host {
		_ = take(&b, "host", t.Name, t, func() (*target.Host, error) {
			state := filepath.Join(b.config.DataDir, "logs", "host "+url.PathEscape(t.Name))
			return target.NewHost(t.Name, t.Root, t.Logs.Target(t.Root, state)), nil
		})
	}
	for _, t := range c.Targets.Packages {
		_ = take(&b, "packages", t.Name, t, func() (*target.Packages, error) { return new(target.Packages(t)), nil })
	}
	b.servers(engines)
	for _, t := range c.Targets.Probe {
		_ = take(&b, "probe", t.Name, t, func() (*target.Probe, error) { return new(target.Probe(t)), nil })
	}
	for _, t := range c.Targets.Redis {
		of := []any{t, b.engine(t.Restart.Docker)}
		_ = take(&b, "redis", t.Name, of, func() (*target.Redis, error) {
			return target.NewRedis(target.RedisConfig{
				Name: t.Name, URL: t.URL, Password: t.Password(),
				Restart: target.Restart{Docker: engines[t.Restart.Docker], Container: t.Restart.Container,
					Unit: t.Restart.Systemd},
			})
		})
	}
	for _, t := range c.Targets.Sentinel {
		_ = take(&b, "sentinel", t.Name, t, func() (*target.Sentinel, error) {
			return target.NewSentinel(target.RedisConfig{Name: t.Name, URL: t.URL, Password: t.Password()})
		})
	}
	if b.err != nil {
		b.made.close(nil)
		return nil, b.err
	}
	for _, p := range b.made {
		one := pieces{p}.set()
		p.collectors, p.actions = catalog.Collectors(one), catalog.Actions(one)
	}
	return b.all, nil
}

// A builder makes the targets of a configuration.
type builder struct {
	config *config.Config
	before pieces
	notes  target.Notes // nil: what is seen is forgotten when the process ends
	all    pieces
	made   pieces // those that are new
	err    error
}

// take returns the target of before where it was made of the same, and makes one where
// it was not.
func take[T any](b *builder, kind, name string, of any, fresh func() (T, error)) (t T) {
	id := kind + "/" + name
	if old := b.before.find(id); old != nil && reflect.DeepEqual(old.of, of) {
		b.all = append(b.all, old)
		return old.target.(T)
	}
	t, err := fresh()
	if err != nil {
		b.err = errors.Join(b.err, err)
		return t
	}
	p := &piece{id: id, of: of, target: t}
	b.all, b.made = append(b.all, p), append(b.made, p)
	return t
}

// engine is the configuration of a Docker engine, on which the servers rest that it
// restarts.
func (b *builder) engine(name string) any {
	for _, t := range b.config.Targets.Docker {
		if t.Name == name {
			return t
		}
	}
	return nil
}

func (b *builder) docker(t config.Docker) (*target.Docker, error) {
	return target.NewDocker(target.DockerConfig{
		Name: t.Name, Host: t.Host, TLS: t.TLS(), Root: t.Root,
		Logs: target.LogFields(t.Logs), LogArchive: t.LogArchive,
		Sightings: filepath.Join(b.config.DataDir, "images", url.PathEscape(t.Name)+".json"),
		LogState:  filepath.Join(b.config.DataDir, "logs", url.PathEscape(t.Name+" "+t.Host)+".json"),
	})
}

// servers makes the PostgreSQL servers. One with standbys that are targets too is made
// of their configuration as well, since it asks them.
func (b *builder) servers(engines map[string]*target.Docker) {
	var fresh []*target.Postgres
	byName := make(map[string]*target.Postgres)
	for _, t := range b.config.Targets.Postgres {
		byName[t.Name] = take(b, "postgres", t.Name, b.family(t, map[string]bool{}), func() (*target.Postgres, error) {
			p, err := b.postgres(t, engines)
			fresh = append(fresh, p)
			return p, err
		})
	}
	if b.err != nil {
		return
	}
	for _, p := range fresh {
		for _, t := range b.config.Targets.Postgres {
			if t.ReplicaOf == p.Name {
				p.Replicas = append(p.Replicas, byName[t.Name])
			}
		}
	}
}

// family is the configuration of a server and of all that follow it, with the engines of their logs.
func (b *builder) family(t config.Postgres, seen map[string]bool) (all []any) {
	if seen[t.Name] {
		return nil
	}
	seen[t.Name] = true
	all = append(all, t, b.engine(t.Log.Docker))
	for _, other := range b.config.Targets.Postgres {
		if other.ReplicaOf == t.Name {
			all = append(all, b.family(other, seen)...)
		}
	}
	return all
}

func (b *builder) postgres(t config.Postgres, engines map[string]*target.Docker) (*target.Postgres, error) {
	k := target.PostgresConfig{Name: t.Name, URL: t.URL, Password: t.Password(), WithoutText: !t.StatementText,
		Advice: filepath.Join(b.config.DataDir, "advice")}
	k.Rebuilds, k.Alone = filepath.Join(b.config.DataDir, "rebuilds", url.PathEscape(t.Name)+".json"),
		b.config.Store.URL == ""
	k.Notes, k.StandbysListed = b.notes, t.StandbysListed
	k.Databases, k.Exclude = t.Databases, t.Exclude
	k.Log = target.PostgresLog{File: t.Log.Path, Docker: engines[t.Log.Docker], Container: t.Log.Container}
	for _, a := range t.Archives {
		made, err := archive(a)
		if err != nil {
			return nil, fmt.Errorf("postgres %s: archive of %s.%s: %w", t.Name, a.Schema, a.Table, err)
		}
		k.Archives = append(k.Archives, made)
	}
	return target.NewPostgres(k)
}

// archive is what the actions and the collectors know of an archive.
func archive(a config.Archive) (target.Archive, error) {
	to, err := destination(a)
	return target.Archive{Database: a.Database, Schema: a.Schema, Table: a.Table, Column: a.Column, After: a.After,
		To: to, Purge: a.Purge}, err
}

func destination(a config.Archive) (to target.Destination, err error) {
	switch c := a.To; {
	case c.Table != "":
		to.Schema, to.Table = cmp.Or(c.Schema, a.Schema), c.Table
	case c.Folder != "":
		to.Store, to.Label = depot.Folder(c.Folder), "folder "+c.Folder
	case c.Bucket != "":
		to.Label = "bucket " + c.Bucket + " at " + c.Endpoint + ", keys " + c.Prefix + "*"
		to.Store, err = depot.Bucket(depot.BucketConfig{Endpoint: c.Endpoint, Region: c.Region, Bucket: c.Bucket,
			Prefix: c.Prefix, VirtualHost: c.VirtualHost, ID: c.KeyID(), Secret: c.Secret()})
	}
	return to, err
}
