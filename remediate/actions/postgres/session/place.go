package session

import (
	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A Place is the table that a step works on, as the arguments of each step name it.
type Place struct {
	Database string `arg:"database"`
	Schema   string `arg:"schema"`
	Table    string `arg:"table"`
}

// PlaceOf is the table of a request.
func PlaceOf(r remediate.Request) Place {
	return Place{Database: r.Subject["database"], Schema: r.Subject["schema"], Table: r.Subject["table"]}
}

// Name is the name of the table, quoted.
func (p Place) Name() string { return pgx.Identifier{p.Schema, p.Table}.Sanitize() }
