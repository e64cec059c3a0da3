package depot

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// attempts is how often a request is made in all, by do: with the pauses between them
	// it outlasts the restart of a store, some ten seconds. The client's own attempts
	// come to less, and its pauses are variables of its package.
	attempts = 6

	firstPause = 200 * time.Millisecond
	longPause  = 5 * time.Second
)

// do makes a request, and makes it again while what is wrong may pass.
func (b *bucket) do(ctx context.Context, request func() error) error {
	pause := b.pause
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
