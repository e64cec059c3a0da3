package postgres

import (
	"github.com/jackc/pgx/v5"
)

// A place is a table by its names. The zero value means no table.
type place struct{ Schema, Table string }

func (p place) String() string { return pgx.Identifier{p.Schema, p.Table}.Sanitize() }
