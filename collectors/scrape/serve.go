package scrape

import (
	"bytes"
	"errors"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/common/expfmt"
)

// contentType is the exposition format that the collectors' text is in.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// ServeHTTP answers a scrape with the last answer of every collector and
// upkeep's own metrics.
func (s *Scraper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text := s.text()
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Vary", "Accept-Encoding")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		_, _ = w.Write(text) // whoever hung up needs no answer
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err == nil {
		_, _ = z.Write(text)
		_ = z.Close()
	}
}

// text joins the answers. Each is copied while its collector may not replace it.
func (s *Scraper) text() []byte {
	s.mu.RLock()
	joined := s.joined
	s.mu.RUnlock()
	var text []byte
	now := s.now()
	for _, f := range joined {
		head := len(text)
		text = f.metric.AppendHeader(text)
		body := len(text)
		for _, src := range f.sources {
			a := src.asker
			a.mu.RLock()
			if a.writer != nil && now.Sub(a.status.At) <= a.Every+a.Timeout+grace {
				text = append(text, a.writer.Family(src.at)...)
			}
			a.mu.RUnlock()
		}
		if len(text) == body {
			text = text[:head] // nobody wrote it
		}
	}
	return s.appendOwn(text)
}

// appendOwn appends upkeep's own metrics. One that cannot be read is left out,
// and keeps none of the others from being served.
func (s *Scraper) appendOwn(text []byte) []byte {
	families, err := s.registry.Gather()
	b := bytes.NewBuffer(text)
	encoder := expfmt.NewEncoder(b, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		err = errors.Join(err, encoder.Encode(f))
	}
	if err != nil {
		s.log.Error("own metrics cannot be read", "err", err)
	}
	return b.Bytes()
}
