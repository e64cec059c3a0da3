// Package redis changes Redis and Valkey. Each file is one action.
package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// savePoll is how often a save that is being made is asked about.
	savePoll = 100 * time.Millisecond

	// loadingWait is when a server is looked at again that reads its data set.
	loadingWait = 30 * time.Second
)

// A need is one right and a command that cannot be run without it.
type need struct {
	grant   string // as "+bgsave"
	command []any
}

// rights makes the list of an action of its needs. What is needed to connect and
// to look comes first.
func rights(needs ...need) []remediate.Right {
	all := []remediate.Right{
		{Grant: "+hello", For: "the connection"},
		{Grant: "+client|setname", For: "the connection, so that others see whose it is"},
		{Grant: "+info", For: "to measure, and to look before and after"},
		{Grant: "+multi", For: "to see at plan time whether the other rights are there, in a transaction that is " +
			"discarded"},
		{Grant: "+discard", For: "the same"},
	}
	for _, n := range needs {
		all = append(all, remediate.Right{Grant: n.grant, For: "the action itself"})
	}
	return all
}

// allowed refuses when the server would not let us run one of the commands. They
// are not run: the server checks the rights for each when it is put into a
// transaction, and the transaction is discarded. Without that right the error comes
// at the moment of acting.
func allowed(ctx context.Context, c *goredis.Client, needs ...need) error {
	// A connection of its own, which is not reused: a transaction that could
	// not be left would affect the next user.
	options := *c.Options()
	options.PoolSize = 1
	alone := goredis.NewClient(&options)
	defer func() { _ = alone.Close() }() // nothing is left to be written
	conn := alone.Conn()
	defer func() { _ = conn.Close() }() // as above
	if err := conn.Do(ctx, "multi").Err(); err != nil {
		if denied(err) {
			return nil
		}
		return fmt.Errorf("multi: %w", err)
	}
	var lacking []string
	var fault error
	for _, n := range needs {
		switch err := conn.Do(ctx, n.command...).Err(); {
		case denied(err):
			lacking = append(lacking, n.grant)
		case err != nil && fault == nil:
			fault = fmt.Errorf("%v: %w", n.command[0], err)
		}
	}
	if err := conn.Do(ctx, "discard").Err(); err != nil && !denied(err) {
		return errors.Join(fault, fmt.Errorf("discard: %w", err))
	} else if err != nil {
		return remediate.Refuse(remediate.ReasonPrivilege,
			"the user may begin a transaction and not leave it: grant +discard")
	}
	if len(lacking) > 0 {
		return remediate.Refuse(remediate.ReasonPrivilege, "the user needs further rights: grant %s",
			strings.Join(lacking, " "))
	}
	return fault
}

// denied reports whether an answer says that the user has not the right.
func denied(err error) bool { return goredis.HasErrorPrefix(err, "NOPERM") }

// privilege makes a refusal that names the missing right from an error answer.
func privilege(err error, grant string) error {
	if denied(err) {
		return remediate.Refuse(remediate.ReasonPrivilege, "the user needs further rights: grant %s", grant)
	}
	return err
}

// persistence asks how well the data is kept, and refuses while it is being read.
func persistence(ctx context.Context, c *goredis.Client) (read.Snapshot, error) {
	s, err := read.ReadPersistence(ctx, c)
	if err != nil {
		return s, privilege(err, "+info")
	}
	if s.Loading {
		return s, &remediate.Refusal{Reason: remediate.ReasonUnfit, Detail: "the server is reading its data set",
			Until: time.Now().Add(loadingWait)}
	}
	return s, nil
}

// idle waits until neither a save nor a rewrite of the append-only file runs.
func idle(ctx context.Context, c *goredis.Client) (read.Snapshot, error) {
	for {
		s, err := read.ReadPersistence(ctx, c)
		if err != nil || !s.InProgress && !s.Rewriting {
			return s, privilege(err, "+info")
		}
		if err := pause(ctx, savePoll); err != nil {
			return s, fmt.Errorf("waiting for the save: %w", err)
		}
	}
}

// pause waits, or returns why it must not any longer.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// A child is work that the server does in a process of its own, one at a time.
type child struct {
	client  *goredis.Client
	process string // the run_id of the plan; "" for any
	command string
	grant   string
	done    func(read.Snapshot) (bool, error) // whether it has succeeded since the plan was made
	early   func(read.Snapshot) bool          // whether it would not be known from the one before; may be nil
	failed  string                            // what is to be said when it has not
}

// carry waits for what others do, and then does the work and waits for it, unless
// it is done by then.
func (c child) carry(ctx context.Context, f remediate.Fence) error {
	for {
		now, err := idle(ctx, c.client)
		if err != nil {
			return err
		}
		if err := answers(ctx, c.client, c.process); err != nil {
			return err
		}
		if done, err := c.done(now); err != nil || done {
			return err
		}
		if c.early != nil && c.early(now) {
			if err := pause(ctx, savePoll); err != nil {
				return err
			}
			continue
		}
		if err := f.Check(ctx); err != nil {
			return err
		}
		if err := c.client.Do(ctx, c.command).Err(); occupied(err) {
			if err := pause(ctx, savePoll); err != nil { // somebody was faster
				return err
			}
			continue
		} else if err != nil {
			return c.explain(err)
		}
		now, err = idle(ctx, c.client)
		if err == nil {
			err = answers(ctx, c.client, c.process)
		}
		if err != nil {
			return err
		}
		done, err := c.done(now)
		if err == nil && !done {
			err = errors.New(c.failed)
		}
		return err
	}
}

// occupied reports whether an answer says that the server is at such work already.
func occupied(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "already in progress") ||
		strings.Contains(err.Error(), "Another child process is active"))
}

// explain says what is meant by an answer that is no beginning of the work.
func (c child) explain(err error) error {
	switch text := err.Error(); {
	case denied(err):
		return privilege(err, c.grant)
	// A fork that the machine refuses is answered with an error that says nothing.
	case text == "ERR" || strings.Contains(text, "fork") ||
		strings.Contains(text, "Can't execute an AOF background rewriting"):
		return fmt.Errorf("%s: the server could not fork; it wants free memory and processes, and "+
			"vm.overcommit_memory=1 (sysctl); its log says which: %w", c.command, err)
	}
	return fmt.Errorf("%s: %w", c.command, err)
}

// processArgs is the part of a step's arguments that says which process of a server it
// was planned for: its run_id.
type processArgs struct {
	Process string `arg:"run_id,omitempty"`
}

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
		err = remediate.Refuse(remediate.ReasonChanged,
			"another process answers than when the plan was made: the server was restarted, or another one has its "+
				"address (run_id %s, and %s then); plan again", now, planned)
	}
	return err
}
