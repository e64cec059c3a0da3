package look

import (
	"time"

	"github.com/ai-micro-service/upkeep/collectors/postgres/serverlog"
	"github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
)

// Facts are what is known of one target at a moment. What findings are made of is here, and nothing else.
type Facts struct {
	Server string
	Kind   string // the domain of its collectors: postgres, redis, docker, host or another
	At     time.Time

	Down    string // why it does not answer; "" where it does
	Figures Figures

	Postgres Postgres
	Redis    *redis.Usage   // nil where it was not read
	Forecast []forecast.Row // of all targets
	Changed  []Changed      // of all targets
}

// Postgres is what only queries of the look read.
type Postgres struct {
	At      time.Time
	Role    string // that upkeep connects as
	Standby bool
	Version int

	Statements *bool // pg_stat_statements is in one of the databases; nil: not known

	Prepared    []Prepared
	ForeignKeys []ForeignKey
	Scans       []Scans
	Never       []Never
	Constraints []Constraint
	Triggers    []Triggers

	Log *serverlog.Report // nil where it was not read
}

// Prepared is a transaction that was prepared and neither committed nor rolled back.
type Prepared struct {
	Name, Database, Owner string
	At                    time.Time
	Seconds               float64
}

// A ForeignKey is one whose rows no index finds.
type ForeignKey struct {
	Database, Schema, Table, Constraint, Refers string
	Rows                                        float64
	Do                                          string // the statement that makes an index; "" for a partitioned table
}

// Scans are how a large table was read.
type Scans struct {
	Database, Schema, Table string
	Bytes, Rows             float64
	Sequential, Read, Index float64 // scans, rows that they read, and scans of indexes
	Since                   *time.Time
}

// Never is a table that was never vacuumed or analyzed.
type Never struct {
	Database, Schema, Table string
	Bytes                   float64
}

// A Constraint is one that rows may violate.
type Constraint struct {
	Database, Schema, Table, Name string
}

// Triggers are those of a table that do not fire.
type Triggers struct {
	Database, Schema, Table string
	Names                   []string
	Internal                bool // of constraints, which are not enforced without
}

// A Changed is what the calls of a statement took on the last day, and in the week before.
type Changed struct {
	Server, Database, User, QueryID string
	Calls, Seconds                  float64 // of the last day
	CallsBefore, SecondsBefore      float64 // of the seven days before
}

// Mean is how many seconds a call took on the last day.
func (c Changed) Mean() float64 { return c.Seconds / c.Calls }

// Before is how many it took in the week before.
func (c Changed) Before() float64 { return c.SecondsBefore / c.CallsBefore }

// added is how many seconds the calls of the last day took more than so many took before.
func (c Changed) added() float64 { return c.Seconds - c.Calls*c.Before() }

// A finder finds one kind of thing that is wrong.
type finder func(f Facts) []Finding

// onPrimary has what finders advise be done on the primary: a standby takes no change of a table or an index.
func onPrimary(all []finder) (there []finder) {
	for _, one := range all {
		there = append(there, func(f Facts) []Finding {
			found := one(f)
			for i := range found {
				if f.Postgres.Standby && found[i].ByHand != "" {
					found[i].ByHand = primary
				}
			}
			return found
		})
	}
	return there
}

const primary = "Do it on the primary: this server is a standby, which takes no changes."

// find returns what is wrong with a target.
func (f Facts) find(all []finder) (found []Finding) {
	for _, one := range all {
		for _, x := range one(f) {
			if x.Subject == nil {
				x.Subject = map[string]string{"server": f.Server}
			}
			x.Server = f.Server
			if f.Postgres.Standby && x.Plan != nil {
				x.Plan, x.ByHand = nil, primary
			}
			found = append(found, x)
		}
	}
	return found
}
