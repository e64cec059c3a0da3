// Package journal is the record of every run, written before each step. Entries
// are appended and never changed; each carries the hash of the one before, so a
// change, a deletion or another order is found by Verify.
//
// Several processes may work on one store. Each is an instance, which lives as
// long as it renews itself (member.go); a run is carried by one instance at a
// time, under a fence that grows each time it changes hands (claim.go).
package journal

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

// ErrNoRun says that no run has that number.
var ErrNoRun = errors.New("there is no such run")

// Config is what a Journal is made of.
type Config struct {
	Store *store.Store
	Name  string           // of this process, for people; "upkeep" where empty
	Lease time.Duration    // how long an instance lives without renewing itself; needed to Join
	Now   func() time.Time // time.Now where nil

	// Shared says that other processes may work on the store too. Where none can,
	// whatever the last one left is taken over at once.
	Shared bool
}

// A Journal keeps runs, their entries, who carries them, and what people said.
type Journal struct {
	store    *store.Store
	name     string
	lease    time.Duration
	now      func() time.Time
	shared   bool
	instance atomic.Int64 // 0 before Join
	expected atomic.Pointer[[]Expected]
	marks    atomic.Pointer[marks]
	judges   atomic.Int64 // before this moment, by the clock of leases, it declares no instance dead
}

// New returns a Journal.
func New(c Config) *Journal {
	j := &Journal{store: c.Store, name: c.Name, lease: c.Lease, now: c.Now, shared: c.Shared}
	if j.name == "" {
		j.name = "upkeep"
	}
	if j.now == nil {
		j.now = time.Now
	}
	return j
}

// Lease returns how long an instance lives without renewing itself.
func (j *Journal) Lease() time.Duration { return j.lease }

// Subject writes labels as one string in a fixed order.
func Subject(labels map[string]string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%q", visible.Text(name), labels[name])
	}
	return b.String()
}

// Expected is a policy in force with an action of its steps.
type Expected struct{ Policy, Action string }

// A querier is the store, or a transaction of it.
type querier func(query string, args ...any) (*sql.Rows, error)
