package redis_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// fragLimit is the fragmentation that the patients should come to.
const fragLimit = 1.5

// fragment deletes three of four adjacent values.
func fragment(t testing.TB, r *target.Redis) {
	t.Helper()
	do(t, r, "flushall", "sync")
	do(t, r, "eval",
		`for i=1,20000 do redis.call("set","key"..i,string.rep("x",200)) end for i=1,20000 do if i%4~=0 then redis.call("del","key"..i) end end`, 0)
	rises(t, redis.Defrag(r), fragLimit+0.1)
}

// settings are what the action may change.
func settings(t testing.TB, r *target.Redis) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"activedefrag", "active-defrag-cycle-min", "active-defrag-cycle-max",
		"active-defrag-ignore-bytes", "active-defrag-threshold-lower", "maxmemory-policy"} {
		all.WriteString(name + "=" + setting(t, r, name) + " ")
	}
	return all.String()
}

func defragmenting(t testing.TB) *target.Redis {
	t.Helper()
	// What was set before is not what the server begins with.
	return connect(t, servertest.RedisDefrag(t, "--requirepass", secret, "--active-defrag-cycle-max", "40",
		"--active-defrag-threshold-lower", "7").URL)
}

func TestDefrag(t *testing.T) {
	t.Parallel()
	r := defragmenting(t)
	action, before := redis.Defrag(r), settings(t, r)
	h := &healings{action: action, limit: fragLimit}
	actiontest.Run(t, actiontest.Case{
		Action: redis.Defrag(r), Subject: map[string]string{"server": "cache"},
		Params: map[string]string{"cpu_min": "60", "cpu_max": "75"}, Limit: fragLimit, Secret: secret,
		Child: "redis://" + r.Client.Options().Addr,
		Degrade: func(t *testing.T) {
			fragment(t, r)
			h.degraded = true
		},
		State:   func(t *testing.T) string { return settings(t, r) + info(t, r, "active_defrag_hits") },
		Effects: h.count,
	})
	if diff := settings(t, r); diff != before {
		t.Errorf("the settings are %s, and were %s", diff, before)
	}
}

// Debian's server cannot, and the plan says so without having changed anything.
func TestDefragIsNotBuilt(t *testing.T) {
	t.Parallel()
	r := server(t)
	fragment(t, r)
	before := settings(t, r)
	_, err := redis.Defrag(r).Plan(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonCannotHelp, "built without active defragmentation")
	if got := settings(t, r); got != before {
		t.Errorf("the settings are %s, and were %s", got, before)
	}
	// Where that was not found out before, as of servers before 7.0.
	err = redis.Defrag(r).Apply(t.Context(), fence(), remediate.Step{Args: map[string]string{"limit": "1.5",
		"time": "1m", "set": "activedefrag yes", "back": "activedefrag no"}})
	refuses(t, err, remediate.ReasonCannotHelp, "built without active defragmentation")
}

// planned makes the plan of a fragmented server.
func planned(t *testing.T, r *target.Redis, params map[string]string) remediate.Step {
	t.Helper()
	fragment(t, r)
	plan, err := redis.Defrag(r).Plan(t.Context(), remediate.Request{Limit: new(fragLimit), Params: params})
	if err != nil {
		t.Fatal(err)
	}
	return plan.Steps[0]
}

// It ends when nothing is left to be moved, or the time is over, and sets back.
func TestDefragEnds(t *testing.T) {
	t.Parallel()
	r := defragmenting(t)
	before := settings(t, r)
	for name, args := range map[string]map[string]string{
		"nothing is moved any more": {"limit": "1"},
		"the time is over":          {"limit": "1", "time": "1s"},
	} {
		step := planned(t, r, nil)
		maps.Copy(step.Args, args)
		if err := redis.Defrag(r).Apply(t.Context(), fence(), step); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := settings(t, r); got != before {
			t.Errorf("%s: the settings are %s, and were %s", name, got, before)
		}
	}
}

// Stopped, it sets back; when another has taken over, that one does, and not we.
func TestDefragStopped(t *testing.T) {
	r := defragmenting(t)
	before := settings(t, r)
	step := planned(t, r, nil)
	step.Args["limit"] = "1"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- redis.Defrag(r).Apply(ctx, fence(), step) }()
	begun := func() {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); setting(t, r,
			"activedefrag") != "yes"; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it does not begin")
			}
		}
	}
	begun()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Apply: %v", err)
	}
	if got := settings(t, r); got != before {
		t.Errorf("the settings are %s, and were %s", got, before)
	}

	passed := make(chan struct{})
	lost := remediate.Fence{Token: 1, Held: func(context.Context) error {
		select {
		case <-passed:
			return remediate.ErrFenced
		default:
			return nil
		}
	}}
	go func() { ended <- redis.Defrag(r).Apply(t.Context(), lost, step) }()
	begun()
	close(passed)
	if err := <-ended; !errors.Is(err, remediate.ErrFenced) {
		t.Errorf("Apply: %v", err)
	}
	if got := setting(t, r, "activedefrag"); got != "yes" {
		t.Error("who has lost the right has set back")
	}
	step.Args["limit"] = "100" // nothing is left to do
	if err := redis.Defrag(r).Apply(t.Context(), fence(), step); err != nil {
		t.Fatal(err)
	}
	if got := settings(t, r); got != before {
		t.Errorf("the settings are %s, and were %s", got, before)
	}
}

// Who may not read what is set touches the switch alone.
func TestDefragWithoutReading(t *testing.T) {
	t.Parallel()
	r := defragmenting(t)
	fragment(t, r)
	weak := user(t, r, "+info", "+config|set", "+multi", "+discard")
	action := redis.Defrag(weak)
	_, err := action.Plan(t.Context(), remediate.Request{Limit: new(fragLimit),
		Params: map[string]string{"cpu_max": "50"}})
	refuses(t, err, remediate.ReasonPrivilege, "+config|get")
	plan, err := action.Plan(t.Context(), remediate.Request{Limit: new(fragLimit),
		Params: map[string]string{"keep": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := "CONFIG SET activedefrag yes; wait for a ratio of 1.5, 30m at most; CONFIG SET activedefrag yes"; plan.Steps[0].Do != want {
		t.Errorf("it would do %q, want %q", plan.Steps[0].Do, want)
	}
	do(t, r, "config", "set", "active-defrag-ignore-bytes", "1mb") // the server is small
	if plan, err = action.Plan(t.Context(), remediate.Request{Limit: new(fragLimit)}); err != nil {
		t.Fatal(err)
	}
	before := settings(t, r)
	if err := action.Apply(t.Context(), fence(), plan.Steps[0]); err != nil {
		t.Fatal(err)
	}
	if got := measure(t, action); got > fragLimit {
		t.Errorf("the ratio is %v", got)
	}
	if got := settings(t, r); got != before {
		t.Errorf("the settings are %s, and were %s", got, before)
	}
}

func TestDefragParameters(t *testing.T) {
	action := redis.Defrag(server(t))
	for _, params := range []map[string]string{{"cpu_max": "0"}, {"cpu_min": "30"}, {"cpu_max": "100"},
		{"cpu_max": "many"}, {"time": "soon"}, {"time": "0s"}, {"keep": "perhaps"}} {
		_, err := action.Plan(t.Context(), remediate.Request{Params: params})
		refuses(t, err, remediate.ReasonSubject, "expected")
	}
}

// A run that was killed in the middle leaves its settings; undone, they are what they
// were, and what somebody has set since stays.
func TestDefragIsUndone(t *testing.T) {
	t.Parallel()
	r := defragmenting(t)
	before := settings(t, r)
	step := planned(t, r, nil)
	step.Args["limit"] = "1"
	checks := 0
	err := redis.Defrag(r).Apply(t.Context(), remediate.Fence{Held: func(context.Context) error {
		if checks++; checks > 3 {
			return remediate.ErrFenced
		}
		return nil
	}}, step)
	if !errors.Is(err, remediate.ErrFenced) || !strings.Contains(settings(t, r),
		"activedefrag=yes active-defrag-cycle-min=1 active-defrag-cycle-max=25 active-defrag-ignore-bytes=1048576 "+
			"active-defrag-threshold-lower=1 ") {
		t.Fatalf("%v: %s", err, settings(t, r))
	}
	do(t, r, "config", "set", "active-defrag-cycle-max", "33")
	u := redis.Defrag(r).Executor.(remediate.Undoer)
	found, err := u.Undo(t.Context(), fence(), step)
	if want := strings.Replace(before, "cycle-max=40", "cycle-max=33", 1); err != nil || settings(t, r) != want ||
		!strings.Contains(found, "activedefrag no") {
		t.Errorf("%q %v: the settings are %s, want %s", found, err, settings(t, r), want)
	}
	if found, err := u.Undo(t.Context(), fence(), step); err != nil || found != "" {
		t.Errorf("undone twice: %q %v", found, err)
	}
	if !strings.Contains(step.Left, "CONFIG SET active-defrag-cycle-max 40") &&
		!strings.Contains(step.Left, "active-defrag-cycle-max 40") {
		t.Errorf("the text for people: %s", step.Left)
	}
}
