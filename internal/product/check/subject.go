package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
)

// subjectTable checks a table that a subject names against what the target says of it.
func (k *checker) subjectTable(at place, who string, subject map[string]string, a remediate.Action) {
	i := slices.IndexFunc(k.config.Targets.Postgres,
		func(p config.Postgres) bool { return p.Name == subject["server"] })
	if i < 0 || kindOf(a.Name) != "postgres" {
		return
	}
	p := k.config.Targets.Postgres[i]
	database, table := subject["database"], subject["table"]
	if database != "" && p.LeavesAlone(database) {
		k.fault(at.in("subject", "database"),
			"%s: database %q is excluded from postgres %s (targets.postgres.%s), and nothing is done in it; "+
				"name another, or change that key", who, database, p.Name, excludedBy(p, database))
		return
	}
	if table == "" || a.Name != "postgres/archive" && a.Name != "postgres/purge" {
		return
	}
	j := slices.IndexFunc(p.Archives, func(x config.Archive) bool {
		return x.Database == database && x.Schema == subject["schema"] && x.Table == table
	})
	switch {
	case j < 0:
		k.fault(at.in("subject", "table"),
			"%s: postgres %s has no archive of table %s.%s in database %s, so %s is refused; add it to "+
				"targets.postgres.archives", who, p.Name, subject["schema"], table, database, a.Name)
	case a.Name == "postgres/purge" && !p.Archives[j].Purge:
		k.fault(at.in("subject", "table"),
			"%s: the archive of %s does not say purge: true, so postgres/purge is refused; say so there, or take "+
				"this out", who, table)
	case a.Name == "postgres/archive" && p.Archives[j].To == config.Destination{}:
		k.fault(at.in("subject", "table"),
			"%s: the archive of %s has no destination (to), so postgres/archive is refused; give it one, or take "+
				"this out", who, table)
	}
}

// noTarget says when nothing takes an action.
func (k *checker) noTarget(at place, who string, a remediate.Action) bool {
	kind := kindOf(a.Name)
	if len(k.words.targets[kind]) > 0 {
		return false
	}
	k.warn(at.in("action"), "%s: no target takes %s: there is no %s target; add one to targets.%s, or remove this", who,
		a.Name, kind, kind)
	return true
}

// subjectServer checks that the server that a subject names takes the action.
func (k *checker) subjectServer(at place, who string, subject map[string]string, a remediate.Action) {
	server, named := subject["server"]
	kind := kindOf(a.Name)
	names := k.words.targets[kind]
	if !named || strings.Contains(server, "$") || slices.Contains(names, server) {
		return
	}
	k.fault(at.in("subject", "server"), "%s: no %s target is called %q; %s", who, kind, server,
		meant(server, names, choose(names)))
}

// fresh checks that an answer can be as fresh as is asked: a collector answers no more
// often than it asks.
func (k *checker) fresh(at place, who string, fresh time.Duration, a remediate.Action) {
	collector := k.words.metrics[a.Lowers].collector
	every := k.words.every[collector]
	if fresh == 0 || every == 0 || fresh >= every {
		return
	}
	k.warn(at.in("fresh"), "%s: an answer is to be at most %s old, and %s asks every %s only, so %s waits for the "+
		"next answer most of the time; make fresh longer than that, or collectors.settings.%s.every shorter",
		who, model.Duration(fresh), collector, model.Duration(every), a.Name, collector)
}

// backedUp checks that a backup target exists.
func (k *checker) backedUp(at place, who string, t remediate.Terms, a remediate.Action) {
	if t.Backup == 0 || a.Risk != remediate.Destructive {
		return
	}
	servers := k.words.targets[kindOf(a.Name)]
	if len(servers) == 0 || slices.ContainsFunc(servers,
		func(name string) bool { return slices.Contains(k.words.targets["backup"], name) }) {
		return
	}
	k.fault(at, "%s asks for a verified backup, and no target of targets.backup is named like a %s target, so %s is "+
		"refused; add one called %s", who, kindOf(a.Name), a.Name, quotedOr(servers))
}

func quotedOr(names []string) string {
	var all []string
	for _, n := range names {
		all = append(all, fmt.Sprintf("%q", n))
	}
	return strings.Join(all, " or ")
}

// excludedBy names the key that keeps upkeep out of a database.
func excludedBy(p config.Postgres, database string) string {
	if slices.Contains(p.Exclude, database) {
		return "exclude"
	}
	return "databases"
}
