package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// defragPoll is how often the fragmentation is looked at. The server counts it
	// every tenth of a second, and thinks about defragmentation once a second.
	defragPoll = 250 * time.Millisecond

	// defragIdle is after how long without a moved allocation there is nothing more
	// to move: the server looks again each second.
	defragIdle = 5 * time.Second

	// defragStall is for how long allocations may be moved without a better ratio. A
	// pass over the keys of a large server at 25 % of a processor takes a minute
	// for each GB or so, and what a page is freed for may come at its end.
	defragStall = 3 * time.Minute

	// settingBackIn is how long setting back may take when the step was stopped.
	settingBackIn = 10 * time.Second

	// ignoredBytes is what the server ignores while the action works, instead of
	// 100 MB: on a small server the ratio would never come within its limit.
	ignoredBytes = "1048576"

	activeDefrag = "activedefrag"
)

// Defrag moves data together with the server's own defragmentation.
func Defrag(t *target.Redis) remediate.Action {
	return remediate.Action{
		Name:   "redis/defrag",
		Target: t.Name,
		Doc: `Defrag defragments the server's memory with active defragmentation, and switches it off again.

It sets activedefrag to yes and waits until the fragmentation is within the limit,
nothing is moved any more, there is no more progress, or the time is over. The server
defragments between commands, using cpu_min to cpu_max percent of its CPU; commands wait
for one slice of that, some milliseconds. Then the settings are restored, also after an
error, and after a crash of upkeep when the run is resumed. It refuses an allocator that
is not jemalloc, and a server that was built with the system's jemalloc instead of the
one in Redis' source, as Debian's is: such a server cannot defragment, and the next step
of the chain has to help. To find that out it sends a CONFIG SET that cannot succeed,
because its second value is invalid (Redis 7.0 and later; before, it finds out when it
acts). Running the step twice does no harm. Rights: +info +config|set +client|setname; who has
+config|set can make the server do anything, so give it to a user of its own. With
+config|get, which shows passwords, what was set before is read; without, only
activedefrag is touched, it is held to be no before unless the parameter keep says
otherwise, and the limits of the processor are the server's own. +multi +discard find
a missing right at plan time.`,
		Lowers: "upkeep_redis_memory_fragmentation_ratio",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "none",
			Blocks: "every client for some milliseconds at a time",
			WAL:    "–",
			Disk:   "none",
			Undo:   "nothing to undo: the settings are restored",
		},
		Rights: append(rights(setting()), remediate.Right{Grant: "+config|get",
			For: "to read what was set before; it shows passwords, and without it only activedefrag is touched"}),
		Params: []remediate.Param{
			{Name: "cpu_min", Type: remediate.Int, Default: "1",
				Doc: "Least share of the server's processor in percent. Needs +config|get."},
			{Name: "cpu_max", Type: remediate.Int, Default: "25",
				Doc: "Largest share of the server's processor in percent, at most 75. Needs +config|get."},
			{Name: "time", Type: remediate.Duration, Default: "30m", Doc: "How long it may take at most."},
			{Name: "keep", Type: remediate.Bool, Default: "false",
				Doc: "Leave activedefrag switched on at the end, where it was before and that cannot be read."},
		},
		Subject:   []string{"server"},
		Exclusive: []string{"server"},
		Timeout:   3 * time.Hour,
		Cancel:    remediate.CancelAnytime,
		Executor:  defrag{t},
	}
}

func setting() need { return need{"+config|set", []any{"config", "set", activeDefrag, "no"}} }

type defrag struct{ target *target.Redis }

// Headroom implements remediate.Roomer.
func (a defrag) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return headroom(ctx, a.target)
}

// defaultLimit is the fragmentation to come to where no rule says it.
const defaultLimit = 1.1

// defragArgs are the arguments of a step.
type defragArgs struct {
	processArgs

	Limit float64        `arg:"limit"` // the fragmentation at which it ends
	Time  model.Duration `arg:"time"`  // the longest it may take
	Set   settings       `arg:"set"`   // for the time of the step
	Back  settings       `arg:"back"`  // what they were before
}

// settings are values of the server's configuration by name, which have no spaces.
type settings map[string]string

// String writes the settings as a person would type them.
func (s settings) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		all = append(all, name+" "+s[name])
	}
	return strings.Join(all, " ")
}

// MarshalText implements encoding.TextMarshaler.
func (s settings) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *settings) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if len(words)%2 != 0 {
		return errors.New("a setting has no value")
	}
	*s = make(settings)
	for pair := range slices.Chunk(words, 2) {
		(*s)[pair[0]] = pair[1]
	}
	return nil
}

// Plan implements remediate.Executor.
func (a defrag) Plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	args, limited, err := wanted(r.Params)
	if err != nil {
		return p, err
	}
	if _, err := persistence(ctx, a.target.Client); err != nil {
		return p, err
	}
	u, err := read.ReadMemory(ctx, a.target.Client)
	if err != nil {
		return p, err
	}
	if !u.Jemalloc() {
		return p, remediate.Refuse(remediate.ReasonCannotHelp,
			"the server's allocator is %q: only jemalloc can be defragmented", u.Allocator)
	}
	if err := p.NoteMissing(allowed(ctx, a.target.Client, setting())); err != nil {
		return p, err
	}
	if err := p.NoteMissing(a.able(ctx)); err != nil {
		return p, err
	}
	args.Limit = defaultLimit
	if r.Limit != nil {
		args.Limit = *r.Limit
	}
	if args.Process, err = process(ctx, a.target.Client); err != nil {
		return p, err
	}
	args.Back, err = a.before(ctx, slices.Sorted(maps.Keys(args.Set)))
	switch {
	case err != nil:
		return p, err
	case args.Back == nil && limited:
		return p, remediate.Refuse(remediate.ReasonPrivilege,
			"cpu_min and cpu_max are set, but the values to restore afterwards cannot be read: grant +config|get, or "+
				"leave both out to use the server's own limits")
	case args.Back == nil:
		args.Back, args.Set = settings{activeDefrag: "no"}, settings{activeDefrag: "yes"}
		if r.Params["keep"] == "true" || u.Defragmenting {
			args.Back[activeDefrag] = "yes"
		}
		p.Facts = append(p.Facts, "what is set cannot be read: activedefrag is held to be "+args.Back[activeDefrag]+
			", and the limits of the processor are the server's own")
	}
	p.Facts = append(p.Facts, fmt.Sprintf("the allocator holds %.2f bytes for each that is used, and %s that nothing "+
		"is in", u.Fragmentation, remediate.Quantity("_bytes", u.Fragmented)))
	step := remediate.StepOf(fmt.Sprintf("CONFIG SET %s; wait for a ratio of %v, %s at most; CONFIG SET %s", args.Set,
		args.Limit, args.Time, args.Back), args)
	step.Undo = "CONFIG SET " + args.Back.String()
	step.Left = "settings of the defragmentation may be those that the step has set: " + step.Undo
	p.Steps = []remediate.Step{step}
	return p, p.Missing()
}

// wanted returns what is to be set and for how long, and whether the request says limits
// of its own.
func wanted(params map[string]string) (w defragArgs, limited bool, err error) {
	low, err1 := strconv.Atoi(cmp.Or(params["cpu_min"], "1"))
	high, err2 := strconv.Atoi(cmp.Or(params["cpu_max"], "25"))
	if err1 != nil || err2 != nil || low < 1 || high < low || high > 75 {
		return w, false, remediate.Refuse(remediate.ReasonSubject,
			"cpu_min is %q and cpu_max %q; whole numbers from 1 to 75 were expected, the second not smaller",
			params["cpu_min"], params["cpu_max"])
	}
	if w.Time, err = model.ParseDuration(cmp.Or(params["time"], "30m")); err != nil || w.Time <= 0 {
		return w, false, remediate.Refuse(remediate.ReasonSubject, "time is %q; a duration was expected, like 30m",
			params["time"])
	}
	if k := params["keep"]; k != "" && k != "true" && k != "false" {
		return w, false, remediate.Refuse(remediate.ReasonSubject, "keep is %q; true or false was expected", k)
	}
	w.Set = settings{
		activeDefrag: "yes", "active-defrag-cycle-min": strconv.Itoa(low),
		"active-defrag-cycle-max":    strconv.Itoa(high),
		"active-defrag-ignore-bytes": ignoredBytes, "active-defrag-threshold-lower": "1",
	}
	return w, low != 1 || high != 25, nil
}

// able refuses a server that cannot defragment. It is asked to set activedefrag
// and, in the same command, something that is no value: from 7.0 on all or nothing
// is set, and the answer says for which of the two it is nothing.
func (a defrag) able(ctx context.Context) error {
	err := a.target.Client.Do(ctx, "config", "set", activeDefrag, "yes", "maxmemory-policy", "no such policy").Err()
	switch {
	case err == nil:
		return errors.New("config set: the server accepted an invalid value; check its settings")
	case denied(err):
		return privilege(err, setting().grant)
	case unable(err):
		return cannot(err)
	case strings.Contains(err.Error(), "maxmemory-policy"),
		strings.Contains(strings.ToLower(err.Error()), "wrong number of arguments"):
		return nil // it can, or it is older than 7.0 and will be seen
	}
	return fmt.Errorf("config set: %w", err)
}

// unable reports whether an answer says that the server was built without.
func unable(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "Active defragmentation cannot be enabled") ||
		strings.Contains(err.Error(), "'activedefrag'"))
}

func cannot(err error) error {
	return remediate.Refuse(remediate.ReasonCannotHelp,
		"the server was built without active defragmentation, as Debian's is: %v", err)
}

// before returns what is set now, or nothing where that may not be read.
func (a defrag) before(ctx context.Context, names []string) (settings, error) {
	all := make(settings)
	for _, name := range names { // one by one: before 7.0 there is no other way
		got, err := a.target.Client.ConfigGet(ctx, name).Result()
		switch {
		case denied(err):
			return nil, nil //nolint:nilnil // nil is what may not be read, and that is no fault
		case err != nil:
			return nil, fmt.Errorf("config get %s: %w", name, err)
		case got[name] == "":
			return nil, fmt.Errorf("config get %s: the server does not say", name)
		}
		all[name] = got[name]
	}
	return all, nil
}

// Apply implements remediate.Executor.
func (a defrag) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) (err error) {
	args, err := remediate.ArgsOf[defragArgs](s)
	if err != nil {
		return err
	}
	if err := answers(ctx, a.target.Client, args.Process); err != nil {
		return err
	}
	u, err := read.ReadMemory(ctx, a.target.Client)
	if err != nil {
		return privilege(err, "+info")
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	// Also what an attempt before has left is set back, and also when this one is stopped.
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settingBackIn)
		defer cancel()
		if fault := a.restore(last, f, args.Process, args.Back); fault != nil && !errors.Is(err, remediate.ErrFenced) {
			err = errors.Join(err, fault)
		}
	}()
	if u.Fragmentation <= args.Limit {
		return nil
	}
	// The switch itself comes last.
	if err := a.configure(ctx, f.Check, args.Process, args.Set, append(args.Set.others(), activeDefrag)); err != nil {
		return err
	}
	return a.watch(ctx, f, u, args.Limit, time.Duration(args.Time))
}

// others are the names of all settings but the switch.
func (s settings) others() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s)), func(name string) bool { return name == activeDefrag })
}

// restore sets what was before, the switch first.
func (a defrag) restore(ctx context.Context, f remediate.Fence, process string, back settings) error {
	names := back.others()
	if _, ok := back[activeDefrag]; ok {
		names = slices.Insert(names, 0, activeDefrag)
	}
	return a.configure(ctx, f.Keeps, process, back, names)
}

// configure sets some settings in the order of their names.
func (a defrag) configure(ctx context.Context, may func(context.Context) error, process string, values settings,
	names []string) error {
	// A process that was started anew has the settings of its file.
	if err := answers(ctx, a.target.Client, process); err != nil {
		return err
	}
	if err := may(ctx); err != nil {
		return err
	}
	for _, name := range names {
		if err := a.target.Client.ConfigSet(ctx, name, values[name]).Err(); unable(err) {
			return cannot(err)
		} else if err != nil {
			return fmt.Errorf("config set %s: %w", name, privilege(err, setting().grant))
		}
	}
	return nil
}

// Undo implements remediate.Undoer. What somebody has set since stays.
func (a defrag) Undo(ctx context.Context, f remediate.Fence, s remediate.Step) (string, error) {
	args, err := remediate.ArgsOf[defragArgs](s)
	if err != nil {
		return "", err
	}
	if err := answers(ctx, a.target.Client, args.Process); err != nil {
		return "", err
	}
	now, err := a.before(ctx, slices.Sorted(maps.Keys(args.Back)))
	if err != nil {
		return "", err
	}
	ours := maps.Clone(args.Back)
	maps.DeleteFunc(ours, func(name, was string) bool {
		return now != nil && now[name] != args.Set[name] || args.Set[name] == was
	})
	if len(ours) == 0 {
		return "", nil
	}
	if err := a.restore(ctx, f, args.Process, ours); err != nil {
		return "", err
	}
	return "set back: " + ours.String(), nil
}

// watch looks on until the defragmentation has an end. That it did not help enough
// is no fault: the measure says so.
func (a defrag) watch(ctx context.Context, f remediate.Fence, u read.Usage, limit float64, most time.Duration) error {
	began := time.Now()
	moved, movedAt := u.Moved, began
	best, bestAt := u.Fragmentation, began
	for {
		if err := pause(ctx, defragPoll); err != nil {
			return fmt.Errorf("defragmenting: %w", err)
		}
		if err := f.Check(ctx); err != nil {
			return err
		}
		u, err := read.ReadMemory(ctx, a.target.Client)
		if err != nil {
			return err
		}
		now := time.Now()
		if u.Moved != moved {
			moved, movedAt = u.Moved, now
		}
		if u.Fragmentation < best-0.01 {
			best, bestAt = u.Fragmentation, now
		}
		switch {
		case u.Fragmentation <= limit, now.Sub(began) >= most, now.Sub(movedAt) >= defragIdle,
			now.Sub(bestAt) >= defragStall:
			return nil
		}
	}
}

// Measure implements remediate.Executor.
func (a defrag) Measure(ctx context.Context, _ remediate.Request) (float64, error) {
	return fragmentation(ctx, a.target)
}

// fragmentation is what the allocator holds active for each byte that is used.
func fragmentation(ctx context.Context, t *target.Redis) (float64, error) {
	u, err := read.ReadMemory(ctx, t.Client)
	if err == nil && u.Fragmentation == 0 {
		err = remediate.Refuse(remediate.ReasonCannotHelp,
			"the server's allocator is %q, which does not tell how much it holds", u.Allocator)
	}
	return u.Fragmentation, privilege(err, "+info")
}
