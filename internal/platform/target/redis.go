package target

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisConfig says where a Redis or Valkey server is.
type RedisConfig struct {
	Name     string   // the server label
	URL      string   // redis://user@host:port, rediss:// for TLS, unix:///path; without a password
	Password Password // may be nil
	Restart  Restart
}

// A Redis is one Redis or Valkey server.
type Redis struct {
	Name    string
	Client  *redis.Client // connects at the first question
	Restart Restart       // how it is restarted

	before7 atomic.Bool // INFO takes one section at a time
}

// NewRedis returns a server. It connects to nothing yet.
func NewRedis(c RedisConfig) (*Redis, error) {
	options, err := redis.ParseURL(c.URL)
	if _, unread := errors.AsType[*url.Error](err); unread {
		// The URL is not repeated, nor a part of it: any could be a password.
		err = errors.New("its URL cannot be read; want redis://user@host:port")
	}
	if err != nil {
		return nil, fmt.Errorf("redis %s: %w", c.Name, err)
	}
	options.OnConnect = func(ctx context.Context, c *redis.Conn) error {
		err := c.ClientSetName(ctx, "upkeep").Err()
		if _, refused := errors.AsType[redis.Error](err); refused {
			return nil // a name is for people who look at the clients; without the right we have none
		}
		return err
	}
	options.DisableIdentity = true // CLIENT SETINFO is one right more than we need
	options.PoolSize = 2           // one to read, one to act
	options.MaxRetries = -1        // a second BGSAVE is not a retry
	options.DialTimeout = 5 * time.Second
	options.DialerRetries = 1 // who asks comes back by himself
	redis.SetLogger(silent{}) // the driver's own lines would pass our log by; what they say is in the errors
	options.ContextTimeoutEnabled = true
	if c.Password != nil {
		user := options.Username
		options.CredentialsProviderContext = func(context.Context) (string, string, error) {
			secret, err := c.Password()
			if err != nil {
				return "", "", fmt.Errorf("redis %s: %w", c.Name, err)
			}
			return user, secret, nil
		}
	}
	return &Redis{Name: c.Name, Client: redis.NewClient(options), Restart: c.Restart}, nil
}

// Info asks for sections of INFO. A server before 7.0 takes one at a time, and is asked for all of
// them from the second question on: it counts each question that it refuses as an error.
func (r *Redis) Info(ctx context.Context, sections ...string) *redis.StringCmd {
	if len(sections) <= 1 {
		return r.Client.Info(ctx, sections...)
	}
	if r.before7.Load() {
		return r.Client.Info(ctx, "all")
	}
	text := r.Client.Info(ctx, sections...)
	if err := text.Err(); err != nil && strings.Contains(err.Error(), "syntax error") {
		r.before7.Store(true)
		return r.Client.Info(ctx, "all")
	}
	return text
}

// Time asks for the server's clock.
func (r *Redis) Time(ctx context.Context) *redis.TimeCmd { return r.Client.Time(ctx) }

// silent is the driver's log.
type silent struct{}

// Printf implements the driver's logger.
func (silent) Printf(context.Context, string, ...any) {}

// Close closes every connection to the server.
func (r *Redis) Close() {
	if r.Client != nil {
		_ = r.Client.Close() // nothing is written that could be lost
	}
}

// A Sentinel is one Redis Sentinel, which watches primaries and replaces one that is down.
type Sentinel struct {
	Name   string
	Client *redis.Client // connects at the first question
}

// NewSentinel returns a Sentinel. It connects to nothing yet.
func NewSentinel(c RedisConfig) (*Sentinel, error) {
	r, err := NewRedis(c)
	if err != nil {
		return nil, err
	}
	return &Sentinel{Name: r.Name, Client: r.Client}, nil
}

// Close closes every connection to the Sentinel.
func (s *Sentinel) Close() {
	if s.Client != nil {
		_ = s.Client.Close() // nothing is written that could be lost
	}
}
