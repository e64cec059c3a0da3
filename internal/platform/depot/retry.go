package depot

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

const (
	// attempts is how often a request is made in all, by retry: with the pauses between them
	// it outlasts the restart of a store, some ten seconds. The client's own attempts
	// come to less, and its pauses are variables of its package.
	attempts = 6

	firstPause = 200 * time.Millisecond
	longPause  = 5 * time.Second
)

// retry makes a request, and makes it again, first after the pause, while what is wrong
// may pass.
func retry(ctx context.Context, pause time.Duration, request func() error) error {
	for try := 1; ; try++ {
		err := request()
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil || !passes(err) || try == attempts {
			return plain(err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		}
		pause = min(2*pause, longPause)
	}
}

// passes reports whether what is wrong may be right the next time.
func passes(err error) bool {
	switch status := statusOf(err); status {
	case 0:
		return !errors.Is(err, errKey)
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusConflict:
		return true
	default:
		return status >= 500 && status != http.StatusNotImplemented
	}
}

// errKey says that the key could not be read, which trying again does not mend.
var errKey = errors.New("the key of the bucket")

// statusOf returns the status of an answer that is an error, or 0.
func statusOf(err error) int {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.Status
	}
	return 0
}

// plain leaves the address out of an error of the client.
func plain(err error) error {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		return inner.Err
	}
	return err
}
