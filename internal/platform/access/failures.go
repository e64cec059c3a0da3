package access

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// A person mistypes a few times; a program that guesses has one try a second.
	tries   = 5
	eachTry = time.Second
	// A site may be one client with 65,536 networks, or the customers of a mobile network.
	eachOfSite  = 200 * time.Millisecond
	triesOfSite = 20
	// Who has stolen the cookie of a browser may guess beside that, and is given less.
	eachKnown = time.Minute
	tracked   = 4096 // clients; beyond them the one goes that has tried nothing for the longest time
	eachLine  = time.Second
)

// failures slows down the passwords that come from one client, and the lines in the log.
type failures struct {
	each  time.Duration // after which a client has one more try
	burst int           // how many it has at first, and after a while

	mu     sync.Mutex
	of     map[string]*list.Element
	recent list.List // of *client, the last one to try first
	last   time.Time // when a line was written
	held   int       // failures since
}

type client struct {
	key   string
	tries *rate.Limiter
}

// allow reports whether another password of a client may be tried.
func (f *failures) allow(key string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.of[key]
	if e == nil {
		if f.of == nil {
			f.of = make(map[string]*list.Element)
		}
		if oldest := f.recent.Back(); len(f.of) >= tracked {
			delete(f.of, f.recent.Remove(oldest).(*client).key)
		}
		e = f.recent.PushFront(&client{key, rate.NewLimiter(rate.Every(f.each), f.burst)})
		f.of[key] = e
	}
	f.recent.MoveToFront(e)
	return e.Value.(*client).tries.AllowN(now, 1)
}

// line returns how many failures a line in the log is about; 0: none is written now.
func (f *failures) line(now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held++
	if now.Sub(f.last) < eachLine {
		return 0
	}
	n := f.held
	f.last, f.held = now, 0
	return n
}
