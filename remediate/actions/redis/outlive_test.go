package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// keysThere is how many keys each server of the tables has.
const keysThere = 200

// A fate is what is to become of a server that is to be restarted.
type fate struct {
	name     string
	docker   []string // of docker run
	args     []string // of the server
	shows    string   // properties of the unit
	before   []string // a command before the plan, its words apart by |
	request  map[string]string
	refused  string   // what the refusal says; "": it is restarted
	reported []string // what the plan says
}

// judge makes the plan, carries it out where there is one, and counts the keys.
func (f fate) judge(t *testing.T, r *target.Redis) {
	t.Helper()
	populate(t, r, keysThere)
	if len(f.before) > 0 {
		for _, command := range f.before {
			var words []any
			for word := range strings.SplitSeq(command, "|") {
				words = append(words, word)
			}
			do(t, r, words...)
		}
	}
	was := info(t, r, "run_id")
	plan, err := redis.Restart(r).Plan(t.Context(), remediate.Request{Params: f.request})
	if f.refused != "" {
		refuses(t, err, remediate.ReasonUnfit, f.refused)
		if now := info(t, r, "run_id"); now != was {
			t.Errorf("it was restarted")
		}
	} else if err != nil {
		t.Errorf("Plan: %v", err)
	} else if err := apply(t, redis.Restart(r), &plan.Steps[0]); err != nil {
		t.Errorf("Apply: %v", err)
	} else if now := info(t, r, "run_id"); now == was {
		t.Errorf("it was not restarted")
	}
	facts := strings.Join(plan.Facts, "; ")
	for _, want := range f.reported {
		if !strings.Contains(facts, want) {
			t.Errorf("the plan says %q, and not %q", facts, want)
		}
	}
	if got := do(t, r, "dbsize"); got != fmt.Sprint(keysThere) {
		t.Errorf("%s keys are there, want %d", got, keysThere)
	}
}

// whileItRuns is what is set while a server runs, and its result.
func whileItRuns(folder string) []fate {
	return []fate{
		{name: "nothing is set"},
		{name: "another dir", before: []string{"config|set|dir|" + folder},
			refused: "the server keeps its data in " + folder + ", which was set while it runs"},
		{name: "another dbfilename", before: []string{"config|set|dbfilename|other.rdb"},
			refused: "dbfilename is other.rdb by CONFIG SET"},
		{name: "save points", before: []string{"config|set|save|900 1"}, refused: "save is 900 1 by CONFIG SET"},
		{name: "an append-only file", before: []string{"config|set|appendonly|yes"}, refused: "appendonly is yes"},
		{name: "an eviction", before: []string{"config|set|maxmemory-policy|allkeys-lru"},
			refused: "maxmemory-policy is allkeys-lru"},
		{name: "a user", before: []string{"acl|setuser|app|on|>pw|~*|+@all"},
			reported: []string{"lost by the restart, because it was set at run time and is in no file: the user app"}},
		{name: "other settings", before: []string{"config|set|timeout|321", "config|set|notify-keyspace-events|KEA",
			"config|set|masterauth|hidden"}, reported: []string{"the setting timeout", "the setting notify-keyspace-events",
			"the setting masterauth"}},
		{name: "a setting and back", before: []string{"config|set|timeout|321", "config|set|timeout|0"}},
	}
}

// inDocker is where the data of a container can be.
func inDocker(data, memory string) []fate {
	return []fate{
		{name: "tmpfs", docker: []string{"--tmpfs", "/data:size=64m"}, refused: "is empty after a restart"},
		{name: "a folder in a mounted tmpfs", docker: []string{"--mount", "type=tmpfs,destination=/data"},
			args: []string{"--dir", "/dev/../data/"}, refused: "is empty after a restart"},
		{name: "shared memory", args: []string{"--dir", "/dev/shm"}, refused: "is empty after a restart"},
		{name: "a volume that is a tmpfs", docker: []string{"--volume", "memory:/data"},
			request: map[string]string{"volatile": "true"}, refused: "is empty after a restart"},
		{name: "own layer", args: []string{"--dir", "/"}, refused: "docker restart keeps it"},
		{name: "own layer, accepted", args: []string{"--dir", "/"}, request: map[string]string{"volatile": "true"}},
		{name: "volume", docker: []string{"--volume", "kept:/data"}},
		{name: "bind mount", docker: []string{"--volume", data + ":/data"}},
		{name: "bind mount of memory", docker: []string{"--volume", memory + ":/data"},
			refused: "no restart of the machine"},
		{name: "bind mount of memory, accepted", docker: []string{"--volume", memory + ":/data"},
			request: map[string]string{"volatile": "true"}},
	}
}

// No key is lost, and no verdict is wrong, wherever a container has its data and
// whatever was set while it ran.
func outlivesDocker(t *testing.T, d *sandbox.Docker) {
	by := engineOf(t, d.Host)
	sockets, err := os.MkdirTemp("/tmp", "upkeep")
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.MkdirTemp("/dev/shm", "upkeep")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = os.RemoveAll(sockets), os.RemoveAll(memory) })
	if _, err := d.Run(t.Context(), nil, "volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs",
		"memory"); err != nil {
		t.Fatal(err)
	}
	begin := func(t *testing.T, name string, docker, args []string) *target.Redis {
		t.Helper()
		run := append([]string{"run", "--detach", "--network", "none", "--volume", sockets + ":/sockets", "--name",
			name}, docker...)
		run = append(run, "redis:1", "/redis-server", "--port", "0", "--save", "", "--requirepass", secret,
			"--enable-protected-configs", "yes", "--unixsocket", "/sockets/"+name)
		if _, err := d.Run(t.Context(), nil, append(run, args...)...); err != nil {
			t.Fatal(err)
		}
		r := as(t, "unix://"+filepath.Join(sockets, name), secret, target.Restart{Docker: by, Container: name})
		answers(t, r)
		return r
	}
	for i, f := range inDocker(filepath.Join(sockets, "data"), memory) {
		t.Run(f.name, func(t *testing.T) {
			if len(f.args) == 0 {
				f.args = []string{"--dir", "/data"}
			}
			f.judge(t, begin(t, fmt.Sprint("server", i), f.docker, f.args))
		})
	}
	one := begin(t, "one", []string{"--volume", "/data", "--volume", "/elsewhere"}, []string{"--dir", "/data"})
	for _, f := range whileItRuns("/elsewhere") {
		t.Run(f.name, func(t *testing.T) {
			words := strings.Split(strings.Join(f.before, ""), "|")
			if f.refused == "" {
				f.judge(t, one)
				return
			}
			was := setting(t, one, words[2])
			f.judge(t, one)
			do(t, one, "config", "set", words[2], was)
		})
	}
}

// answers waits for a server.
func answers(t *testing.T, r *target.Redis) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); r.Client.Ping(t.Context()).
		Err() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server does not answer")
		}
	}
}

// The same for a server that a supervisor restarts.
func TestRestartOutlives(t *testing.T) {
	other, err := os.MkdirTemp("/tmp", "upkeep")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	if err := os.Chmod(other, 0o777); err != nil {
		t.Fatal(err)
	}
	memory, err := os.MkdirTemp("/dev/shm", "upkeep")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(memory) })
	if err := os.Chmod(memory, 0o777); err != nil {
		t.Fatal(err)
	}
	all := append(whileItRuns(other),
		fate{name: "PrivateTmp", shows: "PrivateTmp=yes\n", refused: "is on PrivateTmp="},
		fate{name: "DynamicUser", shows: "PrivateTmp=no\nDynamicUser=yes\n",
			request: map[string]string{"volatile": "true"}, refused: "is on PrivateTmp="},
		fate{name: "RuntimeDirectory", shows: "RuntimeDirectory=other ../tmp\nRuntimeDirectoryPreserve=no\n",
			refused: "is on RuntimeDirectory="},
		fate{name: "RuntimeDirectory that is preserved",
			shows: "RuntimeDirectory=other ../tmp\nRuntimeDirectoryPreserve=restart\n"},
		fate{name: "TemporaryFileSystem", shows: "TemporaryFileSystem=/tmp:ro\n",
			refused: "is on TemporaryFileSystem="},
		fate{name: "a tmpfs of the machine", args: []string{"--dir", memory}, refused: "no restart of the machine"},
		fate{name: "a tmpfs of the machine, accepted", args: []string{"--dir", memory},
			request: map[string]string{"volatile": "true"}},
	)
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			u, r := supervised(t, append([]string{"--enable-protected-configs", "yes"}, f.args...)...)
			u.shows = f.shows
			f.judge(t, r)
		})
	}
}

// All that was set while it ran is named at once, also where the restart is refused.
func TestRestartNamesAllThatWasSet(t *testing.T) {
	u, r := supervised(t)
	for _, set := range [][]any{{"config", "set", "appendfsync", "always"}, {"config", "set", "save", "900 1"},
		{"config", "set", "timeout", "77"}, {"acl", "setuser", "app", "on", ">pw", "~*", "+@all"}} {
		do(t, r, set...)
	}
	plan, err := redis.Restart(r).Plan(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonUnfit, "appendfsync is always by CONFIG SET", "save is 900 1 by CONFIG SET",
		"also take back the setting timeout, the user app")
	facts := strings.Join(plan.Facts, "; ")
	for _, want := range []string{"the setting timeout", "the user app"} {
		if !strings.Contains(facts, want) {
			t.Errorf("the plan says %q, and not %q", facts, want)
		}
	}
	if u.count() != 0 {
		t.Error("it was restarted")
	}
}

// As many other keys as were lost make no good restart.
func TestRestartThatLostKeysIsNotMadeGood(t *testing.T) {
	for name, aof := range map[string]string{"a snapshot": "no", "an append-only file": "yes"} {
		t.Run(name, func(t *testing.T) {
			u, r := supervised(t, "--appendonly", aof)
			populate(t, r, keysThere)
			step := plannedRestart(t, r)
			killed, kill := context.WithCancel(t.Context())
			u.between = func() {
				kill()
				for _, file := range []string{"dump.rdb", "appendonlydir"} {
					if err := os.RemoveAll(filepath.Join(u.dir, file)); err != nil {
						t.Error(err)
					}
				}
			}
			_ = redis.Restart(r).Apply(killed, actiontest.Fence(&step), step) // upkeep is killed meanwhile
			answers(t, r)
			for i := range keysThere {
				do(t, r, "set", fmt.Sprint("n", i), "v")
			}
			if err := apply(t, redis.Restart(r), &step); !errors.Is(err, remediate.ErrFinal) {
				t.Errorf("with other keys in the place of those that were lost: %v", err)
			}
		})
	}
}

// What a server is started with must be known, or nothing have been set since.
func TestRestartOfAnUnknownStart(t *testing.T) {
	u, r := supervised(t)
	populate(t, r, keysThere)
	u.command = "/bin/sh -c exec redis-server"
	plan, err := redis.Restart(r).Plan(t.Context(), remediate.Request{})
	if err != nil || !strings.Contains(strings.Join(plan.Facts, "; "),
		"its command line cannot be read from here; nothing was set since") {
		t.Fatalf("%q, %v", plan.Facts, err)
	}
	do(t, r, "config", "set", "timeout", "77")
	refuses(t, apply(t, redis.Restart(r), &plan.Steps[0]), remediate.ReasonUnfit,
		"what the server is started with cannot be seen from here (its command line), and 1 commands have set "+
			"something since")
	u.command = ""
	refuses(t, apply(t, redis.Restart(r), &plan.Steps[0]), remediate.ReasonChanged,
		"the setting timeout was set since the plan was made")
	do(t, r, "acl", "setuser", "default", ">another")
	_, err = redis.Restart(r).Plan(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonUnfit, "rules of the user default, as which upkeep is logged in")
	if u.count() != 0 {
		t.Error("it was restarted")
	}
}

// A comparison that has failed stays failed, also for another process that takes the
// step up; and what was restarted by another is not done.
func TestRestartComparesEachTime(t *testing.T) {
	for name, aof := range map[string]string{"a snapshot": "no", "an append-only file": "yes"} {
		t.Run(name, func(t *testing.T) {
			u, r := supervised(t, "--appendonly", aof)
			populate(t, r, keysThere)
			do(t, r, "set", "a key with an end", "v", "px", "100")
			unkept := plannedRestart(t, r)
			step := unkept

			// upkeep is killed while the server is down: only what was kept is left.
			killed, kill := context.WithCancel(t.Context())
			u.between = kill
			if err := redis.Restart(r).Apply(killed, actiontest.Fence(&step), step); err == nil {
				t.Fatal("it was not killed")
			}
			answers(t, r)
			if u.count() != 1 || len(step.Kept) == 0 {
				t.Fatalf("%d restarts, and %q was kept", u.count(), step.Kept)
			}
			if strings.Contains(fmt.Sprint(step.Kept), secret) {
				t.Errorf("the password was kept: %q", step.Kept)
			}
			// Clients go on meanwhile.
			do(t, r, "del", "key1", "key2")
			for range 2 {
				if err := apply(t, redis.Restart(r), &step); err != nil {
					t.Errorf("taken up again: %v", err)
				}
			}
			refuses(t, apply(t, redis.Restart(r), &unkept), remediate.ReasonChanged, "and not by this run")

			// Once more, and the data is lost.
			u.between = nil
			step = plannedRestart(t, r)
			killed, kill = context.WithCancel(t.Context())
			u.between = func() {
				kill()
				for _, file := range []string{"dump.rdb", "appendonlydir"} {
					if err := os.RemoveAll(filepath.Join(u.dir, file)); err != nil {
						t.Error(err)
					}
				}
			}
			_ = redis.Restart(r).Apply(killed, actiontest.Fence(&step), step) // as above
			answers(t, r)
			u.between = nil
			for range 3 {
				err := apply(t, redis.Restart(r), &step)
				if !errors.Is(err, remediate.ErrFinal) ||
					!strings.Contains(err.Error(), "the server is back with 0 keys of 198") {
					t.Errorf("with its data lost: %v", err)
				}
			}
			if u.count() != 2 {
				t.Errorf("%d restarts, want 2", u.count())
			}
		})
	}
}

// Keys that have an end are data too: where all of them have one, as those of sessions and
// caches do, their loss is a loss. Those that expired meanwhile do not count.
func TestRestartComparesKeysThatHaveAnEnd(t *testing.T) {
	for name, aof := range map[string]string{"a snapshot": "no", "an append-only file": "yes"} {
		t.Run(name, func(t *testing.T) {
			u, r := supervised(t, "--appendonly", aof)
			do(t, r, "eval", `for i=1,200 do redis.call("set","key"..i,"value"..i,"ex",100000) end`, 0)
			step := plannedRestart(t, r)
			do(t, r, "eval", `for i=1,50 do redis.call("pexpire","key"..i,1) end`, 0)
			if err := apply(t, redis.Restart(r), &step); err != nil {
				t.Fatalf("Apply: %v", err)
			}
			step = plannedRestart(t, r)
			u.between = func() {
				for _, file := range []string{"dump.rdb", "appendonlydir"} {
					if err := os.RemoveAll(filepath.Join(u.dir, file)); err != nil {
						t.Error(err)
					}
				}
			}
			for range 2 {
				err := apply(t, redis.Restart(r), &step)
				if !errors.Is(err, remediate.ErrFinal) ||
					!strings.Contains(err.Error(), "the server is back with 0 keys of") {
					t.Errorf("with its data lost: %v", err)
				}
			}
			if u.count() != 2 {
				t.Errorf("%d restarts, want 2", u.count())
			}
		})
	}
}

// The server is back with its keys, but with other settings than announced.
func TestRestartComparesSettings(t *testing.T) {
	file := readable(t, "redis.conf", "timeout 10\nuser app on nopass ~* +@all\n")
	u, r := supervisedWith(t, file)
	populate(t, r, keysThere)
	step := plannedRestart(t, r)
	u.between = func() {
		if err := os.WriteFile(file, []byte("timeout 20\n"), 0o644); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		err := apply(t, redis.Restart(r), &step)
		if !errors.Is(err, remediate.ErrFinal) || !strings.Contains(err.Error(), "the setting timeout, the user app") {
			t.Errorf("Apply: %v", err)
		}
	}
}
