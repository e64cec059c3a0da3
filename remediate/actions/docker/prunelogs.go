package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// PruneLogs cuts the head off the log of a container.
func PruneLogs(t *target.Docker) remediate.Action {
	return remediate.Action{
		Name:   "docker/prune_logs",
		Target: t.Name,
		Doc: `PruneLogs removes the old lines of a container's log while the container keeps writing, and keeps the newest lines.

Whole blocks are removed from the head of the file in one file system operation
(fallocate with FALLOC_FL_COLLAPSE_RANGE): the engine keeps writing and loses no line,
and the disk space is free at once. The line across the cut is blanked first. If the
target has a log_archive, every removed line is first written to that folder,
compressed and in whole lines, readable with zcat. Existing objects are not written
again, and each object is read back and compared before its lines are removed. Without
log_archive the lines are lost.
For the driver json-file on this machine, on ext4 or xfs. It refuses a log that is
rotated or has a limit, which is bounded already; a log that a process writes without
O_APPEND, where a hole would be left; and a log of a running container whose writer
is not visible. A client that follows the log during the cut must follow it again. From
version 23 on the engine finds the last lines (docker logs --tail) by the length that
it has counted, and prints too few until the container is restarted. The action never
truncates. The permanent fix is a limit: recreate the container with max-size. It
always needs approval. A second run removes what was written since.
Rights: GET on the engine's socket, to write into the folders of the containers, and
to see the engine's open files in /proc: root, in the machine's own PID namespace.`,
		Lowers: "upkeep_docker_log_size_bytes",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "none",
			Blocks: "no one: the container keeps writing",
			WAL:    "–",
			Disk:   "frees space; with log_archive a compressed copy is written first",
			Undo:   "the copy in log_archive; without it, none",
		},
		Asks: true,
		Params: []remediate.Param{{Name: "keep", Type: remediate.Text, Default: defaultKeep,
			Doc: "How much of the end of the log stays at least, in KiB, MiB or GiB; up to a half more, and 32 MiB " +
				"more at most, stays with it. At least 64KiB."}},
		Subject:   []string{"server", "container"},
		Exclusive: []string{"server", "container"},
		Timeout:   time.Hour,
		Executor:  prunelogs{t},
	}
}

type prunelogs struct{ target *target.Docker }

const (
	// defaultKeep is some hours of a service that writes a lot, and far below the
	// limit of the alert.
	defaultKeep = "64MiB"

	// leastKeep has some lines of any length in it: the engine splits at 16 KiB, and
	// escapes make at most six of each byte.
	leastKeep = 64 << 10

	mostKeep = 1 << 50
)

// kept reads the parameter keep.
func kept(params map[string]string) (int64, error) {
	text := cmp.Or(params["keep"], defaultKeep)
	for unit, shift := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30} {
		digits, ok := strings.CutSuffix(text, unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err == nil && n <= mostKeep>>shift && n<<shift >= leastKeep {
			return int64(n << shift), nil
		}
	}
	return 0, remediate.Refuse(remediate.ReasonSubject, "the parameter keep is %q, want a size of at least 64KiB, "+
		"like 512KiB, 64MiB or 1GiB", text)
}

// find returns the container of whose ID or name is asked. What its neighbours
// have is of no matter: only where it is not found, a fault of the list is one.
func (a prunelogs) find(ctx context.Context, is func(target.Container) bool) (target.Container, error) {
	all, err := a.target.Containers(ctx)
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], nil
	}
	return target.Container{}, cmp.Or(err, remediate.ErrGone)
}

// named returns the container that a request names. The name is compared, and is
// part of no question and of no path.
func (a prunelogs) named(ctx context.Context, r remediate.Request) (target.Container, error) {
	name := r.Subject["container"]
	k, err := a.find(ctx, func(k target.Container) bool { return k.Name == name })
	if err != nil {
		return k, fmt.Errorf("container %q: %w", name, err)
	}
	return k, nil
}

// Plan implements remediate.Executor. The log grows while it is planned, approved and
// cut: its size is a fact and no part of the step.
func (a prunelogs) Plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	keep, err := kept(r.Params)
	if err != nil {
		return p, err
	}
	k, err := a.named(ctx, r)
	if errors.Is(err, remediate.ErrGone) {
		return p, remediate.Refuse(remediate.ReasonGone, "there is no container %q", r.Subject["container"])
	}
	if err != nil {
		return p, err
	}
	l, err := open(a.target.Root, k)
	if err != nil {
		return p, err
	}
	defer l.close()
	if err := l.fit(k); err != nil {
		return p, err
	}
	grain := l.grain(keep)
	if r.Limit != nil && float64(keep+grain) > *r.Limit {
		return p, remediate.Refuse(remediate.ReasonCannotHelp, "keep leaves up to %s, and the limit is %s: keep less",
			size(keep+grain), remediate.Quantity("_bytes", *r.Limit))
	}
	n := l.excess(keep)
	if n == 0 {
		return p, remediate.Refuse(remediate.ReasonNothing, "the log has %s, and %s of it stay", size(l.size),
			size(keep))
	}
	if _, err := l.lineEnd(n); err != nil {
		return p, err
	}
	step := remediate.StepOf(fmt.Sprintf("fallocate --collapse-range the head of %s but the last %s",
		filepath.Join(a.target.Root, k.LogPath), size(keep)),
		cutArgs{k.ID, l.device, l.inode, keep, a.target.LogArchive != ""})
	p.Facts = append(p.Facts, fmt.Sprintf("the log has %s and about %s of it go", size(l.size), size(n)))
	if a.target.LogArchive == "" {
		p.Facts = append(p.Facts, "the lines that go are gone for good; log_archive of the docker target names a "+
			"folder that keeps them")
	} else {
		step.Do = "write the lines that go to the log archive; " + step.Do
		if _, err := depot.Folder(a.target.LogArchive).List(ctx, k.ID); err != nil {
			return p, remediate.Refuse(remediate.ReasonUnfit, "log archive: %v", err)
		}
		if err := depot.Lasting(depot.Folder(a.target.LogArchive)); err != nil {
			return p, remediate.Refuse(remediate.ReasonUnfit, "log archive: %v", err)
		}
		p.Facts = append(p.Facts, fmt.Sprintf("the lines that go are kept in %s, in files named %s.TIME.HASH.log.gz",
			a.target.LogArchive, k.ID))
	}
	p.Amount = &remediate.Amount{Bytes: float64(n), OfBytes: float64(l.size)}
	p.Facts = append(p.Facts, a.readers(ctx),
		"for good: set logging options max-size and max-file in daemon.json or the Compose file, and make the "+
			"container anew")
	p.Steps = []remediate.Step{step}
	return p, nil
}

// readers reports who else feels it.
func (a prunelogs) readers(ctx context.Context) string {
	text := "who reads the file by its offset may read the part that stays once more; upkeep's own count of lines " +
		"does not"
	version, err := a.target.Version(ctx)
	if err != nil {
		return text // a fact, without which the plan is the same
	}
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n >= 23 {
		text += fmt.Sprintf("; on engine %q clients of docker logs -f see no more lines until they follow again, and "+
			"--tail prints too few until the container is restarted; docker logs without --tail prints all", version)
	}
	return text
}

// cutArgs are the arguments of a step.
type cutArgs struct {
	ID      string `arg:"id"`     // of the container
	Device  uint64 `arg:"device"` // of its log file
	Inode   uint64 `arg:"inode"`
	Keep    int64  `arg:"keep"`    // bytes that stay
	Archive bool   `arg:"archive"` // the lines that go are kept
}

func cutArgsOf(s remediate.Step) (c cutArgs, err error) {
	if c, err = remediate.ArgsOf[cutArgs](s); err != nil {
		return c, err
	}
	if c.ID == "" || c.Keep < leastKeep || c.Keep > mostKeep {
		return c, fmt.Errorf("step: container %q, keep %d", c.ID, c.Keep)
	}
	return c, nil
}

// Apply implements remediate.Executor. It is done when no more than what stays is
// there. What was archived by an attempt that was stopped is found in the archive,
// and what it has blanked is blank.
func (a prunelogs) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := cutArgsOf(s)
	if err != nil {
		return err
	}
	k, err := a.find(ctx, func(k target.Container) bool { return k.ID == args.ID })
	if err != nil {
		return fmt.Errorf("container %s: %w", args.ID, err)
	}
	l, err := open(a.target.Root, k)
	if err != nil {
		return err
	}
	defer l.close()
	if l.device != args.Device || l.inode != args.Inode {
		return fmt.Errorf("log of container %s: %w: the file is another", k.Name, remediate.ErrGone)
	}
	if err := l.fit(k); err != nil {
		return err
	}
	n := l.excess(args.Keep)
	if n == 0 {
		return nil
	}
	q, err := f.Quota(s)
	if err == nil {
		err = within(q, f, float64(n))
	}
	if err != nil {
		return err
	}
	if err := a.configured(args); err != nil {
		return err
	}
	c, err := l.place(n)
	if err != nil {
		return err
	}
	// A target that has been given a log archive since the plan has its lines kept.
	if a.target.LogArchive != "" {
		aside := depot.Folder(a.target.LogArchive)
		if err := depot.Lasting(aside); err != nil {
			return remediate.Refuse(remediate.ReasonUnfit, "log archive: %v", err)
		}
		if err := l.archive(ctx, f, aside, k.ID, n, l.grain(args.Keep)); err != nil {
			return fmt.Errorf("log of container %s: archive: %w", k.Name, err)
		}
	}
	// Also where it is not known whether it was done.
	if err := q.Exactly(ctx, remediate.Amount{Bytes: float64(n)}); err != nil {
		return err
	}
	if err := l.cut(ctx, f, k, c); err != nil {
		if _, refused := remediate.Refused(err); refused { // nothing was cut
			q.Return(remediate.Amount{Bytes: float64(n)})
			err = errors.Join(err, q.Settle(ctx))
		}
		return fmt.Errorf("log of container %s: %w", k.Name, err)
	}
	return nil
}

// Configured implements remediate.Configurer.
func (a prunelogs) Configured(_ remediate.Request, s remediate.Step) error {
	args, err := cutArgsOf(s)
	if err != nil {
		return err
	}
	return a.configured(args)
}

func (a prunelogs) configured(args cutArgs) error {
	if args.Archive && a.target.LogArchive == "" {
		return remediate.Refuse(remediate.ReasonConfiguration,
			"the plan keeps the lines in a log archive, and the docker target names none any more")
	}
	return nil
}

// Measure implements remediate.Executor.
func (a prunelogs) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	k, err := a.named(ctx, r)
	if err != nil {
		return 0, err
	}
	if k.LogPath == "" {
		return 0, remediate.Refuse(remediate.ReasonUnfit, "the log driver of container %s is %s, which keeps no file",
			k.Name, k.LogDriver)
	}
	bytes, err := a.target.LogBytes(k)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil // has not written yet
	case errors.Is(err, fs.ErrPermission):
		return 0, remediate.Refuse(remediate.ReasonPrivilege, "%v: run as root", err)
	}
	return bytes, err
}
