package console_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

func TestDeadLetters(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	i := inbox.New(inbox.Config{Store: s})
	r := mount(console.Config{Inbox: i, Portal: portal.Portal{Logger: slog.New(slog.DiscardHandler)}})
	ask := func(path, token string) *httptest.ResponseRecorder {
		q := httptest.NewRequest(http.MethodGet, console.Prefix+path, nil)
		q.Host = "localhost"
		q.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, q)
		return w
	}
	if w := ask("/dead_letters", "right"); w.Code != 200 || strings.TrimSpace(w.Body.String()) != "[]" {
		t.Errorf("%d %s, want an empty list", w.Code, w.Body)
	}
	if err := i.Keep(t.Context(), remediate.DeadLetter{Source: "grafana", Status: 400, Error: "no JSON",
		Body: []byte("\xff private")}); err != nil {
		t.Fatal(err)
	}
	var l remediate.DeadLetter
	if w := ask("/dead_letters/1", "right"); w.Code != 200 || json.Unmarshal(w.Body.Bytes(), &l) != nil ||
		string(l.Body) != "\xff private" {
		t.Errorf("%d %s, want the dead letter whole", w.Code, w.Body)
	}
	var all []remediate.DeadLetter
	if w := ask("/dead_letters?limit=1", "right"); w.Code != 200 || json.Unmarshal(w.Body.Bytes(), &all) != nil ||
		len(all) != 1 || all[0].Error != "no JSON" || all[0].Body != nil {
		t.Errorf("%d %s, want the dead letter without its body", w.Code, w.Body)
	}
	for path, status := range map[string]int{"/dead_letters?limit=0": 400, "/dead_letters?limit=x": 400,
		"/dead_letters/x": 400, "/dead_letters/2": 404} {
		if w := ask(path, "right"); w.Code != status {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, status)
		}
	}
	for _, path := range []string{"/dead_letters", "/dead_letters/1"} {
		if w := ask(path, "wrong"); w.Code != 401 {
			t.Errorf("%s: %d for a stranger", path, w.Code)
		}
	}
}
