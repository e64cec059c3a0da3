package rights_test

import (
	"testing"

	"github.com/ai-micro-service/upkeep/internal/target"
)

// fixtures say on what each action of PostgreSQL is planned. An action that is in
// the catalog and not here fails the tests.
func fixtures() map[string]fixture {
	return map[string]fixture{
		"postgres/reindex": {subject: map[string]string{"index": "i"}},
		"postgres/vacuum":  {},
	}
}

// A redisFixture is on what an action of Redis is planned.
type redisFixture struct {
	args     []string // of the server
	params   map[string]string
	prepare  func(t *testing.T, admin *target.Redis)
	planOnly bool     // the steps are not done here
	refuses  string   // the reason, other than privilege, for which this server's plan is refused
	later    []string // rights that only the steps need
}

func redisFixtures() map[string]redisFixture {
	return map[string]redisFixture{
		"redis/bgsave": {},
	}
}
