package access_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// cookies returns what a login of a user leaves in the browser, by name.
func (b *bench) cookies(t *testing.T, user string) map[string]*http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	if err := b.Begin(w, access.Identity{Kind: access.ByUser, Name: user}, true); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*http.Cookie)
	for _, c := range w.Result().Cookies() {
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode {
			t.Errorf("a cookie: %+v", c)
		}
		all[c.Name] = c
	}
	return all
}

// from makes a request from an address with cookies.
func from(address string, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/login", nil)
	r.RemoteAddr = address
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

// A user is let in by a browser in which he has logged in before while others guess at his name from the same
// network without end; the cookie opens nothing by itself, and is worth no more than the password that made it.
func TestKnownBrowser(t *testing.T) {
	b := newBench()
	ann := b.cookies(t, "ann")[access.Browser]
	const shared = "192.0.2.7:1"
	flood := func() {
		for range 50 {
			_, _, _ = b.Login(from(shared), "ann", "wrong")
		}
	}
	flood()
	if _, _, err := b.Login(from(shared), "ann", "right"); !errors.Is(err, access.ErrSlow) {
		t.Fatalf("the flood keeps no one out: %v", err)
	}
	for n := range 4 {
		if _, ok, err := b.Login(from(shared, ann), "ann", "mistyped"); ok || !errors.Is(err, access.ErrWrong) {
			t.Errorf("mistyped %d times: %v", n+1, err)
		}
	}
	if id, ok, err := b.Login(from(shared, ann), "ann", "right"); !ok || err != nil || id.Role != access.Approve {
		t.Errorf("beside the flood: %+v %v", id, err)
	}
	if _, ok, err := b.Identify(from(shared, ann)); ok || err != nil {
		t.Errorf("the cookie logs in by itself: %v", err)
	}
	if client, before := b.Client(from(shared, ann)); client != "user/ann" || !before {
		t.Errorf("counted for %q, %v", client, before)
	}
	b.now = b.now.Add(10 * time.Minute)
	flood()
	session := b.cookies(t, "ann")[access.Cookie]
	another := newBench()
	another.users["ann"] = "former"
	for what, c := range map[string]*http.Cookie{
		"another user's":        b.cookies(t, "bob")[access.Browser],
		"a session":             {Name: access.Browser, Value: session.Value},
		"no letter":             {Name: access.Browser, Value: ""},
		"another letter":        {Name: access.Browser, Value: ann.Value[:9] + string(ann.Value[9]^1) + ann.Value[10:]},
		"of a former password":  another.cookies(t, "ann")[access.Browser],
		"as that of a session":  {Name: access.Cookie, Value: ann.Value},
		"a name beside the sum": {Name: access.Browser, Value: ann.Value + "A"},
	} {
		if _, _, err := b.Login(from(shared, c), "ann", "right"); !errors.Is(err, access.ErrSlow) {
			t.Errorf("%s: %v", what, err)
		}
		if _, ok, err := b.Identify(from(shared, c)); ok || err != nil {
			t.Errorf("%s logs in: %v", what, err)
		}
	}
	for what, change := range map[string]func(){
		"after half a year":     func() { b.now = b.now.Add(181 * 24 * time.Hour); flood() },
		"of a user who is gone": func() { delete(b.users, "ann") },
	} {
		change()
		if client, before := b.Client(from(shared, ann)); client != "192.0.2.7/32" || before {
			t.Errorf("%s: counted for %q, %v", what, client, before)
		}
	}
}

// Passwords of strangers that are looked at, which is slow, take no place from those of known browsers, however
// many networks they come from.
func TestKnownBrowserHasAPlace(t *testing.T) {
	held := &holding{users: users{"ann": "right"}, inside: make(chan bool, 100), leave: make(chan bool)}
	g := access.New(access.Config{Users: held, Key: func() ([]byte, error) { return []byte("key"), nil }})
	w := httptest.NewRecorder()
	if err := g.Begin(w, access.Identity{Kind: access.ByUser, Name: "ann"}, false); err != nil {
		t.Fatal(err)
	}
	ann := w.Result().Cookies()[1]
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	busy := make(chan bool, 100)
	for n := range 60 {
		all.Go(func() {
			_, _, err := g.Login(from(fmt.Sprintf("192.0.2.%d:1", n)).WithContext(ctx), "ann", "wrong")
			busy <- errors.Is(err, access.ErrBusy)
		})
	}
	servertest.Eventually(t, "the places are taken and the queue is full", func() bool {
		return len(held.inside) > 0 && len(busy) > 0
	})
	answered := make(chan bool, 1)
	all.Go(func() {
		_, ok, err := g.Login(from("192.0.2.1:1", ann), "ann", "right")
		if answered <- ok; !ok || err != nil {
			t.Errorf("a known browser: %v", err)
		}
	})
	<-answered
	stop()
	close(held.leave)
	all.Wait()
}

// Whatever cookies who guesses has, of other users, forged or stale, as many passwords are looked at as two buckets
// allow that know of no cookies; with the very cookie of the user, five more and one a minute. And the user himself is
// let in at any moment of it.
func TestGuessingIsNotMadeEasier(t *testing.T) {
	const seeds, guesses = 6, 10_000
	for seed := range uint64(seeds) {
		random := rand.New(rand.NewPCG(seed, 15))
		b := newBench()
		former := newBench()
		former.users["ann"] = "former"
		bob, ann, owner := b.cookies(t, "bob"), b.cookies(t, "ann"), b.cookies(t, "ann")
		useless := []*http.Cookie{nil, bob[access.Browser], bob[access.Cookie], former.cookies(t, "ann")[access.Browser],
			{Name: access.Browser, Value: ann[access.Cookie].Value}, {Name: access.Browser, Value: "x.y"}}
		begun, last := b.now, b.now.Add(-time.Hour)
		networks, users := make(map[string]*bucket), make(map[string]*bucket)
		looked, stolen := 0, 0
		for n := range guesses {
			b.now = b.now.Add(time.Duration(random.Int64N(int64(50 * time.Millisecond))))
			address := fmt.Sprintf("192.0.2.%d:%d", random.IntN(3), n)
			r := from(address)
			thief := seed%2 == 1 && random.IntN(3) == 0
			if thief {
				r.AddCookie(ann[access.Browser])
			} else if c := useless[random.IntN(len(useless))]; c != nil {
				r.AddCookie(c)
			}
			before := b.looked.Load()
			if _, ok, err := b.Login(r, "ann", fmt.Sprint("guess ", n)); ok || err == nil {
				t.Fatalf("seed %d: a guess: %v", seed, err)
			}
			got := int(b.looked.Load() - before)
			if looked += got; !thief {
				network := access.Network(r)
				want := 0
				if of(networks, network, b.now).take(b.now) || of(users, network, b.now).take(b.now) {
					want = 1
				}
				if got != want && seed%2 == 0 {
					t.Fatalf("seed %d, guess %d of %s: %d looked at, want %d", seed, n, network, got, want)
				}
			} else {
				stolen += got
			}
			if b.now.Sub(last) > time.Minute {
				last = b.now
				if _, ok, err := b.Login(from(address, owner[access.Browser]), "ann", "right"); !ok || err != nil {
					t.Fatalf("seed %d, after %s: the user himself: %v", seed, b.now.Sub(begun), err)
				}
			}
		}
		took := b.now.Sub(begun)
		most := 3 * 2 * (5 + int(took.Seconds()))
		if seed%2 == 1 {
			most += 5 + int(took.Minutes())
		}
		if looked > most {
			t.Errorf("seed %d: %d guesses were looked at in %s, %d by the user's own cookie; want %d at most", seed, looked,
				took, stolen, most)
		}
	}
}

// holding are users with one right password; a wrong one is compared until leave is closed.
type holding struct {
	users
	inside, leave chan bool
}

func (h *holding) Known(name, password string, turn func() (func(), error)) (bool, error) {
	done, err := turn()
	if err != nil {
		return false, err
	}
	defer done()
	if h.users[name] == password {
		return true, nil
	}
	h.inside <- true
	<-h.leave
	return false, nil
}

// Who has a whole site of IPv6 networks guesses little faster than who has one, at no name and at the name of a user;
// another site is not slowed down.
func TestGuessingFromASite(t *testing.T) {
	b := newBench()
	const seconds = 60
	for n := range seconds * 50 {
		b.now = b.now.Add(time.Second / 50)
		name := []string{"ann", "made up"}[n%2]
		if _, ok, err := b.Login(from(fmt.Sprintf("[2001:db8:1:%x::1]:1", n)), name, "wrong"); ok || err == nil {
			t.Fatalf("guess %d: %v", n, err)
		}
	}
	if n := b.looked.Load(); n > 2*(20+5*seconds) {
		t.Errorf("%d guesses in %d seconds were looked at", n, seconds)
	}
	for address, want := range map[string]error{"[2001:db8:1:ffff::1]:1": access.ErrSlow, "[2001:db8:2::1]:1": nil,
		"192.0.2.1:1": nil} {
		if _, _, err := b.Login(from(address), "ann", "right"); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", address, err, want)
		}
	}
}

// A bucket is the model of the tries of a client: five at first, one more each second.
type bucket struct {
	level float64
	at    time.Time
}

func of(all map[string]*bucket, key string, now time.Time) *bucket {
	if all[key] == nil {
		all[key] = &bucket{5, now}
	}
	return all[key]
}

func (b *bucket) take(now time.Time) bool {
	b.level, b.at = min(5, b.level+now.Sub(b.at).Seconds()), now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}
