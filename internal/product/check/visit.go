package check

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/rights"
	"github.com/ai-micro-service/upkeep/remediate"
)

// answerWithin is how long a server may take to be looked at.
const answerWithin = 20 * time.Second

// A Seen is what a server that was connected to says of itself.
type Seen struct {
	What string // like "postgres main"
	Text string

	at     place
	server string // which process has answered; "" where it is not known
}

// A visit is one look at one server.
type visit struct {
	*checker
	at   place
	mu   *sync.Mutex
	seen *Seen
}

func (v visit) fault(at place, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.checker.fault(at, format, args...)
}

func (v visit) warn(at place, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.checker.warn(at, format, args...)
}

// unreachable says that a server does not answer.
func (v visit) unreachable(ctx context.Context, key string, err error) {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if unread, ok := errors.AsType[*config.SecretError](err); ok {
		v.fault(v.at.in(key), "%s was not asked, because its secret cannot be read: %s", v.seen.What,
			strings.Join(strings.Fields(unread.Error()), " "))
		return
	}
	v.fault(v.at.in(key), "%s rejects the login: %s; check its address, user and password", v.seen.What,
		strings.Join(strings.Fields(err.Error()), " "))
}

// needs returns what looking and the actions of the configuration need of a kind of
// target, by what needs it.
func (v visit) needs(kind rights.Kind) []rights.Need {
	var names []string
	for _, p := range v.config.Policies {
		for _, s := range p.Steps {
			names = append(names, s.Action)
		}
	}
	for _, s := range v.config.Schedules {
		names = append(names, s.Action)
	}
	slices.Sort(names)
	var actions []remediate.Action
	for _, name := range slices.Compact(names) {
		if a, ok := v.words.actions[name]; ok {
			actions = append(actions, a)
		}
	}
	return rights.Of(kind, actions)
}

// few lists the first of many.
func few(all []string) string {
	if len(all) > 3 {
		return strings.Join(all[:3], ", ") + ", …"
	}
	return strings.Join(all, ", ")
}
