package access

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

const (
	endedNote = "sessions that were ended"

	// endedKept is how long what was read is believed: another replica may have ended a session.
	endedKept = time.Second

	// ownEnded is how many ended sessions of one identity are kept one by one. Beyond them all of its
	// sessions end that began before the latest of those that are dropped: no one makes upkeep forget.
	ownEnded = 50
)

// Notes keep texts over a restart.
type Notes interface {
	// Change replaces a note by what change makes of it, which is called again where another process was
	// faster; nil leaves it as it is.
	Change(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error
}

// A ticket is what a cookie holds, signed.
type ticket struct {
	Kind  Kind   `json:"kind"`
	Name  string `json:"name"`
	Stamp []byte `json:"stamp"` // of the password or token: a changed one ends the session
	Until int64  `json:"until"`
	ID    string `json:"id"` // of what a logout ends
}

func (t *ticket) identity() string { return Identity{Kind: t.Kind, Name: t.Name}.String() }

// sessions are those that were ended by a logout, until they would have ended by themselves.
type sessions struct {
	notes Notes

	mu    sync.Mutex
	ended ended
	read  time.Time
}

// ended has the sessions of each identity that are over.
type ended map[string]*endedOf

// endedOf are sessions by their IDs, with their ends in Unix seconds.
type endedOf struct {
	IDs    map[string]int64 `json:"ids"`
	Before int64            `json:"before,omitempty"` // what would have ended until then is over, too
}

func (e ended) over(who string, t *ticket) bool {
	of := e[who]
	if of == nil {
		return false
	}
	_, over := of.IDs[t.ID]
	return over || t.Until <= of.Before
}

// add ends a session and drops what needs no remembrance any more.
func (e ended) add(who string, t *ticket, now int64) {
	if e[who] == nil {
		e[who] = &endedOf{}
	}
	if e[who].IDs == nil {
		e[who].IDs = make(map[string]int64)
	}
	e[who].IDs[t.ID] = t.Until
	for name, of := range e {
		for id, until := range of.IDs {
			if until < now {
				delete(of.IDs, id)
			}
		}
		if len(of.IDs) == 0 && of.Before < now {
			delete(e, name)
		}
	}
	for of := e[who]; of != nil && len(of.IDs) > ownEnded; {
		first := ""
		for id, until := range of.IDs {
			if first == "" || until < of.IDs[first] {
				first = id
			}
		}
		of.Before = max(of.Before, of.IDs[first])
		delete(of.IDs, first)
	}
}

// over reports whether a session was ended.
func (s *sessions) over(ctx context.Context, t *ticket, now time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.read); s.notes != nil && (age < 0 || age >= endedKept) {
		reading, cancel := context.WithTimeout(ctx, endedKept)
		err := s.notes.Change(reading, endedNote, func(text []byte) ([]byte, error) {
			read, err := parseEnded(text)
			if err == nil {
				s.ended, s.read = read, now
			}
			return nil, err
		})
		cancel()
		if err != nil && s.read.IsZero() {
			return false, fmt.Errorf("ended sessions: %w", err)
		}
		s.read = now // while the store is away, what was read last holds
	}
	return s.ended.over(t.identity(), t), nil
}

// end ends a session: at once in this process, and for others and after a restart where err is nil.
func (s *sessions) end(ctx context.Context, t *ticket, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = make(ended)
	}
	s.ended.add(t.identity(), t, now.Unix())
	if s.notes == nil {
		return nil
	}
	err := s.notes.Change(ctx, endedNote, func(text []byte) ([]byte, error) {
		all, err := parseEnded(text)
		if err != nil {
			return nil, err
		}
		all.add(t.identity(), t, now.Unix())
		return json.Marshal(all)
	})
	if err != nil {
		return fmt.Errorf("ended sessions: %w", err)
	}
	return nil
}

func parseEnded(text []byte) (ended, error) {
	all := make(ended)
	if len(text) == 0 {
		return all, nil
	}
	err := json.Unmarshal(text, &all)
	return all, err
}
