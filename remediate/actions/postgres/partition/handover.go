package partition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
)

// The error codes with which the server says that a partition does not fit in.
const (
	codeCheck   = "23514"
	codeOverlap = "42P17"
)

// hand makes the partition one of the destination's, so that its rows are at any
// moment in the one or in the other.
func (p part) hand(ctx context.Context) error {
	now, err := p.whereabouts(ctx, p.c)
	switch {
	case err != nil:
		return err
	case now.Parent == p.dest && now.Named && now.Bounded:
		return nil
	}
	if err := p.still(now); err != nil {
		return p.leave(ctx, now, err)
	}
	if now, err = p.ours(ctx, now); err != nil {
		return err
	}
	if now.Pending {
		if err := p.finalize(ctx, now); err != nil {
			return p.again(ctx, err)
		}
		now.Ours = true
	}
	if err := p.proven(ctx, now); err != nil {
		return p.again(ctx, err)
	}
	err = p.soon(ctx, p.exchange)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok &&
		(refused.Code == codeCheck || refused.Code == codeOverlap) {
		err = remediate.Refuse(remediate.ReasonChanged, "%s does not take partition %s: %s", p.To, p.self,
			refused.Message)
	}
	if err != nil {
		return p.again(ctx, err)
	}
	return nil
}

// proven has the partition prove its bounds by a constraint, while others use it.
func (p part) proven(ctx context.Context, now partState) error {
	if err := p.mark(ctx, now); err != nil {
		return err
	}
	return p.do(ctx, 5*time.Second, fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s", p.self, boundName))
}

// exchange is the transaction in which the partition changes hands. What the plan
// relies on is looked at under its locks.
func (p part) exchange(ctx context.Context, tx pgx.Tx) error {
	if !p.Back && p.quota.Bounded() {
		// As before a drop: others read it meanwhile, and what they would write waits.
		if err := p.exec(ctx, tx, "LOCK TABLE ONLY "+p.self.String()+" IN SHARE MODE"); err != nil {
			return err
		}
		if err := p.counted(ctx, tx); err != nil {
			return err
		}
	}
	err := p.exec(ctx, tx,
		"LOCK TABLE ONLY "+p.From.String()+" IN ACCESS EXCLUSIVE MODE",
		"LOCK TABLE ONLY "+p.To.String()+" IN SHARE UPDATE EXCLUSIVE MODE",
		"LOCK TABLE ONLY "+p.self.String()+" IN ACCESS EXCLUSIVE MODE")
	if err != nil {
		return err
	}
	now, err := p.whereabouts(ctx, tx)
	if err != nil {
		return err
	}
	if err := p.still(now); err != nil {
		return err
	}
	if now.Pending {
		return remediate.Refuse(remediate.ReasonChanged, "somebody else detaches partition %s", p.self)
	}
	if err := p.relied(ctx, tx, now); err != nil {
		return err
	}
	if err := p.fits(ctx, tx); err != nil {
		return err
	}
	var statements []string
	if now.Parent != 0 {
		statements = append(statements, p.detachText())
	}
	return p.exec(ctx, tx, append(statements,
		attachText(p.To, p.self, p.part.From, p.part.To),
		fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", p.self, boundName))...)
}

// fits refuses tables between which a partition cannot change hands, as the plan did.
func (p part) fits(ctx context.Context, tx pgx.Tx) error {
	why, err := unlike(ctx, p.Movement, tx, rows.Survey{Version: p.version, Kind: p.args.Kind,
		Dest: rows.Side{OID: p.dest, Kind: "p"}}, p.part)
	switch {
	case err != nil:
		return err
	case why != "":
		return remediate.Refuse(remediate.ReasonChanged, "partition %s cannot change hands any more: %s", p.self, why)
	case p.Back:
		return nil
	}
	return p.CheckReaders(ctx, tx, p.source, p.dest, p.args.Wider)
}
