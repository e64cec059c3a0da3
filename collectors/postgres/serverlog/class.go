package serverlog

import "strings"

// A Class is what a line of a log tells.
type Class string

// The classes. A line that fails a statement, and has none of its own, is Failed.
const (
	Corrupt       Class = "corrupt"        // a page, an index or a row is damaged
	InputOutput   Class = "io"             // a file could not be read or written
	Panic         Class = "panic"          // the server ended itself
	Killed        Class = "killed"         // a process was terminated by a signal, and all sessions with it
	Recovered     Class = "recovered"      // the server was not shut down properly
	Wraparound    Class = "wraparound"     // transaction ids run out
	DiskFull      Class = "disk_full"      //
	NoMemory      Class = "no_memory"      //
	NoConnections Class = "no_connections" // clients were sent away
	LostWAL       Class = "lost_wal"       // a standby needs WAL that is gone
	OldHorizon    Class = "old_horizon"    // vacuum can neither remove nor freeze
	Deadlock      Class = "deadlock"       //
	Checkpoints   Class = "checkpoints"    // they come too frequently
	Temporary     Class = "temporary"      // files of sorts and hashes
	Autovacuum    Class = "autovacuum"     // it was canceled by who waited for its lock
	Conflict      Class = "conflict"       // with the recovery of a standby
	Login         Class = "login"          // refused
	Settings      Class = "settings"       // of the configuration file, which were not applied
	Failed        Class = "failed"         // statements, by their SQLSTATE
)

// What PostgreSQL writes into a log is matched by the parts of the message that are in its source code. Names and
// values are in between, and are not kept.

// A rule says which class a message is of, or which SQLSTATE it has, for logs that do not say that.
type rule struct {
	begins, has string
	class       Class
	state       string
}

// notes are for messages that are no errors: their SQLSTATE says nothing.
func notes() []rule {
	return []rule{
		{has: ") was terminated by signal ", class: Killed},
		{begins: "database system was not properly shut down", class: Recovered},
		{begins: "checkpoints are occurring too frequently", class: Checkpoints},
		{begins: "temporary file: path ", class: Temporary},
		{begins: "oldest xmin is far in the past", class: OldHorizon},
		{begins: "oldest multixact is far in the past", class: OldHorizon},
		{begins: "cutoff for ", has: " is far in the past", class: OldHorizon},
		{begins: "database ", has: " must be vacuumed within ", class: Wraparound},
		{begins: "page verification failed", class: Corrupt},
		{begins: "configuration file ", has: " contains errors", class: Settings},
		{begins: "could not fork ", has: "Cannot allocate memory", class: NoMemory},
		{begins: "could not ", has: ": No space left on device", class: DiskFull},
	}
}

// errorRules are for messages that end a statement, a session or the server.
func errorRules() []rule {
	return []rule{
		{begins: "canceling autovacuum task", class: Autovacuum},
		{begins: "database is not accepting commands", class: Wraparound},
		{begins: "requested WAL segment ", has: " has already been removed", class: LostWAL},
		{begins: "canceling statement due to conflict with recovery", class: Conflict},
		{begins: "terminating connection due to conflict with recovery", class: Conflict},
		{begins: "could not access status of transaction", class: Corrupt},
		{begins: "canceling statement due to user request", state: "57014", class: ignored},
		{has: ": No space left on device", begins: "could not ", state: "53100"},
		{begins: "deadlock detected", state: "40P01"},
		{begins: "sorry, too many clients already", state: "53300"},
		{begins: "remaining connection slots are reserved", state: "53300"},
		{begins: "too many connections for ", state: "53300"},
		{begins: "out of memory", state: "53200"},
		{begins: "out of shared memory", state: "53200"},
		{begins: "invalid page in block ", state: "XX001"},
		{begins: "could not read block ", has: ": read only ", state: "XX001"},
		{begins: "missing chunk number ", state: "XX001"},
		{begins: "unexpected chunk number ", state: "XX001"},
		{begins: "found xmin ", has: " from before relfrozenxid ", state: "XX001"},
		{begins: "index ", has: " contains unexpected zero page", state: "XX002"},
		{begins: "index ", has: " contains corrupted page", state: "XX002"},
		{begins: "could not read block ", state: "58030"},
		{begins: "could not fsync file ", state: "58030"},
		{begins: "could not write block ", state: "58030"},
		{begins: "password authentication failed for user ", state: "28P01"},
		{begins: "no pg_hba.conf entry for ", state: "28000"},
		{begins: "pg_hba.conf rejects connection ", state: "28000"},
		{begins: "role ", has: " is not permitted to log in", state: "28000"},
		{begins: "duplicate key value violates unique constraint ", state: "23505"},
		{begins: "null value in column ", state: "23502"},
		{has: " violates foreign key constraint ", state: "23503"},
		{begins: "new row for relation ", has: " violates check constraint ", state: "23514"},
		{begins: "conflicting key value violates exclusion constraint ", state: "23P01"},
		{begins: "syntax error at ", state: "42601"},
		{begins: "relation ", has: " does not exist", state: "42P01"},
		{begins: "column ", has: " does not exist", state: "42703"},
		{begins: "function ", has: " does not exist", state: "42883"},
		{begins: "permission denied ", state: "42501"},
		{begins: "could not serialize access ", state: "40001"},
		{begins: "canceling statement due to statement timeout", state: "57014"},
		{begins: "canceling statement due to lock timeout", state: "55P03"},
		{begins: "could not obtain lock ", state: "55P03"},
		{begins: "division by zero", state: "22012"},
		{begins: "value too long for type ", state: "22001"},
		{begins: "invalid input syntax for type ", state: "22P02"},
		{begins: "current transaction is aborted", state: "25P02"},
		{begins: "terminating connection due to idle-in-transaction timeout", state: "25P03"},
		{begins: "terminating connection due to administrator command", state: "57P01"},
		{begins: "the database system is ", state: "57P03"},
		{begins: "database ", has: " does not exist", state: "3D000"},
		{begins: "role ", has: " does not exist", state: "28000"},
	}
}

// ignored is the class of what a client wants, or a restart brings.
const ignored Class = "-"

// matches reports whether a message is of a rule.
func (r rule) matches(message string) bool {
	return strings.HasPrefix(message, r.begins) && (r.has == "" || strings.Contains(message, r.has))
}

// match returns the first rule of which a message is.
func match(all []rule, message string) (rule, bool) {
	for _, r := range all {
		if r.matches(message) {
			return r, true
		}
	}
	return rule{}, false
}

// ofState is the class of a SQLSTATE; Failed for those that have none.
func ofState(state string) Class {
	switch state {
	case "XX001", "XX002":
		return Corrupt
	case "58030":
		return InputOutput
	case "53100":
		return DiskFull
	case "53200":
		return NoMemory
	case "53300":
		return NoConnections
	case "40P01":
		return Deadlock
	case "28P01", "28000":
		return Login
	case "57P01", "57P02", "57P03", "25P02": // a restart, and what follows from an error before
		return ignored
	}
	return Failed
}

// failure reports whether a SQLSTATE is that of an error.
func failure(state string) bool {
	return len(state) == len("00000") && state[:2] != "00" && state[:2] != "01" && state[:2] != "02"
}

// Name returns the name that PostgreSQL's manual has for a SQLSTATE, or "".
func Name(state string) string {
	return map[string]string{"08006": "connection_failure", "08P01": "protocol_violation",
		"22001": "string_data_right_truncation", "22003": "numeric_value_out_of_range", "22012": "division_by_zero",
		"22P02": "invalid_text_representation", "23502": "not_null_violation", "23503": "foreign_key_violation",
		"23505": "unique_violation", "23514": "check_violation", "23P01": "exclusion_violation",
		"25P03": "idle_in_transaction_session_timeout", "25006": "read_only_sql_transaction",
		"28000": "invalid_authorization_specification", "28P01": "invalid_password", "3D000": "invalid_catalog_name",
		"40001": "serialization_failure", "40P01": "deadlock_detected", "42501": "insufficient_privilege",
		"42601": "syntax_error", "42703": "undefined_column", "42883": "undefined_function", "42P01": "undefined_table",
		"53100": "disk_full", "53200": "out_of_memory", "53300": "too_many_connections",
		"54000": "program_limit_exceeded", "55P03": "lock_not_available", "57014": "query_canceled",
		"58030": "io_error", "58P01": "undefined_file", "P0001": "raise_exception", "XX000": "internal_error",
		"XX001": "data_corrupted", "XX002": "index_corrupted"}[state]
}
