package rights

import (
	"context"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// RedisLine writes the needs as a line for Redis' aclfile (or its users.acl): a
// user without keys, channels or a password, and with these commands. Logging
// in as that user needs a password first, as with
// ACL SETUSER upkeep >… and ACL SAVE.
func RedisLine(role string, needs []Need) string {
	if role == "" {
		role = Role
	}
	rules := []string{"user", role, "on", "resetkeys", "resetchannels", "-@all"}
	for _, n := range needs {
		for _, r := range n.Rights {
			for rule := range strings.FieldsSeq(r.Grant) {
				if !slices.Contains(rules[2:], rule) {
					rules = append(rules, rule)
				}
			}
		}
	}
	return strings.Join(rules, " ") + "\n"
}

// RedisConn returns a connection of its own, on which no other command is sent, and what closes it: a transaction
// that could not be left is of no other command.
func RedisConn(r *target.Redis) (conn *goredis.Conn, done func()) {
	options := *r.Client.Options()
	options.PoolSize = 1
	alone := goredis.NewClient(&options)
	conn = alone.Conn()
	return conn, func() { // nothing was written
		_ = conn.Close()
		_ = alone.Close()
	}
}

// FindRedis compares what is needed with what the user may that upkeep logs in as. It changes nothing. The command
// grants everything that is missing.
func FindRedis(ctx context.Context, r *target.Redis, needs []Need) (m Missing, err error) {
	conn, done := RedisConn(r)
	defer done()
	if err := conn.Ping(ctx).Err(); err != nil && !goredis.HasErrorPrefix(err, "NOPERM") {
		return m, err
	}
	m.Role = "default"
	if user, err := conn.Do(ctx, "acl", "whoami").Text(); err == nil {
		m.Role = user
	}
	var rules, by []string
	for _, n := range needs {
		for _, right := range n.Rights {
			if slices.Contains(rules, right.Grant) || RedisAllows(ctx, conn, right.Grant) {
				continue
			}
			rules = append(rules, right.Grant)
			if !slices.Contains(by, n.By) {
				by = append(by, n.By)
			}
		}
	}
	switch {
	case len(rules) == 0:
	case Check(Redis, m.Role) != nil: // no command can name it
		m.Unseen = append(m.Unseen, "the user of upkeep needs "+strings.Join(rules, " "))
	default:
		m.Server = []Gap{{"ACL SETUSER " + m.Role + " " + strings.Join(rules, " "), strings.Join(by, ", ")}}
	}
	return m, nil
}

// RedisAllows reports whether the user may run the command of a right. It is not run: it is put into
// a transaction, at which the server looks at the rights, and the transaction is
// discarded.
func RedisAllows(ctx context.Context, conn *goredis.Conn, grant string) bool {
	words := strings.Split(strings.TrimPrefix(grant, "+"), "|")
	arguments := map[string][]any{
		"slowlog|get": {1}, "client|setname": {"upkeep"}, "client|pause": {1, "write"}, "config|get": {"dir"},
		"config|set": {"activedefrag", "no"}, "hello": {2},
	}
	var command []any
	for _, w := range words {
		command = append(command, w)
	}
	command = append(command, arguments[strings.Join(words, "|")]...)
	denied := func(err error) bool { return goredis.HasErrorPrefix(err, "NOPERM") }
	switch words[0] {
	case "hello":
		return true // the connection has been made
	case "multi", "discard":
		err := conn.Do(ctx, "multi").Err()
		if err == nil {
			err = conn.Do(ctx, "discard").Err()
		}
		return !denied(err)
	}
	if err := conn.Do(ctx, "multi").Err(); err != nil {
		return true // not known; the right to multi is said by itself
	}
	defer func() { _ = conn.Do(ctx, "discard").Err() }() // the connection is closed after all
	return !denied(conn.Do(ctx, command...).Err())
}
