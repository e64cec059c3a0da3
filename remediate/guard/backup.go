package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// backupAgain is how often a run looks whether a backup was made and verified,
// which takes minutes at least.
const backupAgain = 10 * time.Minute

// Backups tells of backups that were read back and found good.
type Backups interface {
	// Verified returns when the newest verified backup of a server was made, zero
	// when there is none.
	Verified(ctx context.Context, server string) (time.Time, error)
}

// Backup makes a run wait that would remove what cannot be brought back, while
// there is no verified backup that is young enough. A policy that does not ask
// for one has chosen so.
func Backup(b Backups) remediate.Guard {
	return remediate.Guard{
		Name:  "backup",
		Doc:   "Backup makes the run of a destructive action wait while the newest verified backup of its target is older than the policy says, or none is known.",
		Early: true,
		Check: func(ctx context.Context, p remediate.Proposal) error {
			within, server := p.Run.Request.Terms.Backup, on(p.Run.Request)
			if p.Action.Risk != remediate.Destructive || within <= 0 {
				return nil
			}
			var made time.Time
			var err error
			if b != nil {
				made, err = b.Verified(ctx, server)
			}
			var what string
			switch {
			case err != nil:
				what = fmt.Sprintf("it is not known whether %s has a verified backup: %v", server, err)
			case made.IsZero():
				what = fmt.Sprintf("no verified backup of %s is known: make one, have it verified, and name it in the configuration", server)
			case p.Now.Sub(made) > within:
				what = fmt.Sprintf("the newest verified backup of %s was made at %s, longer ago than %s: make one and have it verified", server, made.Format(time.RFC3339), within)
			default:
				return nil
			}
			return &remediate.Refusal{Reason: "backup", Detail: what, Until: p.Now.Add(backupAgain)}
		},
	}
}
