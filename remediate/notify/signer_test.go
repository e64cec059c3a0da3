package notify_test

import (
	"encoding/base64"
	"errors"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

func signer(t testing.TB, s *store.Store) *notify.Signer {
	t.Helper()
	one, err := notify.NewSigner(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return one
}

func TestSigner(t *testing.T) {
	s, now := begin(t), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	until := now.Add(time.Hour)
	one := signer(t, s.store)
	token := one.Sign(7, "0123456789abcdef", until)
	if token != url.QueryEscape(token) {
		t.Errorf("%q cannot be used in a URL", token)
	}
	for _, again := range []*notify.Signer{one, signer(t, s.store)} { // a replica, or after a restart
		run, plan, end, err := again.Verify(token, until.Add(-time.Second))
		if err != nil || run != 7 || plan != "0123456789abcdef" || !end.Equal(until) {
			t.Errorf("Verify: %d %q %s %v", run, plan, end, err)
		}
	}
	if run, _, _, err := one.Verify(token, until); !errors.Is(err, notify.ErrExpired) || run != 7 {
		t.Errorf("expired: %d %v", run, err)
	}
	if _, _, _, err := signer(t, begin(t).store).Verify(token, now); !errors.Is(err, notify.ErrForeign) {
		t.Errorf("another store's: %v", err)
	}
	for _, bad := range []string{"", "x", "!", token[:len(token)-1], token + "A", token + "=", token + "\n", token[1:],
		base64.RawURLEncoding.EncodeToString(make([]byte, 49)), string(make([]byte, 4000))} {
		if _, _, _, err := one.Verify(bad, now); !errors.Is(err, notify.ErrForeign) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(text) { // each bit of it
		text[i/8] ^= 1 << (i % 8)
		if _, _, _, err := one.Verify(base64.RawURLEncoding.EncodeToString(text), now); !errors.Is(err,
			notify.ErrForeign) {
			t.Fatalf("with bit %d changed: %v", i, err)
		}
		text[i/8] ^= 1 << (i % 8)
	}
	if one.Sign(8, "0123456789abcdef", until) == token || one.Sign(7, "0123456789abcdee", until) == token ||
		one.Sign(7, "0123456789abcdef", until.Add(time.Second)) == token {
		t.Error("two rights have one token")
	}
}

func TestSignerKey(t *testing.T) { onBoth(t, signerKey) }

func signerKey(t *testing.T, s *stage) {
	t.Helper()
	tokens := make([]string, 8)
	var all sync.WaitGroup
	for i := range tokens {
		all.Go(func() {
			if one, err := notify.NewSigner(t.Context(), s.store); err != nil {
				t.Error(err)
			} else {
				tokens[i] = one.Sign(1, "p", time.Unix(9, 0))
			}
		})
	}
	all.Wait()
	for _, token := range tokens {
		if token != tokens[0] {
			t.Errorf("replicas do not share the key: %q", tokens)
		}
	}
	err := s.store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("update secrets set value = 'short'")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := notify.NewSigner(t.Context(), s.store); err == nil {
		t.Error("a broken key was taken")
	}
}

func FuzzVerify(f *testing.F) {
	s, err := store.Open(f.Context(), store.Options{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	one := signer(f, s)
	good := one.Sign(7, "0123456789abcdef", time.Unix(1e9, 0))
	f.Add(good)
	f.Add("")
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, token string) {
		if _, _, _, err := one.Verify(token, time.Unix(0, 0)); err == nil && token != good {
			t.Errorf("%q was taken", token)
		}
	})
}
