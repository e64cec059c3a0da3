package redis_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// user makes a user with these rights and what a connection needs, and returns the
// server as it sees it.
func user(t *testing.T, r *target.Redis, grants ...string) *target.Redis {
	t.Helper()
	args := []any{"acl", "setuser", "weak", "reset", "on", ">pass", "resetkeys", "resetchannels", "-@all", "+hello",
		"+client|setname"}
	for _, g := range grants {
		args = append(args, g)
	}
	do(t, r, args...)
	if file := setting(t, r, "aclfile"); file != "" { // what is in no file is gone after a restart
		lines, err := r.Client.ACLList(t.Context()).Result()
		if err == nil {
			err = os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return as(t, "redis://weak@"+r.Client.Options().Addr, "pass", r.Restart)
}

// The listed rights are enough, and each missing one is named before
// anything is done.
func TestRights(t *testing.T) {
	u, admin := supervised(t, "--appendonly", "yes", "--jemalloc-bg-thread", "no", "--aclfile",
		readable(t, "users.acl", fmt.Sprintf("user default on #%x ~* &* +@all\n", sha256.Sum256([]byte(secret)))))
	frag := defragmenting(t)
	for _, on := range []*target.Redis{admin, frag} {
		populate(t, on, 10)
	}
	for _, a := range actions(admin) {
		on := admin
		if a.Name == "redis/defrag" {
			on = frag
		}
		t.Run(strings.TrimPrefix(a.Name, "redis/"), func(t *testing.T) {
			var grants []string
			for _, r := range a.Rights {
				grants = append(grants, r.Grant)
			}
			find := func(r *target.Redis) remediate.Action {
				all := actions(r)
				return all[slices.IndexFunc(all, func(b remediate.Action) bool { return b.Name == a.Name })]
			}
			request := remediate.Request{Limit: new(100.0)}
			all := find(user(t, on, grants...))
			plan, err := all.Plan(t.Context(), request)
			if err != nil {
				t.Fatalf("with every right: %v", err)
			}
			for _, lacks := range grants {
				if slices.Contains([]string{"+hello", "+client|setname", "+multi"}, lacks) || lacks == "+config|get" &&
					a.Name != "redis/restart" {
					continue // the connection's, or what is done without
				}
				rest := slices.DeleteFunc(slices.Clone(grants), func(g string) bool { return g == lacks })
				_, err := find(user(t, on, rest...)).Plan(t.Context(), request)
				refuses(t, err, remediate.ReasonPrivilege, lacks)
				if lacks == "+info" {
					_, err := find(user(t, on, rest...)).Measure(t.Context(), request)
					refuses(t, err, remediate.ReasonPrivilege, lacks)
				}
				// Without the right to check beforehand the error comes at the moment of acting.
				if lacks == "+discard" || lacks == "+info" || lacks == "+config|set" || lacks == "+client|unpause" ||
					lacks == "+client|info" || lacks == "+config|get" || lacks == "+acl|list" {
					continue
				}
				rest = slices.DeleteFunc(rest, func(g string) bool { return g == "+multi" })
				late := find(user(t, on, rest...))
				late2, err := late.Plan(t.Context(), request)
				if err != nil {
					t.Fatalf("without %s and +multi: %v", lacks, err)
				}
				refuses(t, apply(t, late, &late2.Steps[0]), remediate.ReasonPrivilege, lacks)
			}
			if err := apply(t, find(user(t, on, grants...)), &plan.Steps[0]); err != nil || a.Name == "redis/restart" &&
				u.count() != 1 {
				t.Errorf("with every right: %d restarts, %v", u.count(), err)
			}
		})
	}
}
