package access

import (
	"crypto/sha256"
	"sync"
	"time"
)

// sessions are those that were ended by a logout. A restart forgets them; they end by themselves.
type sessions struct {
	mu    sync.Mutex
	ended map[string]time.Time // until when they would have lasted
}

func (s *sessions) over(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ended := s.ended[id]
	return ended
}

func (s *sessions) end(id string, until, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = make(map[string]time.Time)
	}
	for old, end := range s.ended {
		if end.Before(now) {
			delete(s.ended, old)
		}
	}
	s.ended[id] = until
}

// links are the one-time links that were made and not used.
type links struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]link
}

type link struct {
	id    Identity
	until time.Time
}

// ownLinks is how many unused links an identity has. A further one takes the place of its oldest:
// no one uses up those of others.
const ownLinks = 5

// makeRoom deletes the oldest link of an identity that has as many as one may have.
func (l *links) makeRoom(id Identity) {
	var oldest [sha256.Size]byte
	own := 0
	for sum, one := range l.all {
		if one.id != id {
			continue
		}
		if own++; own == 1 || one.until.Before(l.all[oldest].until) {
			oldest = sum
		}
	}
	if own >= ownLinks {
		delete(l.all, oldest)
	}
}
