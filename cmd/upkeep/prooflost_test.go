package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
)

// A connection that is gone before the request is sent is made and proved anew, a few times; the request arrives once,
// whole, or never.
func TestProvedConnectionIsLost(t *testing.T) {
	t.Parallel()
	for _, closes := range []int{0, 3, 100} {
		proofs, requests := 0, 0
		s := httptest.NewUnstartedServer(nil)
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == portal.ProofPath {
				if proofs++; proofs <= closes {
					w.Header().Set("Connection", "close")
				}
				_ = json.NewEncoder(w).Encode(portal.Proof{Proof: access.Proof("secret", r.URL.Query().Get("challenge"),
					s.Listener.Addr().String())}) // the client judges it
				return
			}
			body, err := io.ReadAll(r.Body)
			if requests++; err != nil || string(body) != "what is asked" || r.Header.Get("Authorization") != "Bearer secret" {
				t.Errorf("it gets %q, %v", body, err)
			}
		})
		s.Start()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/x", strings.NewReader("what is asked"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := login{token: "secret", file: "admin-token"}.send(r, s.URL, time.Minute)
		if err == nil {
			_ = res.Body.Close() // the status says it
		}
		lost := closes > lostTries
		if (err != nil) != lost || lost && !strings.Contains(err.Error(), errLost.Error()) ||
			requests != map[bool]int{false: 1}[lost] || proofs != min(closes, lostTries)+1 {
			t.Errorf("of %d connections that are closed: %d proofs, %d requests, %v", closes, proofs, requests, err)
		}
		s.Close()
	}
}
