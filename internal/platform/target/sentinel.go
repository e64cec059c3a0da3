package target

import "github.com/redis/go-redis/v9"

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
