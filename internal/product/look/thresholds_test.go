package look

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
)

// A level is from what value on a finding has a severity; "": no finding.
type level struct {
	from     float64
	beyond   bool // only of more than that
	severity string
}

// A threshold is what a finding depends on.
type threshold struct {
	name, kind string // of the finding
	text       string // with %v for the value
	facts      func(f *Facts, v float64)
	levels     []level
}

const (
	atLeast  = false
	moreThan = true
)

// of is a metric with a value that is to be put in, and others that stay.
func of(metric, labels string, others ...string) string {
	text := metric + `{server="main"`
	if labels != "" {
		text += "," + labels
	}
	return strings.Join(append([]string{text + "} %v"}, others...), "\n")
}

// thresholds are those of all findings whose severity depends on one value.
func thresholds() []threshold {
	const object, index = `database="d",schema="s",table="t"`, `database="d",schema="s",table="t",index="i"`
	same := func(metric, labels string, v float64) string {
		return fmt.Sprintf("%s{server=\"main\",%s} %v", metric, labels, v)
	}
	session := func(of string) string { return `database="d",user="u",application="a",of="` + of + `"` }
	setting := func(name string) string { return `name="` + name + `"` }
	return []threshold{
		{"connections", "postgres/connections", of(pgConnections, ""), nil,
			[]level{{0.8, atLeast, "warning"}, {0.95, atLeast, "critical"}}},
		{"age of transactions, without the setting", "postgres/wraparound", of(pgFreeze, `database="d"`), nil,
			[]level{{1e9, atLeast, "critical"}}},
		{"age of transactions", "postgres/wraparound", of(pgFreeze, `database="d"`, same(pgSetting,
			setting("autovacuum_freeze_max_age"), 2e8)), nil, []level{{3e8, atLeast, "warning"}, {1e9, atLeast,
			"critical"}}},
		{"age of multixacts", "postgres/wraparound", of(pgMultixact, `database="d"`, same(pgSetting,
			setting("autovacuum_multixact_freeze_max_age"), 4e8)), nil,
			[]level{{6e8, atLeast, "warning"}, {1e9, atLeast, "critical"}}},
		{"the age of multixacts has another setting", "postgres/wraparound", of(pgMultixact, `database="d"`,
			same(pgSetting,
				setting("autovacuum_freeze_max_age"), 1)), nil, []level{{1e9, atLeast, "critical"}}},
		{"idle", "postgres/idle_in_transaction", of(pgWorst, session("idle")), nil,
			[]level{{10, atLeast, "info"}, {600, atLeast, "warning"}, {86400, atLeast, "critical"}}},
		{"transaction", "postgres/old_transaction", of(pgWorst, session("transaction")), nil,
			[]level{{300, atLeast, "info"}, {3600, atLeast, "warning"}, {86400, atLeast, "critical"}}},
		{"blocker", "postgres/blocking_session", of(pgWorst, session("blocker")), nil,
			[]level{{5, atLeast, "info"}, {60, atLeast, "warning"}, {86400, atLeast, "critical"}}},
		{"horizon", "postgres/old_horizon", of(pgWorst, session("horizon")), nil,
			[]level{{3600, atLeast, "info"}, {14400, atLeast, "warning"}, {86400, atLeast, "critical"}}},
		{"a slot without a consumer", "postgres/replication_slot", of(pgSlotKept, `slot="x"`, same(pgSlotActive,
			`slot="x"`, 0)), nil, []level{{0, moreThan, "warning"}, {10 << 30, atLeast, "critical"}}},
		{"a slot with one", "postgres/replication_slot", of(pgSlotKept, `slot="x"`, same(pgSlotActive, `slot="x"`, 1)),
			nil,
			[]level{{1 << 30, moreThan, "info"}}},
		{"a standby", "postgres/standby_lag", of(pgStandbyLag, `standby="b",address="h"`), nil,
			[]level{{30, atLeast, "info"}, {300, atLeast, "warning"}, {86400, atLeast, "critical"}}},
		{"as a standby", "postgres/standby_lag", of(pgReplayLag, ""), nil,
			[]level{{30, atLeast, "info"}, {300, atLeast, "warning"}, {86400, atLeast, "critical"}}},
		{"archive", "postgres/archive_failing", of(pgArchive, ""), nil, []level{{0, moreThan, "critical"}}},
		{"checksums", "postgres/checksum_failures", of(pgChecksum, `database="d"`), nil, []level{{0, moreThan,
			"critical"}}},
		{"bloat of a table, by size", "postgres/table_bloat", of(pgTableBloat, object+`,method="estimate"`,
			same(pgTableRatio, object+`,method="estimate"`, 0.6)), nil,
			[]level{{8 << 20, atLeast, "info"}, {1 << 30, moreThan, "warning"}}},
		{"bloat of a table, by share", "postgres/table_bloat", of(pgTableRatio, object+`,method="estimate"`,
			same(pgTableBloat, object+`,method="estimate"`, 2<<30)), nil,
			[]level{{0.4, atLeast, "info"}, {0.5, moreThan, "warning"}}},
		{"bloat of an index, by size", "postgres/index_bloat", of(pgIndexBloat, index+`,method="pgstatindex"`,
			same(pgIndexRatio, index+`,method="pgstatindex"`, 0.6)), nil,
			[]level{{8 << 20, atLeast, "info"}, {16 << 20, moreThan, "warning"}}},
		{"bloat of an index, by share", "postgres/index_bloat", of(pgIndexRatio, index+`,method="estimate"`,
			same(pgIndexBloat, index+`,method="estimate"`, 1<<30)), nil,
			[]level{{0.4, atLeast, "info"}, {0.4, moreThan, "warning"}}},
		{"dead rows, by share", "postgres/dead_rows", of(pgDeadRatio, object, same(pgDeadRows, object, 1e6)), nil,
			[]level{{0.2, moreThan, "warning"}}},
		{"dead rows, by number", "postgres/dead_rows", of(pgDeadRows, object, same(pgDeadRatio, object, 0.9)), nil,
			[]level{{10_000, moreThan, "warning"}}},
		{"changed rows of a small table", "postgres/old_statistics", of(pgChanged, object, same(pgLiveRows, object,
			10)),
			nil, []level{{100_000, moreThan, "warning"}}},
		{"changed rows of a large table", "postgres/old_statistics", of(pgChanged, object, same(pgLiveRows, object,
			1e6)),
			nil, []level{{300_000, moreThan, "warning"}}},
		{"an index that nothing uses", "postgres/unused_index", of(pgUnused, index, same(pgUnusedSince, index, 1),
			same(pgUnmonitored, `database="d"`, 0)), nil, []level{{1 << 20, atLeast, "info"}, {100 << 20, moreThan,
			"warning"}}},
		{"an index that is there twice", "postgres/duplicate_index", of(pgDuplicate, index+
			`,covered_by="j",kind="identical"`), nil, []level{{1 << 20, atLeast, "info"}, {16 << 20, moreThan,
			"warning"}}},
		{"an index that begins as another", "postgres/redundant_index", of(pgDuplicate, index+
			`,covered_by="j",kind="prefix"`), nil, []level{{1 << 20, atLeast, "info"}}},
		{"an invalid index", "postgres/invalid_index", of(pgInvalid, index), nil, []level{{math.Inf(-1), atLeast,
			"warning"}}},
		{"a sequence", "postgres/sequence_near_end", of(pgSequence, `database="d",schema="s",sequence="q"`), nil,
			[]level{{0.8, moreThan, "warning"}, {0.95, atLeast, "critical"}}},
		{"a foreign key", "postgres/foreign_key_without_index", "", func(f *Facts, v float64) {
			f.Postgres.ForeignKeys = []ForeignKey{{Database: "d", Rows: v}}
		}, []level{{10_000, atLeast, "info"}, {1e6, atLeast, "warning"}, {1e12, atLeast, "critical"}}},
		{"a prepared transaction", "postgres/prepared_transaction", "", func(f *Facts, v float64) {
			f.Postgres.Prepared = []Prepared{{Seconds: v}}
		}, []level{{2, atLeast, "info"}, {300, atLeast, "warning"}, {86400, atLeast, "critical"}}},
		{"a statement, by its mean", "postgres/slow_statement", of(pgTime, `database="d",user="u",queryid="1"`,
			same(pgCalls, `database="d",user="u",queryid="1"`, 1), same(pgTime, `database="d",user="u",queryid="2"`,
				1e6)),
			nil, []level{{0.5, atLeast, "info"}, {2, atLeast, "warning"}}},
		{"a statement, by its share", "postgres/slow_statement", of(pgTime, `database="d",user="u",queryid="1"`,
			same(pgCalls, `database="d",user="u",queryid="1"`, 1e6)), nil, []level{{60, atLeast, "info"},
			{500_000, atLeast, "info"}, {2e6, atLeast, "warning"}}},
		{"memory of a Redis", "redis/memory", of(redisUsed, ""), nil,
			[]level{{0.9, atLeast, "warning"}, {0.98, atLeast, "critical"}}},
		{"the limit of a Redis", "redis/no_limit", "", func(f *Facts, v float64) {
			f.Redis = &redis.Usage{Limit: v}
		}, []level{{math.Inf(-1), atLeast, "info"}, {0, moreThan, ""}}},
		{"clients of a Redis", "redis/clients", of(redisClients, ""), nil,
			[]level{{0.9, atLeast, "warning"}, {0.98, atLeast, "critical"}}},
		{"fragmentation, by share", "redis/fragmentation", of(redisFragments, "", redisFragmented+" 200000000"), nil,
			[]level{{1.5, moreThan, "warning"}}},
		{"fragmentation, by size", "redis/fragmentation", of(redisFragmented, "", redisFragments+" 3"), nil,
			[]level{{100 << 20, moreThan, "warning"}}},
		{"what the allocator retains", "redis/retained", of(redisRetained, ""), nil, []level{{256 << 20, moreThan,
			"warning"}}},
		{"the age of a snapshot", "redis/snapshot_old", of(redisAge, "", redisChanges+" 1"), nil,
			[]level{{86400, moreThan, "warning"}}},
		{"changes since a snapshot", "redis/snapshot_old", of(redisChanges, "", redisAge+" 90000"), nil,
			[]level{{0, moreThan, "warning"}}},
		{"images", "docker/reclaimable", of(dockerReclaim, `type="images"`), nil,
			[]level{{1 << 30, atLeast, "info"}, {20 << 30, atLeast, "warning"}, {1e18, atLeast, "critical"}}},
		{"a log", "docker/log_large", of(dockerLog, `container="c"`), nil, []level{{1 << 30, moreThan, "warning"}}},
		{"a log without a limit", "docker/log_without_limit", of(dockerLog, `container="c"`,
			same(dockerRotated, `container="c"`, 0)), nil, []level{{math.Inf(-1), atLeast, "info"}, {1 << 30, moreThan,
			""}}},
		{"restarts", "docker/restarting", of(dockerRestarts, `container="c"`, same(dockerState,
			`container="c",state="running"`, 1), same(dockerStart, `container="c"`, float64(at.Unix()-60))), nil,
			[]level{{3, moreThan, "warning"}}},
		{"a file system", "host/filesystem_full", of(hostUsed, `device="a",mountpoint="/"`), nil,
			[]level{{0.8, moreThan, "warning"}, {0.95, atLeast, "critical"}}},
		{"inodes", "host/inodes_used", of(hostInodes, `device="a",mountpoint="/"`), nil,
			[]level{{0.9, moreThan, "warning"}, {0.98, atLeast, "critical"}}},
		{"security updates", "host/security_updates", of(hostUpdates, `kind="security"`), nil, []level{{0, moreThan,
			"warning"}}},
		{"what fills up, by time", "host/full_soon", "", func(f *Facts, v float64) {
			f.Forecast = []forecast.Row{{Resource: "cpu", Subject: map[string]string{"server": "main"}, Used: 0.9,
				Limit: new(1.0), Likely: new(-v)}}
		}, []level{{-14 * 86400, atLeast, "warning"}, {-2 * 86400, atLeast, "critical"}}},
		{"what fills up, by use", "host/full_soon", "", func(f *Facts, v float64) {
			f.Forecast = []forecast.Row{{Resource: "cpu", Subject: map[string]string{"server": "main"}, Used: v,
				Limit: new(1.0), Likely: new(86400.0)}}
		}, []level{{0.5, atLeast, "critical"}}},
	}
}

// severityAt is the severity that a value has by the levels.
func (t threshold) severityAt(v float64) (severity string) {
	for _, l := range t.levels {
		if v > l.from || v == l.from && !l.beyond {
			severity = l.severity
		}
	}
	return severity
}

// Each finding has its severity from its threshold on: at it, just below and just above, and far from it.
func TestThresholds(t *testing.T) {
	t.Parallel()
	for _, c := range thresholds() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for i, l := range c.levels {
				values := []float64{l.from, math.Nextafter(l.from, math.Inf(-1)), math.Nextafter(l.from, math.Inf(1))}
				switch {
				case math.IsInf(l.from, 0):
					values = []float64{0}
				case l.from == 0: // no metric is less
					values = []float64{0, values[2]}
				}
				if i == len(c.levels)-1 && !math.IsInf(l.from, 0) {
					values = append(values, l.from+2*math.Abs(l.from)+1)
				}
				for _, v := range values {
					c.try(t, v)
				}
			}
		})
	}
}

// try looks at a value, whose finding is to have the severity of the levels.
func (c threshold) try(t *testing.T, v float64) {
	t.Helper()
	kind, _, _ := strings.Cut(c.kind, "/")
	f := Facts{Server: "main", Kind: kind, At: at, Figures: Figures{}}
	if c.text != "" {
		f.Figures = figures(t, fmt.Sprintf(c.text, strconv.FormatFloat(v, 'g', -1, 64)))
	}
	if c.facts != nil {
		c.facts(&f, v)
	}
	got := ""
	for _, x := range f.find(finders(kind)) {
		// The other statement of a table is there to have a share.
		if x.Kind == c.kind && x.Subject["queryid"] != "2" {
			got += x.Severity
		}
	}
	if want := c.severityAt(v); got != want {
		t.Errorf("%v: %q, want %q", v, got, want)
	}
}

// An index that nothing uses is a candidate until a month is over, to the millisecond of its metric.
func TestProvenAfterAMonth(t *testing.T) {
	t.Parallel()
	for age, plans := range map[time.Duration]bool{30*24*time.Hour - time.Second: false, 30 * 24 * time.Hour: true,
		30*24*time.Hour + time.Second: true, 0: false, -time.Hour: false} {
		const index = `server="main",database="d",schema="s",table="t",index="i"`
		f := Facts{Server: "main", Kind: "postgres", At: at, Figures: figures(t, fmt.Sprintf(
			"%s{%s} 2e9\n%s{%s} %d\n%s{server=\"main\",database=\"d\"} 0", pgUnused, index, pgUnusedSince, index,
			at.Add(-age).Unix(), pgUnmonitored))}
		found := f.find(finders("postgres"))
		if len(found) != 1 || (found[0].Plan != nil) != plans || (found[0].Candidate != nil) == plans {
			t.Errorf("%s: %+v", age, found)
		}
	}
}

// A container that runs is called restarted where that was often, and for the last time within the hour.
func TestRestartedLately(t *testing.T) {
	t.Parallel()
	for age, found := range map[time.Duration]bool{0: true, time.Hour - time.Second: true, time.Hour: false,
		48 * time.Hour: false} {
		const c = `server="main",container="c"`
		f := Facts{Server: "main", Kind: "docker", At: at, Figures: figures(t, fmt.Sprintf(
			"%s{%s,state=\"running\"} 1\n%s{%s} 4\n%s{%s} %d", dockerState, c, dockerRestarts, c, dockerStart, c,
			at.Add(-age).Unix()))}
		if got := f.find(finders("docker")); (len(got) == 1) != found {
			t.Errorf("%s: %v", age, lines(got))
		}
	}
}
