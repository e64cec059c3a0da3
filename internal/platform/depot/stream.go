package depot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// answerWithin limits one attempt, beside one second for each megabyte.
const answerWithin = 30 * time.Second

// A watch ends a request that takes too long.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func newWatch(ctx context.Context, limit time.Duration) *watch {
	w := &watch{}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(limit, func() { w.cancel(fmt.Errorf("the store did not answer within %s", limit)) })
	return w
}

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// cause says whose deadline has ended a request.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// A stream is the body of an answer. A store has answerWithin for each piece, and who
// reads has any time between them.
type stream struct {
	body io.ReadCloser
	*watch
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	s.timer.Reset(answerWithin)
	n, err := s.body.Read(p)
	s.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = cause(s.ctx, err)
	}
	return n, err
}

// Close implements io.Closer.
func (s *stream) Close() error {
	err := s.body.Close()
	s.end()
	return err
}
