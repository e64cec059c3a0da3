package rows

import (
	"github.com/jackc/pgx/v5"
)

// A Table is a table by its names. The zero value means no table.
type Table struct{ Schema, Name string }

func (p Table) String() string { return pgx.Identifier{p.Schema, p.Name}.Sanitize() }
