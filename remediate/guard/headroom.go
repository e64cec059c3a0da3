package guard

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// roomAgain is how often a run looks whether replicas have caught up and old
	// transactions have ended, which both do by themselves.
	roomAgain = 30 * time.Second

	// diskAgain is how often it looks whether there is room on a disk, which
	// somebody must make.
	diskAgain = 10 * time.Minute
)

// Headroom makes a run wait while its target has no room for the action.
func Headroom() remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonHeadroom,
		Doc: "Headroom makes the run wait while the target has less free disk space, more replication lag, or an " +
			"older transaction than the policy allows. " +
			"It queries the target. An unknown value never passes: if the action cannot report it, or the disk is " +
			"not visible from here, the run ends.",
		Check: func(ctx context.Context, p remediate.Proposal) error {
			terms := p.Run.Request.Terms
			if terms.FreeDisk <= 0 && terms.Lag <= 0 && terms.Transaction <= 0 {
				return nil
			}
			roomer, ok := p.Action.Executor.(remediate.Roomer)
			if !ok {
				return remediate.Refuse(remediate.ReasonHeadroom,
					"unknown: %s cannot report the headroom of its target; remove free_disk, lag and transaction "+
						"from the policy", p.Action.Name)
			}
			room, err := roomer.Headroom(ctx, p.Run.Request)
			if err != nil {
				return fmt.Errorf("headroom of %s: %w", on(p.Run.Request), err)
			}
			return enough(p, room)
		},
	}
}

// enough compares what there is with what the policy wants.
func enough(p remediate.Proposal, room remediate.Headroom) error {
	terms := p.Run.Request.Terms
	var lacks []string
	var wait time.Duration
	lack := func(again time.Duration, format string, args ...any) {
		lacks, wait = append(lacks, fmt.Sprintf(format, args...)), max(wait, again)
	}
	if terms.FreeDisk > 0 {
		switch {
		case room.FreeDisk == nil:
			// It will not be seen later either.
			return remediate.Refuse(remediate.ReasonHeadroom,
				"unknown: the disk of %s is not visible from here; remove free_disk from the policy, or run upkeep "+
					"on that machine with the right to read the data directory", on(p.Run.Request))
		case *room.FreeDisk < terms.FreeDisk:
			lack(diskAgain, "%.1f %% of the disk is free, less than %.1f %%: free disk space", 100**room.FreeDisk,
				100*terms.FreeDisk)
		}
	}
	if terms.Lag > 0 {
		switch {
		case room.Lag == nil:
			lack(roomAgain, "unknown replication lag: a replica may be starting, or upkeep's role needs the right to "+
				"see it (pg_monitor on PostgreSQL)")
		case *room.Lag > terms.Lag:
			lack(roomAgain, "a replica is %s behind, more than %s: wait until it has caught up", *room.Lag, terms.Lag)
		}
	}
	if terms.Transaction > 0 {
		switch {
		case room.Transaction == nil:
			lack(roomAgain, "unknown age of the oldest transaction: grant upkeep's role the right to see it "+
				"(pg_monitor on PostgreSQL)")
		case *room.Transaction > terms.Transaction:
			lack(roomAgain, "a transaction is %s old, more than %s: end it or wait: %s",
				room.Transaction.Round(time.Second), terms.Transaction, room.Who)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return &remediate.Refusal{Reason: remediate.ReasonHeadroom, Detail: strings.Join(lacks, "; "),
		Until: p.Now.Add(wait)}
}
