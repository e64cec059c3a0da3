# Everything is here; "make help" says what. ARGS goes to the command that is run:
#   make demo ARGS=--once

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS  = -s -w -X main.version=$(VERSION)
# MessagePack is not used; without this tag gin includes it.
TAGS     = nomsgpack
BEFORE  ?= HEAD^

# A folder in memory keeps nothing, and is refused as an archive: the tests have theirs
# on a disk.
ifeq ($(shell stat -f -c %T $${TMPDIR:-/tmp}),tmpfs)
export TMPDIR = /var/tmp
endif

.DEFAULT_GOAL := help
.PHONY: help
help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: deps-demo build ## see the whole loop on private servers; ARGS=--once ends by itself
	@bin/upkeep demo $(ARGS)

# The packages that take longest begin first, so that none is left to run alone at the
# end; four at a time with four tests each, since tests also wait. They are built as "make build" does,
# with paths that are the same in every checkout, so that what was built once is found.
LONGEST = internal/dev/release remediate/actions/postgres remediate/actions/postgres/rows cmd/upkeep remediate/actions/docker remediate/actions/redis internal/product/rights collectors/postgres remediate/engine remediate/actions internal/product/app

.PHONY: test
test: deps-test ## run every test; ARGS=-race and the like go to go test
	$(GO) run ./internal/dev/gen/slowest $(GO) test -json -trimpath -tags $(TAGS) -p 4 -parallel 4 -timeout 60m $(ARGS) $(LONGEST:%=./%) ./...

.PHONY: check
check: deps-test ## what must hold before a change goes in: generated files, lint, tests, nothing written
	@before=$$(git diff | sha256sum); \
	$(MAKE) --no-print-directory generate lint test || exit 1; \
	test "$$before" = "$$(git diff | sha256sum)" || { git diff --stat; echo "check: what is generated was old and is new now; commit it" >&2; exit 1; }

.PHONY: build
build: ## build bin/upkeep
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/upkeep ./cmd/upkeep

.PHONY: before
before: ## build bin/upkeep-before of another commit, for make bench to measure beside; BEFORE=HEAD^
	@mkdir -p bin; dir=$$(mktemp -d); trap 'git worktree remove --force "$$dir/tree"; rmdir "$$dir"' EXIT; \
	git worktree add --quiet --detach "$$dir/tree" '$(BEFORE)' && $(MAKE) --no-print-directory -C "$$dir/tree" build && cp "$$dir/tree/bin/upkeep" bin/upkeep-before

.PHONY: generate
generate: ## write catalogs, reference pages, dashboards and the example configuration
	$(GO) run ./internal/dev/gen/units
	$(GO) run ./internal/dev/gen/dashboards
	$(GO) run ./internal/dev/gen/docs
	$(GO) test ./cmd/upkeep -run TestReference -update >/dev/null
	$(GO) test ./internal/product/app -run TestRoutes -update >/dev/null

.PHONY: pictures
pictures: deps-test ## take the pictures of the console in docs/pictures, with the test that clicks it
	@mkdir -p docs/pictures
	$(GO) test -count 1 -run TestConsoleClicked ./cmd/upkeep -pictures $(CURDIR)/docs/pictures
	@chmod 644 docs/pictures/*.png

.PHONY: lint
lint: ## gofmt, vet, golangci-lint
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt: $$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod golangci-lint run

.PHONY: bench
bench: deps-test build before ## measure speed, memory and size, beside their limits, peers and another commit; BEFORE=HEAD^
	$(GO) test -run '^$$' -bench . -benchtime 1s ./collectors/scrape ./internal/platform/store ./remediate/engine
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./alerts ./internal/product/embedded ./internal/product/report ./internal/product/console ./collectors/logs ./remediate/webhook ./remediate/actions/postgres ./remediate/actions/redis ./cmd/upkeep

.PHONY: kills
kills: deps-test ## kill upkeep under load, and freeze replicas of it; KILLS=1000
	$(GO) test -count 1 -v -timeout 2h -run UnderLoad ./cmd/upkeep -kills $(or $(KILLS),1000)

.PHONY: sim
sim: ## run simulated histories of the engine; SEEDS=1000000, SEED=1 for the first
	$(GO) test -count 1 -v -timeout 24h -run TestSimulation ./remediate/engine -seeds $(or $(SEEDS),100000) -seed $(or $(SEED),1)

.PHONY: storm
storm: deps-test ## run DDL and DML beside the actions, and compare with a model; SEEDS=500, SEED=1 for the first, VERSION=15
	$(GO) test -count 1 -v -timeout 12h -run 'TestStorm$$' ./remediate/actions/postgres/rows -storm.seeds=$(or $(SEEDS),500) -storm.first=$(or $(SEED),1) -storm.version=$(VERSION) $(if $(VERSION)$(SEEDS),,-storm.all)

.PHONY: mutants
mutants: deps-test ## take one protection after the other out of a copy, and see that a test misses it; MUTANTS="contract …"
	$(GO) run ./internal/dev/gen/mutants $(MUTANTS)

.PHONY: attack
attack: deps-test ## attack a running upkeep: proxies, Chromium, roles, queries, connections, other users, floods; ATTACK=5000 FLOOD=100000
	$(GO) test -count 1 -v -timeout 1h -run 'TestAttack|TestLoginPage|TestTerminalObeysNoName' ./cmd/upkeep -attack $(or $(ATTACK),5000) -flood $(or $(FLOOD),100000)
	$(GO) test -count 1 -run 'Stranger|FoldersOwner|TestNPM|TestLogThatIsNone|TestLogOutsideOfRoot|ObeysNoName|ObeyNoName|TestBelieved|TestAlertIsAHint|Private|TestSecret|TestFolder|TestIn$$|TestOpenFolderIsRefused|TestBadLinks|TestLinkOfAnotherPlan|TestForgedSession|TestOnce|TestGuessing|TestPasswords|TestBudget|TestMatrix|TestRoles|TestDockerTLS|TestGrafanaSignature|TestEnvironment|TestWholeGroupEnds|TestFilesOfOthers|TestOurs|TestKnownBrowser|TestAnswersOfManyParts|TestRedirects|TestNumberOfSilences|TestRunbooksOfDeliveries|TestFaultsOnTheLoginPage|TestPlaces|TestHalfAForm|TestTwoLengths' ./collectors/packages ./collectors/logs ./remediate ./remediate/notify ./remediate/policy ./remediate/webhook ./internal/platform/... ./internal/product/app ./internal/product/check ./internal/product/config ./internal/product/console ./internal/product/embedded

.PHONY: soak
soak: deps-test ## run everything that takes long, and print what belongs in docs/evidence.md; SOAKS="storm kills …"
	@GO="$(GO)" tools/soak.sh $(SOAKS)

.PHONY: fuzz
fuzz: ## fuzz what reads foreign input, a while each; FUZZTIME=1m
	$(GO) test -run '^$$' -fuzz FuzzSet -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 1s ./collectors
	$(GO) test -run '^$$' -fuzz FuzzLine -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 1s ./collectors/logs
	$(GO) test -run '^$$' -fuzz FuzzWithoutLiterals -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 1s ./collectors/postgres/statement
	$(GO) test -run '^$$' -fuzz FuzzParse -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 1s ./internal/product/config
	$(GO) test -run '^$$' -fuzz FuzzMatchers -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 1s ./remediate/policy
	$(GO) test -run '^$$' -fuzz FuzzParams -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 1s ./remediate/policy
	$(GO) test -run '^$$' -fuzz FuzzWebhook -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 1s ./remediate/webhook
	$(GO) test -run '^$$' -fuzz FuzzParseCron -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 1s ./remediate/schedule

.PHONY: cover
cover: deps-test ## show what the tests reach
	$(GO) test -coverpkg=./... -coverprofile=bin/cover.out ./...
	$(GO) tool cover -func=bin/cover.out | tail -1

.PHONY: up
up: build ## start the whole stack in Docker, with Grafana on http://127.0.0.1:3000
	mkdir -p bin/tour
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/tour/tour ./internal/testbed/tour
	cp tools/compose/Dockerfile bin/tour/
	tools/release/image.sh bin/upkeep bin/image
	DOCKER_DATA=$$(docker info --format '{{.DockerRootDir}}') && export DOCKER_DATA && tools/compose/secrets.sh && \
	docker compose up --build --detach --wait

.PHONY: down
down: ## stop it again; its data stays
	docker compose down

.PHONY: release
release: ## build what is released into dist/, for Linux on amd64 and arm64: programs, archives, Debian packages, bills of materials
	@GO="$(GO)" VERSION="$(VERSION)" tools/release/release.sh dist

.PHONY: image
image: ## build the image upkeep for the Docker engine here, from the program in dist/ (make release)
	tools/release/image.sh dist/upkeep-linux-$(shell $(GO) env GOARCH) bin/image upkeep:$(VERSION)

.PHONY: deps-demo deps-test
deps-demo: ## install the missing dependencies of the demo
	@tools/install-deps.sh demo
deps-test: ## install the missing dependencies of the tests
	@tools/install-deps.sh test

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist $${TMPDIR:-/tmp}/upkeep-clusters-$$(id -u)
