package schedule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// requests returns what a schedule asks for now, once for each subject.
func (s *Scheduler) requests(ctx context.Context, c Schedule, now time.Time) ([]remediate.Request, error) {
	series := []map[string]string{nil}
	if c.Query != "" {
		var err error
		if series, err = s.ask(ctx, c, now); err != nil {
			return nil, err
		}
	}
	all := make(map[string]remediate.Request) // two series may say the same of a subject
	for _, labels := range series {
		if r, ok := c.Request(labels); ok {
			all[written(r.Subject)] = r
		}
	}
	if len(all) > most {
		return nil, fmt.Errorf("its query returns %d subjects, more than the maximum of %d: restrict it", len(all),
			most)
	}
	wanted := make([]remediate.Request, 0, len(all))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		wanted = append(wanted, all[key])
	}
	return wanted, nil
}

func (s *Scheduler) ask(ctx context.Context, c Schedule, now time.Time) ([]map[string]string, error) {
	if s.Query == nil {
		return nil, errors.New("its query cannot run: no Prometheus is configured")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, queryTimeout,
		fmt.Errorf("no answer to its query within %s", queryTimeout))
	defer cancel()
	series, err := s.Query(ctx, c.Query, now)
	if err != nil {
		return nil, fmt.Errorf("its query: %w", err)
	}
	return series, nil
}

// written writes a subject so that no two are written the same.
func written(subject map[string]string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(subject)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%q", name, subject[name])
	}
	return b.String()
}

// asked says of a request which occurrence asks for it. Its key is that occurrence's
// and the subject's, so that it makes one run whatever happens to the table of
// occurrences.
func (c Schedule) asked(r remediate.Request, at time.Time) remediate.Request {
	r.Key = fmt.Sprintf("schedule/%s/%s/%s", c.Name, at.UTC().Format(time.RFC3339), written(r.Subject))
	r.Schedule, r.By = c.Name, "schedule/"+c.Name
	return r
}
