package scrape

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
)

// contentType is the exposition format that the collectors' text is in.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// ServeHTTP answers a scrape with the last answer of every collector and
// upkeep's own metrics. What the collectors said was compressed when they said
// it; here it is only joined.
func (s *Scraper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	own := s.ownBlock()
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Vary", "Accept-Encoding")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		out := plain{w: w}
		s.each(out.add)
		out.add(own)
		return // the client has closed the connection
	}
	w.Header().Set("Content-Encoding", "gzip")
	out := stream{w: w}
	out.begin()
	s.each(out.add)
	out.add(own)
	out.end()
}

// each passes on the answers that are not too old, in the order of the families.
func (s *Scraper) each(add func(*block)) {
	now := s.now()
	for _, f := range *s.joined.Load() {
		headed := false
		for _, src := range f.sources {
			a := src.asker.answer.Load()
			if a == nil || a.blocks[src.at] == nil || src.asker.tooOld(a, now) {
				continue
			}
			if !headed {
				add(f.head)
				headed = true
			}
			add(a.blocks[src.at])
		}
	}
}

// ownFor is how long upkeep's own metrics are served again, unless a collector has
// answered meanwhile: many clients at once are one reading.
const ownFor = time.Second

func (s *Scraper) ownBlock() *block {
	s.ownMu.Lock()
	defer s.ownMu.Unlock()
	if s.ownLast == nil || s.ownOld.Swap(false) || time.Since(s.ownAt) > ownFor {
		s.ownLast, s.ownAt = s.press.press(s.own(), s.ownLast), time.Now()
	}
	return s.ownLast
}

// own returns upkeep's own metrics. One that cannot be read is left out, and
// keeps none of the others from being served.
func (s *Scraper) own() []byte {
	families, err := s.registry.Gather()
	var b bytes.Buffer
	encoder := expfmt.NewEncoder(&b, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		err = errors.Join(err, encoder.Encode(f))
	}
	if err != nil {
		s.log.Error("own metrics cannot be read", "err", err)
	}
	return b.Bytes()
}
