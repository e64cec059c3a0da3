package access

import (
	"crypto/sha256"
	"sync"
	"time"
)

// links are the one-time links that were made and not used.
type links struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]link
}

type link struct {
	id    Identity
	stamp []byte // of the password or token that made it: a changed one ends the link
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
