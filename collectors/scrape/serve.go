package scrape

import (
	"bytes"
	"fmt"
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
	text, err := s.text()
	if err != nil {
		s.log.Error("own metrics cannot be read", "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
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
func (s *Scraper) text() ([]byte, error) {
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

func (s *Scraper) appendOwn(text []byte) ([]byte, error) {
	families, err := s.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("own metrics: %w", err)
	}
	b := bytes.NewBuffer(text)
	encoder := expfmt.NewEncoder(b, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			return nil, fmt.Errorf("own metrics: %s: %w", f.GetName(), err)
		}
	}
	return b.Bytes(), nil
}
