package rights

import (
	"slices"
	"strings"
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
