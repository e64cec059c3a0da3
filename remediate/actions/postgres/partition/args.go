package partition

import (
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
)

// Args are the arguments of a step on one partition.
type Args struct {
	rows.Args

	Kind       string `arg:"kind"` // of the age column
	PartSchema string `arg:"part_schema"`
	PartTable  string `arg:"part_table"`
	PartOID    int64  `arg:"part_oid"`
	Low        string `arg:"low"` // its bounds, quoted
	High       string `arg:"high"`
	First      bool   `arg:"first,omitempty"` // it is dropped first: all that the run would remove is counted there
}
