package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	goredis "github.com/redis/go-redis/v9"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// leastPause is how long writes are held at least beyond what the save took last:
	// a save on a busy disk varies.
	leastPause = 10 * time.Second

	// endPause is how long writes are held from the moment that the server is told to
	// stop beyond the time that it may take for that.
	endPause = 5 * time.Second

	// longestGrace bounds what is waited for a server that may take as long as it wants.
	longestGrace = 10 * time.Minute

	// loadRate is how many bytes of used memory are read back in a second, at least:
	// 7.0.15 with values of 200 bytes took 1 s for 120 MB on a slow machine.
	loadRate = 50 << 20

	// bootWithin is how much later than its container a server may have been started:
	// an entry point may have to give a large folder another owner before.
	bootWithin = 2 * time.Minute

	// provedFor is for how long a save that succeeded shows that the next one can.
	provedFor = 10 * time.Minute

	// cleanUpIn is how long it may take to let writes go on.
	cleanUpIn = 5 * time.Second

	// lifeIn is how long nothing may be heard of a server that was restarted. One that
	// reads its data answers that it does.
	lifeIn = 5 * time.Minute
)

// Restart saves the data and restarts the server.
func Restart(t *target.Redis) remediate.Action {
	return remediate.Action{
		Name:   "redis/restart",
		Target: t.Name,
		Doc: `Restart saves all data, verifies that, restarts the server through Docker or systemd, and checks that everything is there again.

The last means against fragmentation, where the server cannot defragment. Clients
lose their connections, and the server answers nothing while it stops and reads its
data, which the plan estimates; so it always asks a person and acts in a maintenance
window only. First a snapshot is made while everything goes on, where none was within the last
ten minutes. Then writes are
held with CLIENT PAUSE … WRITE (Redis 6.2 and later; reads go on, and nothing is
refused), a second snapshot is made, and only when it has succeeded and nothing has
changed since is the server restarted. So nothing that was acknowledged is lost,
also where the server has neither save points nor an append-only file: such a
server saves nothing by itself when it is stopped. Writes are held for the length
of a save, at most for the parameter pause; where that is not enough they are let go
on and nothing is restarted. It refuses where nobody is configured who restarts the
server (restart in the target's configuration), where the container or the unit is
not the server that answers, a server with replicas and one of a cluster (make a
replica the primary first, or set the parameter replicas), a replica that does not
follow its primary, one whose save or append-only file fails, a disk without room,
a time to stop that is shorter than a save, and a configuration file or command
line whose appendonly is not what the server does. It is done when another process
answers (run_id), has read its data, has as many keys as before (but for those that
expire by themselves), and its append-only file, maxmemory and eviction are what
they were: what was set with CONFIG SET and not written to the file is gone, and
that fails the run. Rights: +info +bgsave +client|pause +client|unpause
+client|setname, and +multi +discard so that a lacking right is seen at plan time; of Docker POST, of
systemd the right to restart the unit (root, or a rule of polkit for
org.freedesktop.systemd1.manage-units).`,
		Lowers:   "upkeep_redis_memory_fragmentation_ratio",
		Risk:     remediate.Guarded,
		Asks:     true,
		Windowed: true,
		Rights:   rights(restarting()...),
		Params: append(boundParams(),
			remediate.Param{Name: "pause", Type: remediate.Duration, Default: "1m", Doc: "How long writes may be held for the last save."},
			remediate.Param{Name: "replicas", Type: remediate.Bool, Default: "false", Doc: "Restart it though replicas follow it or it is part of a cluster: whoever watches it may make another the primary meanwhile, and the replicas take over the data again."},
		),
		Subject:   []string{"server"},
		Exclusive: []string{"server"},
		Timeout:   2 * time.Hour,
		Remedy:    restart{t},
	}
}

func restarting() []need {
	return []need{saving(), {"+client|pause", []any{"client", "pause", "1", "write"}}, {"+client|unpause", []any{"client", "unpause"}}}
}

type restart struct{ target *target.Redis }

// Headroom implements remediate.Roomer.
func (a restart) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return headroom(ctx, a.target)
}

// A patient is all that is known of a server that is to be restarted.
type patient struct {
	snapshot   read.Snapshot
	memory     read.Usage
	state      read.State
	supervised target.Supervised
	place      place
	pause      time.Duration
}

// Plan implements remediate.Remedy.
func (a restart) Plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	b, err := bounds(r.Params)
	if err != nil {
		return p, err
	}
	hold, err := model.ParseDuration(cmp.Or(r.Params["pause"], "1m"))
	if err != nil || hold <= 0 {
		return p, remediate.Refuse(remediate.ReasonSubject, "pause is %q; a duration was expected, like 1m", r.Params["pause"])
	}
	if v := r.Params["replicas"]; v != "" && v != "true" && v != "false" {
		return p, remediate.Refuse(remediate.ReasonSubject, "replicas is %q; true or false was expected", v)
	}
	now, err := a.ask(ctx)
	if err != nil {
		return p, err
	}
	now.pause = time.Duration(hold)
	if err := allowed(ctx, a.target.Client, restarting()...); err != nil {
		return p, err
	}
	if !a.target.Restart.Configured() {
		return p, remediate.Refuse(remediate.ReasonUnfit, "nobody is configured who restarts the server: name its container or its unit in restart, where the target is configured")
	}
	if err := a.supervised(ctx, &now); err != nil {
		return p, err
	}
	for _, check := range []func() error{now.role(r.Params["replicas"] == "true"), now.kept, now.same, now.stops} {
		if err := check(); err != nil {
			return p, err
		}
	}
	if p.Facts, err = now.place.fits(now.snapshot, b, "a snapshot"); err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, now.facts(a.target.Restart)...)
	p.Steps = []remediate.Step{a.step(now)}
	return p, nil
}

// step is what does not change while a person is asked: no count of saves is in it.
func (a restart) step(now patient) remediate.Step {
	s := remediate.Step{
		Do: fmt.Sprintf("BGSAVE; CLIENT PAUSE %d WRITE; BGSAVE; %s", now.pause.Milliseconds(), a.target.Restart),
		Args: map[string]string{
			"run_id": now.state.RunID, "pause": model.Duration(now.pause).String(), "replica": strconv.FormatBool(now.state.Replica),
			"appendonly": strconv.FormatBool(now.snapshot.AOF), "maxmemory": strconv.FormatFloat(now.memory.Limit, 'f', 0, 64), "maxmemory-policy": now.memory.Policy,
		},
	}
	if now.state.Replica {
		s.Do = "BGSAVE; " + a.target.Restart.String()
	}
	return s
}

// look asks the server and who restarts it.
func (a restart) look(ctx context.Context) (now patient, err error) {
	if now, err = a.ask(ctx); err != nil {
		return now, err
	}
	err = a.supervised(ctx, &now)
	return now, err
}

// ask has the server tell of itself.
func (a restart) ask(ctx context.Context) (now patient, err error) {
	if now.snapshot, err = persistence(ctx, a.target.Client); err != nil {
		return now, err
	}
	if now.memory, err = read.ReadMemory(ctx, a.target.Client); err != nil {
		return now, err
	}
	now.state, err = read.ReadState(ctx, a.target.Client)
	return now, err
}

// supervised adds what is known by who restarts the server, and where it is.
func (a restart) supervised(ctx context.Context, now *patient) (err error) {
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
	return nil
}

// Apply implements remediate.Remedy.
func (a restart) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	hold, err := model.ParseDuration(s.Args["pause"])
	if err != nil {
		return fmt.Errorf("step: pause: %w", err)
	}
	state, err := read.ReadState(ctx, a.target.Client)
	if err != nil {
		return privilege(err, "+info")
	}
	if state.RunID != s.Args["run_id"] {
		return a.check(ctx, s, nil) // done, by whomever
	}
	now, err := a.look(ctx)
	if err != nil {
		return err
	}
	now.pause = time.Duration(hold)
	// Others may have moved something since the plan was made.
	for _, check := range []func() error{now.role(true), now.kept, now.same, now.stops} {
		if err := check(); err != nil {
			return err
		}
	}
	took, err := a.proved(ctx, f, now.snapshot)
	if err != nil {
		return err
	}
	if now.state.Replica { // what it has, its primary has
		if err := f.Check(ctx); err != nil {
			return err
		}
		if err := a.begin(ctx, now.grace(took)); err != nil {
			return err
		}
		return a.check(ctx, s, nil)
	}
	keys, err := a.still(ctx, f, now, took)
	if err != nil {
		return err
	}
	return a.check(ctx, s, &keys)
}

// proved tells how long a save takes, by one that has succeeded: one of a moment
// ago will do.
func (a restart) proved(ctx context.Context, f remediate.Fence, s read.Snapshot) (time.Duration, error) {
	if s.OK && s.Saves > 0 && s.Took >= 0 && s.Age < provedFor && !s.InProgress {
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
	err = bgsave(a).save(ctx, f, "", s.Saves, s.LastSave.Unix())
	return time.Since(began), err
}

// A count is how many keys there were, and how many of them may go by themselves.
type count struct{ keys, expires int64 }

// still holds writes, saves, and restarts the server when nothing has changed since.
// Where that is not to be, writes are let go on at once; and by themselves where
// upkeep is killed meanwhile.
func (a restart) still(ctx context.Context, f remediate.Fence, now patient, took time.Duration) (c count, err error) {
	if took > now.pause {
		return c, remediate.Refuse(remediate.ReasonUnfit, "the save took %s, and writes may be held for %s: give pause more time", took.Round(time.Millisecond), now.pause)
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
	limited, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("the save took longer than %s, in which writes may be held", within))
	defer cancel()
	if _, err := a.save(limited, f); err != nil {
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
		return c, fmt.Errorf("%d changes were made after the save though writes are held: it is not restarted", kept.Changes)
	}
	last, err := read.ReadState(ctx, a.target.Client)
	if err != nil {
		return c, err
	}
	if err := f.Check(ctx); err != nil {
		return c, err
	}
	err = a.begin(ctx, grace)
	// Whether it has begun is not known of a request that had no answer: writes stay
	// held, until the server stops or the time is over.
	sent = err == nil || ctx.Err() != nil
	return count{last.Keys, last.Expires}, err
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
		return remediate.Refuse(remediate.ReasonPrivilege, "systemd does not let us restart the unit: run as root, or allow org.freedesktop.systemd1.manage-units for %s in a rule of polkit", a.target.Restart.Unit)
	case isDocker && (refused.Status == http.StatusForbidden || refused.Status == http.StatusMethodNotAllowed):
		return remediate.Refuse(remediate.ReasonPrivilege, "the engine, or a proxy before it, answered %d: let POST /containers/%s/restart through", refused.Status, a.target.Restart.Container)
	}
	return err
}

// check waits until the server has read its data, and compares with what was.
func (a restart) check(ctx context.Context, s remediate.Step, before *count) error {
	state, err := a.back(ctx, s.Args["run_id"])
	if err != nil {
		return err
	}
	memory, err := read.ReadMemory(ctx, a.target.Client)
	if err != nil {
		return err
	}
	kept, err := read.ReadPersistence(ctx, a.target.Client)
	if err != nil {
		return err
	}
	for _, is := range []struct{ name, now string }{
		{"replica", strconv.FormatBool(state.Replica)},
		{"appendonly", strconv.FormatBool(kept.AOF)},
		{"maxmemory", strconv.FormatFloat(memory.Limit, 'f', 0, 64)},
		{"maxmemory-policy", memory.Policy},
	} {
		if was := s.Args[is.name]; was != is.now {
			return fmt.Errorf("the server is back, and its %s is %s where it was %s: that was set while it ran and stands in no configuration file; set it again and write it down", is.name, is.now, was)
		}
	}
	if before != nil && state.Keys < before.keys-before.expires {
		return fmt.Errorf("the server is back with %d keys of %d, of which %d may have expired: look at its log and its folder before anything is written over", state.Keys, before.keys, before.expires)
	}
	return nil
}

// back waits until another process than before answers and has all its data.
func (a restart) back(ctx context.Context, was string) (read.State, error) {
	for alive := time.Now(); ; {
		s, err := read.ReadState(ctx, a.target.Client)
		if err == nil && s.RunID != was {
			if !s.Loading && (!s.Replica || s.LinkUp && !s.Syncing) {
				return s, nil
			}
			alive = time.Now()
		}
		if goredis.HasErrorPrefix(err, "WRONGPASS") || goredis.HasErrorPrefix(err, "NOAUTH") || denied(err) {
			return s, fmt.Errorf("the server is back and does not let us in: our user, or its password, was set while it ran and stands in no configuration file; what came back could not be looked at: %w", err)
		}
		if time.Since(alive) > lifeIn {
			return s, errors.Join(fmt.Errorf("the server was restarted and nothing was heard of it for %s: look at its log", lifeIn), err)
		}
		if stop := pause(ctx, savePoll); stop != nil {
			return s, errors.Join(fmt.Errorf("waiting for the server to come back: %w", stop), err)
		}
	}
}

// Measure implements remediate.Remedy.
func (a restart) Measure(ctx context.Context, _ remediate.Request) (float64, error) {
	return fragmentation(ctx, a.target)
}
