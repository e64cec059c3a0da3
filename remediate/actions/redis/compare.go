package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	goredis "github.com/redis/go-redis/v9"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/remediate"
)

// What a restart keeps before it begins, in the step's Kept: all that is compared
// afterwards, also by another process where this one is killed meanwhile.
const (
	keptKeys     = "keys"     // of each database, and how many of them have an end
	keptAppended = "appended" // bytes of the append-only file
	keptFile     = "file"     // the snapshot that the server reads when it starts
	keptSettings = "settings" // a digest of each that is no password
	keptUsers    = "users"    // a digest of the rules of each, without passwords
	keptGoes     = "goes"     // what the plan said would be lost
)

// keep is what is kept of a server.
func (now observation) keep(file saved, goes string) map[string]string {
	var keys []string
	for n, k := range now.state.Databases {
		keys = append(keys, fmt.Sprintf("%d=%d/%d", n, k.All, k.Expires))
	}
	slices.Sort(keys)
	return map[string]string{
		keptAppended: strconv.FormatFloat(now.snapshot.AOFSize, 'f', 0, 64), keptKeys: strings.Join(keys, " "),
		keptFile: file.String(), keptGoes: goes,
		keptSettings: written(now.running.digests()), keptUsers: written(now.running.rules()),
	}
}

// digests are the settings in short. Passwords are left out: the journal is no place
// for what one could be guessed from.
func (r running) digests() map[string]string {
	all := make(map[string]string)
	for name, value := range r.settings {
		if !strings.Contains(name, "pass") && !strings.Contains(name, "auth") {
			all[name] = digest(value)
		}
	}
	return all
}

// rules are the rules of the users in short, without their passwords.
func (r running) rules() map[string]string {
	all := make(map[string]string)
	for name, rules := range r.users {
		var open []string
		for _, one := range rules {
			if strings.HasPrefix(one, "#") {
				one = "#"
			}
			open = append(open, one)
		}
		all[name] = digest(strings.Join(plain(open), " "))
	}
	return all
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// written and parsed are a map as one text.
func written(all map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, strconv.Quote(name)+":"+all[name])
	}
	return strings.Join(list, " ")
}

func parsed(text string) (map[string]string, error) {
	all := make(map[string]string)
	for rest := text; rest != ""; {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", rest, err)
		}
		name, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", quoted, err)
		}
		all[name], rest, _ = strings.Cut(strings.TrimPrefix(rest[len(quoted):], ":"), " ")
	}
	return all, nil
}

// keysOf reads the keys that were kept.
func keysOf(text string) (map[int]read.Keys, error) {
	all := make(map[int]read.Keys)
	for one := range strings.FieldsSeq(text) {
		var n int
		var k read.Keys
		if _, err := fmt.Sscanf(one, "%d=%d/%d", &n, &k.All, &k.Expires); err != nil {
			return nil, fmt.Errorf("step: keys: %q: %w", one, err)
		}
		all[n] = k
	}
	return all, nil
}

// final makes an error of which no other try can make good.
func final(format string, args ...any) error {
	return fmt.Errorf("%w: %w", fmt.Errorf(format, args...), remediate.ErrFinal)
}

// check waits until the server has read its data, and compares with what was kept.
// There is no other way to done: where nothing was kept the server was restarted by
// another, and of what it had nothing is known.
func (a restart) check(ctx context.Context, s remediate.Typed[restartArgs]) error {
	if s.Kept == nil {
		return remediate.Refuse(remediate.ReasonChanged,
			"another process answers than when the plan was made: the server was restarted, and not by this run. "+
				"What it had before is not known, so nothing can be compared")
	}
	state, err := a.back(ctx, s.Args.Process)
	if err != nil {
		return err
	}
	snapshot, err := persistence(ctx, a.target.Client)
	if err != nil {
		return err
	}
	memory, err := read.ReadMemory(ctx, a.target.Client)
	if err != nil {
		return err
	}
	if err := s.Args.same(lastingOf(state, snapshot, memory)); err != nil {
		return err
	}
	if !state.Replica { // its primary has the data
		if err := a.complete(ctx, s.Kept, state, snapshot); err != nil {
			return err
		}
	}
	return a.settled(ctx, s.Kept)
}

// complete compares the keys. What the server itself says that it has read is exact: it
// counts what came to its end while it was down too, and while writes are held nothing
// does. Where it does not say that, keys may have gone since by what clients have done,
// and before 7.0 those that have an end may have gone unseen.
func (a restart) complete(ctx context.Context, kept map[string]string, state read.State, s read.Snapshot) error {
	before, err := keysOf(kept[keptKeys])
	if err != nil {
		return err
	}
	var all, may, short int64
	for n, k := range before {
		must := k.All
		if state.Loaded < 0 {
			must -= k.Expires
		}
		all, may = all+k.All, may+k.All-must
		short += max(0, must-state.Databases[n].All)
	}
	have := state.Keys
	if !s.AOF && state.Loaded >= 0 {
		have, short = state.Loaded, max(0, all-state.Loaded)
	} else if short > 0 {
		calls, err := read.ReadCalls(ctx, a.target.Client)
		if err != nil {
			return err
		}
		removed := removals(calls)
		short -= state.Gone + removed
		// One command may take many keys. The file, which is still the one that was
		// read, is no shorter then.
		appended, err := strconv.ParseFloat(kept[keptAppended], 64)
		if err != nil {
			return fmt.Errorf("step: %s: %w", keptAppended, err)
		}
		if s.AOF && removed > 0 && s.Rewrites == 0 && s.AOFSize >= appended {
			short = 0
		}
	}
	if short > 0 {
		return final("the server is back with %d keys of %d, of which %d may have expired: look at its log and its "+
			"folder before anything is written over", have, all, may)
	}
	if appended, err := strconv.ParseFloat(kept[keptAppended], 64); err == nil && s.AOF && s.Rewrites == 0 &&
		s.AOFSize < appended && state.Loaded < all-may {
		// Clients may have written as many keys since as were lost. One that was written
		// anew right before the stop is shorter too, and has all keys at its beginning.
		return final("the server is back, and its append-only file has %s where it had %s: look at its log and its "+
			"folder before anything is written over", remediate.Quantity("_bytes", s.AOFSize),
			remediate.Quantity("_bytes", appended))
	}
	return nil
}

// removals counts the commands that may have taken a key away. One that takes many
// counts as one.
func removals(calls map[string]int64) (n int64) {
	for _, name := range []string{
		"del", "unlink", "flushdb", "flushall", "getdel", "getex", "rename", "renamenx", "move", "restore", "migrate",
		"lpop", "rpop", "blpop", "brpop", "lmove", "blmove", "rpoplpush", "brpoplpush", "lmpop", "blmpop", "lrem",
		"ltrim",
		"spop", "srem", "smove", "zpopmin", "zpopmax", "bzpopmin", "bzpopmax", "zmpop", "bzmpop", "zrem",
		"zremrangebyscore", "zremrangebyrank", "zremrangebylex", "hdel", "hgetdel", "hgetex",
		"expire", "expireat", "pexpire", "pexpireat", "eval", "evalsha", "fcall", "exec", "sinterstore", "sdiffstore",
		"sunionstore", "zinterstore", "zdiffstore", "zunionstore", "zrangestore", "sort", "bitop", "georadius",
		"geosearchstore", "lset",
	} {
		n += calls[name]
	}
	return n
}

// settled compares settings and users: only what the plan announced may be lost.
func (a restart) settled(ctx context.Context, kept map[string]string) error {
	now, err := a.running(ctx)
	if err != nil {
		return err
	}
	planned := strings.Split(kept[keptGoes], ", ")
	var gone []string
	for _, of := range []struct {
		was  string
		is   map[string]string
		what []string
	}{{kept[keptSettings], now.digests(), []string{"the setting %s"}},
		{kept[keptUsers], now.rules(), []string{"the user %s", "rules of the user %s", "the removal of user %s"}}} {
		was, err := parsed(of.was)
		if err != nil {
			return fmt.Errorf("step: %w", err)
		}
		for name := range mix(was, of.is) {
			expected := slices.ContainsFunc(of.what, func(what string) bool {
				return slices.Contains(planned,
					fmt.Sprintf(what, name))
			})
			if was[name] != of.is[name] && !expected && !slices.ContainsFunc(planned,
				func(t string) bool { return strings.HasPrefix(t, "users that are not in ") && len(of.what) > 1 }) {
				gone = append(gone, fmt.Sprintf(of.what[0], name))
			}
		}
	}
	if len(gone) > 0 {
		slices.Sort(gone)
		return final("the server is back with all its keys, but its settings differ: %s. They were set at run time "+
			"and are in no file; set them again and save them", strings.Join(gone, ", "))
	}
	return nil
}

// mix is what is in either.
func mix(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
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
			return s, fmt.Errorf("the server is back and rejects our login: our user, or its password, was set at "+
				"run time and is in no configuration file; the data could not be checked: %w (%w)", err,
				remediate.ErrFinal)
		}
		if time.Since(alive) > lifeIn {
			return s, errors.Join(fmt.Errorf("the server was restarted and nothing was heard of it for %s: look at "+
				"its log", lifeIn), err)
		}
		if stop := pause(ctx, savePoll); stop != nil {
			return s, errors.Join(fmt.Errorf("waiting for the server to come back: %w", stop), err)
		}
	}
}

// restartArgs are the arguments of a step.
type restartArgs struct {
	lasting

	Process  string         `arg:"run_id"`   // which is restarted
	Pause    model.Duration `arg:"pause"`    // the longest that writes may be held
	Volatile bool           `arg:"volatile"` // data that is in no file may be lost
	Goes     string         `arg:"goes"`     // what the plan says is lost
}

// lasting is what must be the same after the restart.
type lasting struct {
	Replica  bool   `arg:"replica"`
	Appends  bool   `arg:"appendonly"`
	Most     int64  `arg:"maxmemory"` // bytes
	Eviction string `arg:"maxmemory-policy"`
}

func lastingOf(state read.State, s read.Snapshot, m read.Usage) lasting {
	return lasting{Replica: state.Replica, Appends: s.AOF, Most: int64(m.Limit), Eviction: m.Policy}
}

// same returns an error of which no other try can make good where one has changed.
func (l lasting) same(now lasting) error {
	for _, of := range []struct {
		name    string
		was, is any
	}{{"replica", l.Replica, now.Replica}, {"appendonly", l.Appends, now.Appends}, {"maxmemory", l.Most, now.Most},
		{"maxmemory-policy", l.Eviction, now.Eviction}} {
		if of.was != of.is {
			return final("the server is back, and its %s is %v where it was %v: it was set with CONFIG SET and is in "+
				"no configuration file; set it again and save it (CONFIG REWRITE)", of.name, of.is, of.was)
		}
	}
	return nil
}
