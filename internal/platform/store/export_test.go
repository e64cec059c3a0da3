package store

import "fmt"

// WorthQuiet is how many writes are worth a copy of the log in a quiet moment.
const WorthQuiet = worthQuiet

// Schema returns the statements that make a version of the store from the one before, for
// PostgreSQL or for SQLite.
func Schema(version int, postgres bool) (string, error) {
	text, err := schemas.ReadFile(fmt.Sprintf("schema%d.sql", version))
	if postgres {
		return postgresTypes(string(text)), err
	}
	return string(text), err
}
