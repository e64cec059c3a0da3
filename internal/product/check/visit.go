package check

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
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

// unreachable says why a server could not be asked.
func (v visit) unreachable(ctx context.Context, key string, err error) {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if unread, ok := errors.AsType[*config.SecretError](err); ok {
		v.fault(v.at.in(key), "%s was not asked, because its secret cannot be read: %s", v.seen.What,
			strings.Join(strings.Fields(unread.Error()), " "))
		return
	}
	what, do := whyNot(err)
	v.fault(v.at.in(key), "%s %s: %s; %s", v.seen.What, what, strings.Join(strings.Fields(err.Error()), " "), do)
}

// whyNot says what an error of a server means, and what to do. Only an answer of the server itself is about the login.
func whyNot(err error) (what, do string) {
	reason := target.Reason(err)
	if status, ok := errors.AsType[*prom.StatusError](err); ok && (status.Status == http.StatusUnauthorized ||
		status.Status == http.StatusForbidden) {
		reason = target.ReasonAuthentication
	}
	for _, code := range []string{"NOAUTH", "WRONGPASS", "ERR AUTH", "ERR invalid password"} {
		if goredis.HasErrorPrefix(err, code) {
			reason = target.ReasonAuthentication
		}
	}
	switch {
	case goredis.HasErrorPrefix(err, "NOPERM"):
		return "denies a right to upkeep's user", "upkeep rights --kind redis writes the ACL"
	case errors.Is(err, fs.ErrPermission):
		return "cannot be reached", "let the user that runs upkeep read and write the socket"
	}
	switch reason {
	case target.ReasonAuthentication:
		return "rejects the login", "check its user and password"
	case target.ReasonRefused:
		return "does not answer", "start it, or check its address"
	case target.ReasonName:
		return "is not found", "check the host in its address"
	case target.ReasonTimeout:
		return "does not answer in time", "check its address, its load and the network between"
	case target.ReasonTLS:
		return "has no TLS that upkeep trusts", "check its certificate, and the address and the CA in the configuration"
	case target.ReasonDatabase:
		return "does not have the database", "check the name in its address"
	case target.ReasonConnections, target.ReasonStarting:
		return "takes no connection now", "try again, or look at its log"
	}
	return "gives no answer that upkeep can use", "check its address and its log"
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
