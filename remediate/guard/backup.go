package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// backupAgain is how often a run looks whether a backup was made and verified,
	// which takes minutes at least.
	backupAgain = 10 * time.Minute

	// clockAhead is how far ahead of ours the clock of a file system may be.
	clockAhead = 5 * time.Second
)

// Backups returns the existing backups, and those that were read back and
// found good.
type Backups interface {
	// Backups returns every series of backups of a server.
	Backups(ctx context.Context, server string) ([]Series, error)
}

// A Series is the backups of one thing.
type Series struct {
	Path    string  // where they are looked for
	Backups []Dated // those that are there, finished
	// the file that says when one was restored and found good; At is zero where it never was, Name "" where none is
	// configured
	Verified Dated
}

// A Dated is a file with its time.
type Dated struct {
	Name string
	At   time.Time
}

// Backup makes a run wait that would remove what cannot be brought back, while
// there is no verified backup that is young enough. A policy that does not ask
// for one has chosen so.
func Backup(b Backups) remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonBackup,
		Doc: "Backup makes the run of a destructive action wait while the newest verified backup of its target is " +
			"older than the policy allows, or does not exist. " +
			"That is the newest backup that was made before the last verification; where only newer ones are left, " +
			"the time of the verification counts. A time in the future is refused.",
		Early: true,
		Check: func(ctx context.Context, p remediate.Proposal) error {
			within, server := p.Run.Request.Terms.Backup, on(p.Run.Request)
			if p.Action.Risk != remediate.Destructive || within <= 0 {
				return nil
			}
			var all []Series
			var err error
			if b != nil {
				all, err = b.Backups(ctx, server)
			}
			var what string
			switch {
			case err != nil:
				what = fmt.Sprintf("whether %s has a verified backup is unknown: %v", server, err)
			case len(all) == 0:
				what = fmt.Sprintf("%s has no verified backup: make one, verify it, and name it in the configuration",
					server)
			}
			for _, s := range all {
				if what == "" {
					what = s.shortfall(server, within, p.Now)
				}
			}
			if what == "" {
				return nil
			}
			return &remediate.Refusal{Reason: remediate.ReasonBackup, Detail: what, Until: p.Now.Add(backupAgain)}
		},
	}
}

// shortfall says why a series is not enough, nothing where it is.
func (s Series) shortfall(server string, within time.Duration, now time.Time) string {
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	var newest, checked Dated
	for _, b := range s.Backups {
		if b.At.After(now.Add(clockAhead)) {
			return fmt.Sprintf("the backup %s of %s has the time %s, which is in the future (now %s): its age is not "+
				"known", b.Name, server, stamp(b.At), stamp(now))
		}
		if b.At.After(newest.At) {
			newest = b
		}
		if !b.At.After(s.Verified.At) && b.At.After(checked.At) {
			checked = b
		}
	}
	verified := fmt.Sprintf("the newest backup of %s, %s, was made at %s; the last verification (%s) was at %s", server,
		newest.Name, stamp(newest.At), s.Verified.Name, stamp(s.Verified.At))
	switch {
	case newest.At.IsZero():
		return fmt.Sprintf("%s has no backup (%s): make one and verify it", server, s.Path)
	case s.Verified.Name == "":
		return fmt.Sprintf("no verified backup of %s is known: the newest, %s, was made at %s, and the configuration "+
			"names no file (verified) that says when one was restored and found good", server, newest.Name,
			stamp(newest.At))
	case s.Verified.At.IsZero():
		return fmt.Sprintf("no verified backup of %s is known: the newest, %s, was made at %s, and %s, which the "+
			"test of the restore touches, is not there", server, newest.Name, stamp(newest.At), s.Verified.Name)
	case s.Verified.At.After(now.Add(clockAhead)):
		return fmt.Sprintf("%s, which says when a backup of %s was verified, has the time %s, which is in the future "+
			"(now %s)", s.Verified.Name, server, stamp(s.Verified.At), stamp(now))
	case checked.At.IsZero(): // what was verified was written over, or removed since
		checked = Dated{"of the verification", s.Verified.At}
	}
	if now.Sub(checked.At) <= within {
		return ""
	}
	if checked == newest {
		return fmt.Sprintf("%s. It was made longer ago than %s: make one and have it verified", verified, within)
	}
	return fmt.Sprintf("%s. So the newest verified backup is of %s, longer ago than %s: have the newest verified",
		verified, stamp(checked.At), within)
}
