#!/bin/sh
# Runs what takes long, one after the other, and prints a line of docs/evidence.md for
# each: what, the command, the seeds, how many, how long, the commit, the result.
# Arguments choose some of them; none: all.
set -u
cd "$(dirname "$0")/.." || exit 1
go=${GO:-go}
commit=$(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo -dirty)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0
chosen=" $* "

# soak NAME SEEDS COUNT COMMAND...
soak() {
	name=$1 seeds=$2 count=$3
	shift 3
	case "$chosen" in
	"  " | *" $name "*) ;;
	*) return ;;
	esac
	echo "== $name: $*"
	began=$(date +%s)
	if "$@" >"$out/$name" 2>&1; then result=passed; else
		result=FAILED
		failed=1
	fi
	took=$(($(date +%s) - began))
	# What a run prints for people: figures, and where it failed.
	grep -E '^ +[a-z0-9_]+_test\.go:[0-9]+:|^ {8}|^--- |^ +--- FAIL|^(ok|FAIL|panic)' "$out/$name" | tail -n 200
	printf '| %s | %s | `%s` | %s | %s | %d min %02d s | %s | %s |\n' "$(date -u +%F)" "$name" "$*" "$seeds" "$count" $((took / 60)) $((took % 60)) "$commit" "$result" | tee -a "$out/lines"
}


soak storm "1 to 500" 500 "$go" test -count 1 -v -timeout 24h -run 'TestStorm$' ./remediate/actions/postgres/rows -storm.seeds=500 -storm.all
soak kills "" 1000 "$go" test -count 1 -v -timeout 24h -run UnderLoad ./cmd/upkeep -kills 1000
soak moments "" 50 "$go" test -count 1 -v -timeout 1h -run 'TestKilledFiftyTimes$' ./cmd/upkeep -moments 50
soak archive-kills "" 100 "$go" test -count 1 -v -timeout 24h -run 'TestArchiveKilled$' ./remediate/actions/postgres -kills 100
soak log-writer "" "8 cuts" "$go" test -count 1 -v -timeout 1h -run 'TestPruneLogsUnderWriter$' ./remediate/actions/docker -talker.pause 2ms
soak log-flood "" "600,000 lines of each of 4 services" "$go" test -count 1 -v -timeout 1h -run 'TestFlood$' ./collectors/logs -flood.lines 600000 -flood.rude
soak log-histories "1 to 20000" 20000 "$go" test -count 1 -v -timeout 2h -run 'TestHistories$' ./collectors/logs/follow -histories 20000
soak store-kills "" 100 "$go" test -count 1 -v -timeout 24h -run 'TestFolderKilled|TestBucketKilled' ./remediate/actions/postgres -filekills 100
soak present-rules "" "all cells" "$go" test -count 1 -v -timeout 40m -run TestPresentRules ./cmd/upkeep -soakrules
soak sim "1 to 100000" 100000 "$go" test -count 1 -v -timeout 24h -run TestSimulation ./remediate/engine -seeds 100000 -seed 1
soak alerts "" "10,000 alerts on 500 targets" "$go" test -count 1 -v -timeout 1h -run 'TestThousandsOfAlerts$' ./remediate/engine -damaged 20
soak outages "1" 300 "$go" test -count 1 -v -timeout 2h -run 'TestOutages$' ./cmd/upkeep -outages 300 -outages.seed 1 -outages.longest 60s
soak together "" 100 "$go" test -count 1 -v -timeout 2h -run 'TestKilledWithItsTarget$' ./cmd/upkeep -together 100
soak action-moments "" "40 of each action" env UPKEEP_ACTIONTEST_MOMENTS=40 "$go" test -count 1 -v -timeout 24h ./remediate/actions/...
soak unused "" "all cases of all versions" "$go" test -count 1 -v -timeout 1h -run 'TestUnusedIsProven$' ./remediate/actions/postgres -unused.all
soak flood "" "1,000,000 alerts" "$go" test -count 1 -v -timeout 12h -run 'TestAttackFlood' ./cmd/upkeep -flood 1000000
soak panels "" "every panel, value, range and scrape interval" "$go" test -count 1 -v -timeout 3h -run 'TestEveryPanelHasData$' ./internal/dev/gen/dashboards -panels.all
soak views "" "every page, width and scheme" "$go" test -count 1 -v -timeout 1h -run 'TestViews$' ./internal/product/console -views.all
soak release "" "amd64 and arm64, twice, without a cache" "$go" test -count 1 -v -timeout 2h ./internal/dev/release -archs.all
soak tour "" "the whole stack, until its alerts are resolved" "$go" test -count 1 -v -timeout 1h -run 'TestTour$' ./internal/dev/release -tour.whole
soak mutants "" all "$go" run ./internal/dev/gen/mutants

echo
echo "Lines of docs/evidence.md:"
cat "$out/lines" 2>/dev/null
exit $failed
