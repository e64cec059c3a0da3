package usage

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// standbyLife is for how long a standby counts that was seen and is not there: longer
	// than a month, which is for how long the use of indexes is looked at.
	standbyLife = 35 * 24 * time.Hour

	// bookEvery is how often the book is written when nothing in it has changed but the
	// time of the last look.
	bookEvery = 30 * time.Minute

	// bookGap is after which time without a look upkeep cannot say that scans were
	// counted all the while.
	bookGap = 90 * time.Minute
)

// A usageBook is what upkeep remembers of the use of one database's indexes: what the
// server does not tell. Times are milliseconds since 1970.
type usageBook struct {
	System   string              `json:"system"`   // the cluster's identifier
	Timeline string              `json:"timeline"` // another one after a promotion or a restore
	Database int64               `json:"database"` // its oid: one that was dropped and made again is another
	Looked   int64               `json:"looked"`   // when the server was last looked at
	Begun    int64               `json:"begun"`    // since when it was looked at, and scans were counted
	Why      string              `json:"why"`      // what happened then
	Off      bool                `json:"off,omitempty"`
	Standbys []seenStandby       `json:"standbys,omitempty"`
	Indexes  map[int64]seenIndex `json:"indexes"` // by their oid
}

// A seenIndex is one index.
type seenIndex struct {
	Since int64 `json:"s"`           // when it was first seen, or its counter last went back
	Used  bool  `json:"u,omitempty"` // its counter was above 0 at the last look
}

// A seenStandby is one that a server sends its WAL to, or has a slot for.
type seenStandby struct {
	Key  string `json:"key"` // how the server tells it from others
	As   string `json:"as,omitempty"`
	Seen int64  `json:"seen"`
}

// A usageLook is what was seen in one look at a database.
type usageLook struct {
	System, Timeline string
	Database         int64
	Now, Loaded      time.Time // of the look; when the configuration was last loaded, by the server or a standby
	Counted          bool      // scans are counted, everywhere
	Indexes          map[int64]bool
	Standbys         []seenStandby // Seen is of no meaning
	Listed           bool          // there are no others
}

const (
	whyFirst    = "upkeep first looked at the database then"
	whyPromoted = "the server was found promoted or restored then"
	whyOff      = "track_counts was off then, or not known to be on for everybody"
	whyAway     = "upkeep did not look for a while, and the server's configuration was loaded then: whether scans " +
		"were counted all the while is not known"
)

// parseBook reads a book. One that cannot be read is one that was never written:
// everything is as new as the next look.
func parseBook(text []byte) (b usageBook) {
	if json.Unmarshal(text, &b) != nil {
		return usageBook{}
	}
	return b
}

// after returns the book after one more look, and whether it is worth writing.
func (b usageBook) after(l usageLook) (next usageBook, worth bool) {
	now := l.Now.UnixMilli()
	same := b.System == l.System && b.Database == l.Database && b.Looked != 0
	next = usageBook{System: l.System, Timeline: l.Timeline, Database: l.Database, Looked: now, Off: !l.Counted,
		Begun: b.Begun, Why: b.Why, Indexes: make(map[int64]seenIndex, len(l.Indexes))}
	begin := func(at int64, why string) {
		if at > next.Begun || !same {
			next.Begun, next.Why = at, why
		}
	}
	switch away := time.Duration(now-b.Looked) * time.Millisecond; {
	case !same:
		begin(now, whyFirst)
	case b.Timeline != l.Timeline:
		begin(now, whyPromoted)
	case b.Off || !l.Counted:
		begin(now, whyOff)
	case away > bookGap && l.Loaded.UnixMilli() >= b.Looked:
		begin(l.Loaded.UnixMilli(), whyAway)
	}
	for oid, used := range l.Indexes {
		was, known := b.Indexes[oid]
		since := was.Since
		if !same || !known || was.Used && !used {
			since = now
		}
		next.Indexes[oid] = seenIndex{since, used}
	}
	if b.System == l.System && !l.Listed {
		next.Standbys = b.Standbys
	}
	next.Standbys = rememberStandbys(next.Standbys, l.Standbys, now)
	worth = !same || time.Duration(now-b.Looked)*time.Millisecond >= bookEvery || now < b.Looked ||
		next.Timeline != b.Timeline || next.Off != b.Off || next.Begun != b.Begun ||
		!maps.Equal(next.Indexes, b.Indexes) || !slices.EqualFunc(next.Standbys, b.Standbys,
		func(a, b seenStandby) bool { return a.Key == b.Key && a.As == b.As })
	return next, worth
}

// rememberStandbys puts those that are there in the place of the same that were seen
// before. What was seen and is not there is kept for a while.
func rememberStandbys(before, now []seenStandby, at int64) (all []seenStandby) {
	before = slices.Clone(before)
	slices.SortStableFunc(before, func(a, b seenStandby) int { return cmp.Compare(b.Seen, a.Seen) })
	for _, s := range now {
		s.Seen = at
		all = append(all, s)
		i := slices.IndexFunc(before, func(o seenStandby) bool { return o.Key == s.Key && o.As == s.As })
		if i < 0 {
			i = slices.IndexFunc(before, func(o seenStandby) bool {
				return o.Key == s.Key &&
					(o.As == "" || s.As == "")
			})
		}
		if i >= 0 {
			before = slices.Delete(before, i, i+1)
		}
	}
	for _, s := range before {
		if time.Duration(at-s.Seen)*time.Millisecond < standbyLife {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b seenStandby) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key),
			cmp.Compare(a.As, b.As))
	})
	return all
}

// unasked reports which standbys may use indexes and are not asked, of those that were
// seen at a look and in the days before.
func (b usageBook) unasked(asked map[string]bool) (all []string) {
	for _, s := range b.Standbys {
		switch {
		case s.As != "" && asked[s.As]:
		case s.Seen == b.Looked:
			all = append(all, s.Key)
		default:
			all = append(all, fmt.Sprintf("%s (last seen at %s)", s.Key,
				time.UnixMilli(s.Seen).UTC().Format(time.RFC3339)))
		}
	}
	return all
}
