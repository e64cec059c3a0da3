package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Restart saves the data and restarts the server.
func Restart(t *target.Redis) remediate.Action {
	return remediate.Action{
		Name:   "redis/restart",
		Target: t.Name,
		Doc: `Restart saves all data, verifies that, restarts the server through Docker or systemd, and checks that everything is there again.

The last resort against fragmentation, for servers that cannot defragment. Clients
lose their connections, and the server does not answer while it stops and loads its
data; the plan estimates how long. So it always needs approval and acts only in a
maintenance window. If the last snapshot is older than ten minutes, it first makes one
under load. Then it holds writes with CLIENT PAUSE … WRITE (Redis 6.2 and later; reads
go on, and no write is rejected) and makes a second snapshot. Only if that succeeded and
nothing has changed since does it restart the server. So no acknowledged write is lost,
even if the server has neither save points nor an append-only file: such a server saves
nothing when it is stopped. Writes are held for the duration of a save, at most for the
parameter pause; if that is not enough, writes continue and nothing is restarted. It
refuses if no restart is configured for the target, if the container or unit is not the
server that answers, a server with replicas and one of a cluster (make a
replica the primary first, or set the parameter replicas), a replica that does not
follow its primary, one whose save or append-only file fails, a disk without room,
a time to stop that is shorter than a save. It refuses where the data would not
outlive the restart: a folder on a tmpfs, on RuntimeDirectory= or PrivateTmp= of
systemd, in the container's own layer (docker restart keeps it, and making the
container anew does not: the parameter volatile accepts that), and a server whose
dir, dbfilename, appendonly, save points, replicaof, maxmemory or eviction were set
while it ran and are not what it is started with. That is read from its
configuration file, as its own process sees it, and its command line, as Docker or
systemd tells it; where one of them cannot be read, and INFO commandstats shows that
something was set since the start, it refuses too. What else was set while the
server ran and would be taken back – ACL users, and settings, by their names – the
plan says, and the person who approves accepts it. Before it begins, the keys of
each database are counted into the journal; after, each try compares with that, also
another process's. It is done when another process answers (run_id), has read its
data, has as many keys as before (but for those that expire by themselves), and is
set as it was but for what the plan said. A comparison that fails ends the run as
failed. A server that another restarts meanwhile, before its keys were counted, is
refused. Rights: +info +bgsave +client|pause +client|unpause +client|info +client|setname
+config|get (which shows passwords; none is kept or shown) +acl|list, and +multi +discard so that a
missing right is found at plan time; of Docker POST, of systemd the right to restart the unit (root, or a rule of polkit for
org.freedesktop.systemd1.manage-units).`,
		Lowers: "upkeep_redis_memory_fragmentation_ratio",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "CLIENT PAUSE WRITE during the last save",
			Blocks: "every client while it stops and loads its data",
			WAL:    "–",
			Disk:   "a snapshot",
			Undo:   "nothing to undo",
		},
		Asks:     true,
		Windowed: true,
		Rights:   rights(restarting()...),
		Params: append(boundParams(),
			remediate.Param{Name: "pause", Type: remediate.Duration, Default: "1m",
				Doc: "How long writes may be held for the last save."},
			remediate.Param{Name: "replicas", Type: remediate.Bool, Default: "false",
				Doc: "Restart it though replicas follow it or it is part of a cluster: Sentinel or the cluster may " +
					"promote a replica meanwhile, and the replicas copy the data again."},
			remediate.Param{Name: "volatile", Type: remediate.Bool, Default: "false",
				Doc: "Restart it though its folder is in the container's own layer, or on a tmpfs of the machine: " +
					"the restart keeps both, and making the container anew, or a boot, does not."},
		),
		Subject:   []string{"server"},
		Exclusive: []string{"server"},
		Timeout:   2 * time.Hour,
		Executor:  restart{t},
	}
}

func restarting() []need {
	return append([]need{saving(), {"+client|pause", []any{"client", "pause", "1", "write"}},
		{"+client|unpause", []any{"client", "unpause"}}, {"+client|info", []any{"client", "info"}}}, reading()...)
}

// Headroom implements remediate.Roomer.
func (a restart) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return headroom(ctx, a.target)
}

// Plan implements remediate.Executor.
func (a restart) Plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	b, err := bounds(r.Params)
	if err != nil {
		return p, err
	}
	hold, err := model.ParseDuration(cmp.Or(r.Params["pause"], "1m"))
	if err != nil || hold <= 0 {
		return p, remediate.Refuse(remediate.ReasonSubject, "pause is %q; a duration was expected, like 1m",
			r.Params["pause"])
	}
	for _, name := range []string{"replicas", "volatile"} {
		if v := r.Params[name]; v != "" && v != "true" && v != "false" {
			return p, remediate.Refuse(remediate.ReasonSubject, "%s is %q; true or false was expected", name, v)
		}
	}
	now, err := a.ask(ctx)
	if err != nil {
		return p, err
	}
	now.pause = time.Duration(hold)
	if err := p.NoteMissing(allowed(ctx, a.target.Client, restarting()...)); err != nil {
		return p, err
	}
	if !a.target.Restart.Configured() {
		return p, remediate.Refuse(remediate.ReasonUnfit,
			"no way to restart the server is configured: name its container or its unit in restart of the target")
	}
	if err := a.supervised(ctx, &now); err != nil {
		return p, err
	}
	p.Facts = now.facts(a.target.Restart) // also if it is refused: what would be lost is listed at once
	volatile := r.Params["volatile"] == "true"
	if err := a.may(now, r.Params["replicas"] == "true", volatile); err != nil {
		return p, err
	}
	room, err := now.place.fits(now.snapshot, b, "a snapshot")
	if p.Facts = append(room, p.Facts...); err != nil {
		return p, err
	}
	p.Steps = []remediate.Step{a.step(now, volatile)}
	return p, p.Missing()
}

// may refuses what must not be restarted.
func (a restart) may(now observation, replicas, volatile bool) error {
	checks := []func() error{now.role(replicas), now.kept, now.same, now.stops, now.outlives(volatile), now.set}
	if now.begun.known {
		checks = append(checks, now.bears, func() error { return now.ourselves(a.target.Client) })
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// step is what does not change while a person is asked: no count of saves is in it.
func (a restart) step(now observation, volatile bool) remediate.Step {
	do := fmt.Sprintf("BGSAVE; CLIENT PAUSE %d WRITE; BGSAVE; %s", now.pause.Milliseconds(), a.target.Restart)
	if now.state.Replica {
		do = "BGSAVE; " + a.target.Restart.String()
	}
	return remediate.StepOf(do, restartArgs{
		Process: now.state.RunID, Pause: model.Duration(now.pause), Volatile: volatile,
		Goes: strings.Join(now.goes(), ", "), lasting: lastingOf(now.state, now.snapshot, now.memory),
	})
}

// look asks the server and who restarts it.
func (a restart) look(ctx context.Context) (now observation, err error) {
	if now, err = a.ask(ctx); err != nil {
		return now, err
	}
	err = a.supervised(ctx, &now)
	return now, err
}

// ask reads the state of the server.
func (a restart) ask(ctx context.Context) (now observation, err error) {
	if now.snapshot, err = persistence(ctx, a.target.Client); err != nil {
		return now, err
	}
	if now.memory, err = read.ReadMemory(ctx, a.target.Client); err != nil {
		return now, err
	}
	if now.state, err = read.ReadState(ctx, a.target.Client); err != nil {
		return now, err
	}
	now.address, now.hidden, err = address(ctx, a.target.Client)
	return now, err
}

// supervised adds what is known by who restarts the server, where it is, and what it
// was started with.
func (a restart) supervised(ctx context.Context, now *observation) (err error) {
	now.supervised, err = a.target.Restart.Look(ctx)
	switch {
	case target.Gone(err):
		return remediate.Refuse(remediate.ReasonUnfit, "the engine has no container %q", a.target.Restart.Container)
	case err != nil:
		return fmt.Errorf("who restarts the server: %w", err)
	}
	now.place = find(now.state)
	if now.place.root == "" && a.target.Restart.Docker != nil {
		// Within its container it has another number.
		seen := now.state
		seen.PID = now.supervised.PID
		now.place = find(seen)
	}
	if now.running, err = a.running(ctx); err != nil {
		return err
	}
	now.begun = now.startup()
	return nil
}

// Apply implements remediate.Executor.
func (a restart) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	step, err := remediate.TypedOf[restartArgs](s)
	if err != nil {
		return err
	}
	state, err := read.ReadState(ctx, a.target.Client)
	if err != nil {
		return privilege(err, "+info")
	}
	if state.RunID != step.Args.Process {
		return a.check(ctx, step) // it was restarted: by a try before, or by another
	}
	now, err := a.look(ctx)
	if err != nil {
		return err
	}
	now.pause = time.Duration(step.Args.Pause)
	// Others may have moved something since the plan was made.
	if err := a.may(now, true, step.Args.Volatile); err != nil {
		return err
	}
	planned := strings.Split(step.Args.Goes, ", ")
	for _, gone := range now.goes() {
		if !slices.Contains(planned, gone) {
			return remediate.Refuse(remediate.ReasonChanged,
				"%s was set since the plan was made, and the restart would take it back: ask again", gone)
		}
	}
	took, err := a.proved(ctx, f, now.snapshot)
	if err != nil {
		return err
	}
	if now.state.Replica { // what it has, its primary has
		step.Kept, err = a.kept(ctx, f, step.Args, now, saved{})
		if err == nil {
			err = f.Check(ctx)
		}
		if err == nil {
			err = a.begin(ctx, now.grace(took))
		}
	} else {
		step.Kept, err = a.still(ctx, f, step.Args, now, took)
	}
	if err != nil {
		return err
	}
	return a.check(ctx, step)
}

// kept writes to the journal what is compared after the restart.
func (a restart) kept(ctx context.Context, f remediate.Fence, args restartArgs, now observation,
	file saved) (kept map[string]string, err error) {
	if now.state, err = read.ReadState(ctx, a.target.Client); err != nil {
		return nil, err
	}
	if now.snapshot, err = read.ReadPersistence(ctx, a.target.Client); err != nil {
		return nil, err
	}
	kept = now.keep(file, args.Goes)
	limited, cancel := context.WithTimeoutCause(ctx, endPause,
		errors.New("the journal did not take what is compared after the restart"))
	defer cancel()
	if err := f.Note(limited, kept, fmt.Sprintf("%d keys of %d databases are to be there afterwards", now.state.Keys,
		len(now.state.Databases))); err != nil {
		return nil, err
	}
	return kept, nil
}

// proved reports how long a save takes, by one that has succeeded: one of a moment
// ago will do.
func (a restart) proved(ctx context.Context, f remediate.Fence, s read.Snapshot) (time.Duration, error) {
	if s.OK && s.Succeeded && s.Took >= 0 && s.Age < provedFor && !s.InProgress {
		return s.Took + time.Second, f.Check(ctx) // the server tells whole seconds
	}
	return a.save(ctx, f)
}

// save makes a snapshot that is begun after now, and tells how long it took.
func (a restart) save(ctx context.Context, f remediate.Fence) (time.Duration, error) {
	s, err := idle(ctx, a.target.Client)
	if err != nil {
		return 0, err
	}
	if s.Age < time.Second { // two saves within a second look like one
		if err := pause(ctx, time.Second-s.Age); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	err = bgsave(a).save(ctx, f, saveArgs{processArgs{s.RunID}, s.Saves, s.LastSave.Unix()})
	return time.Since(began), err
}

// still holds writes, saves, and restarts the server when nothing has changed since.
// Where that is not to be, writes are let go on at once; and by themselves where
// upkeep is killed meanwhile.
func (a restart) still(ctx context.Context, f remediate.Fence, args restartArgs, now observation,
	took time.Duration) (c map[string]string, err error) {
	if took > now.pause {
		return c, remediate.Refuse(remediate.ReasonUnfit,
			"the save took %s, and writes may be held for %s: give pause more time", took.Round(time.Millisecond),
			now.pause)
	}
	within := min(now.pause, 2*took+leastPause)
	if err := a.hold(ctx, f, within+endPause); err != nil {
		return c, err
	}
	sent := false
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpIn)
		defer cancel()
		if err == nil || sent || f.Keeps(last) != nil {
			return // it restarts; or another holds writes by now, and must not lose that
		}
		err = errors.Join(err, privilege(a.target.Client.Do(last, "client", "unpause").Err(), "+client|unpause"))
	}()
	before := now.snapshotFile()
	limited, cancel := context.WithTimeoutCause(ctx, within,
		fmt.Errorf("the save took longer than %s, in which writes may be held", within))
	defer cancel()
	if _, err := a.save(limited, f); err != nil {
		return c, err
	}
	file, err := now.wrote(before)
	if err != nil {
		return c, err
	}
	if c, err = a.kept(ctx, f, args, now, file); err != nil {
		return c, err
	}
	grace := now.grace(took)
	if err := a.hold(ctx, f, grace+endPause); err != nil { // from now on
		return c, err
	}
	kept, err := read.ReadPersistence(ctx, a.target.Client)
	if err != nil {
		return c, err
	}
	if !kept.OK || kept.Changes != 0 {
		return c, fmt.Errorf("%d changes were made after the save though writes are held: it is not restarted",
			kept.Changes)
	}
	if err := f.Check(ctx); err != nil {
		return c, err
	}
	err = a.begin(ctx, grace)
	// Whether it has begun is not known of a request that had no answer: writes stay
	// held, until the server stops or the time is over.
	sent = err == nil || ctx.Err() != nil
	return c, err
}

// hold holds back writes for a time from now on.
func (a restart) hold(ctx context.Context, f remediate.Fence, d time.Duration) error {
	if err := f.Check(ctx); err != nil {
		return err
	}
	if err := a.target.Client.Do(ctx, "client", "pause", d.Milliseconds(), "write").Err(); err != nil {
		return fmt.Errorf("client pause: %w", privilege(err, "+client|pause"))
	}
	return nil
}

// begin has the server restarted.
func (a restart) begin(ctx context.Context, grace time.Duration) error {
	err := a.target.Restart.Do(ctx, grace)
	refused, isDocker := errors.AsType[*target.DockerError](err)
	switch {
	case errors.Is(err, target.ErrMayNotRestart):
		return remediate.Refuse(remediate.ReasonPrivilege,
			"systemd does not let us restart the unit: run as root, or allow org.freedesktop.systemd1.manage-units "+
				"for %s in a rule of polkit", a.target.Restart.Unit)
	case isDocker && (refused.Status == http.StatusForbidden || refused.Status == http.StatusMethodNotAllowed):
		return remediate.Refuse(remediate.ReasonPrivilege,
			"the engine, or a proxy before it, answered %d: let POST /containers/%s/restart through", refused.Status,
			a.target.Restart.Container)
	}
	return err
}

// Measure implements remediate.Executor.
func (a restart) Measure(ctx context.Context, _ remediate.Request) (float64, error) {
	return fragmentation(ctx, a.target)
}
