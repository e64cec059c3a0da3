package redis

import (
	"context"
	"fmt"

	goredis "github.com/redis/go-redis/v9"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/remediate"
)

// argRunID is where a step says which process of a server it was planned for.
const argRunID = "run_id"

// process names the process that answers.
func process(ctx context.Context, c *goredis.Client) (runID string, err error) {
	s, err := read.ReadState(ctx, c)
	if err != nil {
		return "", fmt.Errorf("which server answers: %w", privilege(err, "+info"))
	}
	return s.RunID, nil
}

// answers refuses where another process answers than the one of the plan: another
// server, or the same one started anew, whose counts begin again and whose settings
// are those of its file. What it needs is for another plan to say. A step of a plan
// that was made before plans said so is of any.
func answers(ctx context.Context, c *goredis.Client, planned string) error {
	if planned == "" {
		return nil
	}
	now, err := process(ctx, c)
	if err == nil && now != planned {
		err = remediate.Refuse(remediate.ReasonChanged, "another process answers than when the plan was made: the server was restarted, or another one has its address (run_id %s, and %s then); plan again", now, planned)
	}
	return err
}
