package access

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// A person mistypes a few times; a program that guesses has one try a second.
	tries    = 5
	eachTry  = time.Second
	tracked  = 1000 // addresses; with more all begin anew
	eachLine = time.Second
)

// failures slows down the passwords that come from one address, and the lines in the log.
type failures struct {
	mu   sync.Mutex
	of   map[string]*rate.Limiter
	last time.Time // when a line was written
	held int       // failures since
}

// allow reports whether another password of an address may be tried.
func (f *failures) allow(address string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.of[address]
	if l == nil {
		if f.of == nil || len(f.of) >= tracked {
			f.of = make(map[string]*rate.Limiter)
		}
		l = rate.NewLimiter(rate.Every(eachTry), tries)
		f.of[address] = l
	}
	return l.AllowN(now, 1)
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
