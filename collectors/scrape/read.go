package scrape

import (
	"bytes"
	"fmt"
	"time"
)

// A Reading is what one collector last wrote of one metric, as exposition text.
type Reading struct {
	Metric, Collector string
	At                time.Time
	Text              []byte
}

// Read returns what the collectors of a target last wrote of the metrics for which want is true, in
// the order of their names. It asks no target. An answer that is too old to be served is left out.
func (s *Scraper) Read(target string, want func(metric string) bool) (all []Reading, err error) {
	now := s.now()
	for _, f := range *s.joined.Load() {
		for _, src := range f.sources {
			m := src.asker.Metrics[src.at]
			if src.asker.Target != target || !want(m.Name) {
				continue
			}
			a := src.asker.answer.Load()
			if a == nil || a.blocks[src.at] == nil || src.asker.tooOld(a, now) {
				continue
			}
			var text bytes.Buffer
			out := plain{w: &text}
			if out.add(a.blocks[src.at]); out.err != nil {
				return nil, fmt.Errorf("%s of %s: %w", m.Name, src.asker.Name, out.err)
			}
			all = append(all, Reading{Metric: m.Name, Collector: src.asker.Name, At: a.at, Text: text.Bytes()})
		}
	}
	return all, nil
}

// tooOld reports whether an answer is no longer to be served: its collector hangs.
func (a *asker) tooOld(last *answer, now time.Time) bool {
	return now.Sub(last.at) > a.Every+a.Timeout+grace
}
