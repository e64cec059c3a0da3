package rebuild

import (
	"strconv"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// repackArgs are the arguments of a step of postgres/repack, in each of its ways.
type repackArgs struct {
	TableArgs

	Way      string `arg:"way"`
	Contract string `arg:"contract,omitempty"` // of the table; see package relation

	Version string `arg:"version,omitempty"` // of pg_repack; of the server where rows are moved
	Indexes string `arg:"indexes,omitempty"` // that the table has before, by their oids

	Column string `arg:"column,omitempty"` // which an update sets to what it is
	Goal   int64  `arg:"goal,omitempty"`   // pages

	Unprivileged string `arg:"unprivileged,omitempty"` // in plans of earlier versions
}

// A repackStep is one with these arguments.
type repackStep = remediate.Typed[repackArgs]

// indexArgs name the index that postgres/reindex works on.
type indexArgs struct {
	session.Place

	Index string `arg:"index"`
}

func indexArgsOf(r remediate.Request) indexArgs {
	return indexArgs{Place: session.PlaceOf(r), Index: r.Subject["index"]}
}

// buildArgs are the arguments of the step that builds an index anew.
type buildArgs struct {
	indexArgs

	OID      int64          `arg:"oid"`
	Node     int64          `arg:"node"`     // its file before
	Patience *time.Duration `arg:"patience"` // nil in plans of earlier versions
	Known    oidList        `arg:"known"`    // leftovers of others
}

// A buildStep is one with these arguments.
type buildStep = remediate.Typed[buildArgs]

// dropArgs are those of the step that drops what an earlier build has left.
type dropArgs struct {
	indexArgs

	Drop    string `arg:"drop,omitempty"` // its name
	DropOID int64  `arg:"drop_oid,omitempty"`
}

// An oidList is OIDs with commas between.
type oidList []int64

// MarshalText implements encoding.TextMarshaler.
func (l oidList) MarshalText() ([]byte, error) {
	all := make([]string, len(l))
	for i, oid := range l {
		all[i] = strconv.FormatInt(oid, 10)
	}
	return []byte(strings.Join(all, ",")), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *oidList) UnmarshalText(text []byte) error {
	for one := range strings.SplitSeq(string(text), ",") {
		if one == "" {
			continue
		}
		oid, err := strconv.ParseInt(one, 10, 64)
		if err != nil {
			return err
		}
		*l = append(*l, oid)
	}
	return nil
}
