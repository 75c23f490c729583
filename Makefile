# Countersign: `make help` lists the targets.

GO      ?= go
BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

# A build does not depend on the folder it is made in, so every clone shares the
# compiler's cache.
export GOFLAGS += -trimpath

# Programs are linked statically, so that they run on any Linux. Only the race detector
# needs a C compiler.
export CGO_ENABLED := 0

# The race detector watches every package except these:
#   cmd/countersign, workflows/embedded  link the Temporal server, which takes
#       minutes to compile for the race detector
#   engine/store/mongo                   starts a FerretDB server in the test program,
#       which is ten times slower under the race detector
#   plugins/conformance                  starts plugins through plugins/host, which
#       is watched
#   plugins/formats, engine/anchor, engine/certimport, api/client, api/wire, engine/keys/kms
#       start no goroutine; most of their tests compare output with golden files
UNWATCHED      := cmd/countersign|engine/store/mongo|workflows/embedded|plugins/conformance|plugins/formats/[^/]*|engine/anchor|engine/certimport|api/client|api/wire|engine/keys/kms
PLAIN_PACKAGES  = $(shell $(GO) list ./... | grep -E '/($(UNWATCHED))$$')
# plugins/host comes first, because it takes longest. It mostly waits, so a third
# package runs meanwhile.
RACE_PACKAGES   = $(shell $(GO) list ./plugins/host ./... | grep -vE '/($(UNWATCHED))$$')

# Packages with tests that try far more when COUNTERSIGN_SOAK is 1.
SOAK_PACKAGES   = $(sort $(dir $(shell grep -rl --include='*_test.go' COUNTERSIGN_SOAK cmd engine workflows plugins policies api)))

LINT        := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
WFCHECK     := $(GO) run go.temporal.io/sdk/contrib/tools/workflowcheck@v0.6.0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: run
run: build ## build and serve the sample project on 127.0.0.1:8080
	$(BIN)/countersign dev

# The web UI is built again when its sources or the API's document changed.
WEB_UI      := api/web/dist/ui/index.html
NPM_LOCK    := api/web/node_modules/.package-lock.json
WEB_SOURCES := $(shell find api/web -type f -not -name '*.go' -not -name schema.d.ts -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/e2e/*')

$(WEB_UI): $(NPM_LOCK) $(WEB_SOURCES)
	cd api/web && npm run build

.PHONY: npm-packages
npm-packages: $(NPM_LOCK)
$(NPM_LOCK): api/web/package-lock.json
	$(call need,npm,install Node.js 20 or later from nodejs.org)
	cd api/web && npm ci --no-progress
	@touch $@

# A first build compiles for minutes: what does not hold the web UI is compiled
# while npm downloads and bundles.
.PHONY: build
build: tools-go ## build bin/countersign, its web UI and the format plugins
	@$(MAKE) --no-print-directory -j2 $(WEB_UI) plugins
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/countersign ./cmd/countersign
	$(BIN)/countersign plugin hash --source plugins/catalogue.json --dir $(BIN)/plugins

.PHONY: plugins
plugins:
	@mkdir -p $(BIN)/plugins
	$(GO) build ./engine/... ./policies/... ./workflows/...
	$(GO) build -ldflags '-s -w' -o $(BIN)/plugins/ ./plugins/formats/...

.PHONY: web
web: $(WEB_UI) ## build the web UI alone

# `make lint` vets, so the tests do not. Each part keeps both cores busy, so the
# parts run one after the other: side by side, the browser tests run out of time.
# What crashes of plugins leave behind is seen only without the race detector,
# whose own memory hides it. Tests of whole servers wait more than they compute, so four
# run at once. Tests start Java's keytool dozens of times: with these options it starts in
# half the time.
.PHONY: test
test: export JAVA_TOOL_OPTIONS := -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
test: tools-test build ## run every test; one upgrades from the release before
	CGO_ENABLED=1 $(GO) test -vet=off -race -p 3 -timeout 20m $(RACE_PACKAGES)
	$(GO) test -vet=off -parallel 4 -timeout 20m $(PLAIN_PACKAGES)
	$(GO) test -vet=off -run 'Crashes' ./plugins/host
	cd api/web && npm test

.PHONY: test-web
test-web: build ## run the browser tests alone
	cd api/web && npm test

.PHONY: test-all
test-all: test soak race ## run the tests, their long versions and the race detector on every package

.PHONY: soak
soak: tools-test build ## run the long versions of tests, for hours
	COUNTERSIGN_SOAK=1 $(GO) test -timeout 4h $(addprefix ./,$(SOAK_PACKAGES))
	cd api/web && COUNTERSIGN_SOAK=1 npm test

.PHONY: screenshots
screenshots: build ## take the pictures of README.md from the running product
	cd api/web && npm run screenshots

.PHONY: race
race: tools-test build ## run the Go tests of every package under the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 60m ./...

.PHONY: e2e
e2e: tools-test build ## run the end-to-end tests alone
	$(GO) test -timeout 25m -v ./cmd/countersign

# The whole run upgrades nodes one after the other from the release before, which the
# upgrade test of `make test` has built into bin/, and restores a backup on other machines.
# The servers of the cluster tests are built from go.mod's versions. PostgreSQL's
# programs may be outside PATH, so the tests look for them.
.PHONY: test-cluster
test-cluster: tools-go build ## run several nodes on real engines, upgrade and restore them; with SHORT=1 a part, with COUNTERSIGN_SOAK=1 for hours
	$(call need,haproxy,install it (Debian: apt-get install haproxy); nodes are restarted behind it)
	$(GO) build -o $(BIN)/cluster/temporal-server go.temporal.io/server/cmd/server
	$(GO) build -o $(BIN)/cluster/temporal-sql-tool go.temporal.io/server/cmd/tools/sql
	$(GO) test -vet=off -tags cluster -count 1 -timeout $(if $(COUNTERSIGN_SOAK),4h,30m) -v -run TestCluster $(if $(SHORT),-short) ./cmd/countersign

# Vault is no dependency of the product: its module is built on its own, for the test alone,
# with the version of its SDK that the code was written for. The sums of its plugins are not all in the
# checksum database.
VAULT := github.com/hashicorp/vault
$(BIN)/vault: cmd/countersign/testdata/vault/main.go
	@mkdir -p $(BIN)/vault-module && cp $< $(BIN)/vault-module/
	cd $(BIN)/vault-module && printf 'module vault\n\ngo 1.25\n\nreplace $(VAULT)/sdk => $(VAULT)/sdk v0.18.0\n' > go.mod && \
		export GONOSUMDB='github.com/hashicorp/*' && $(GO) get $(VAULT)@v1.19.5 && $(GO) build -o ../vault .

.PHONY: test-keepers
test-keepers: build $(BIN)/vault ## lose a real Vault and get it back; with COUNTERSIGN_SOAK=1 for an hour
	$(GO) test -vet=off -tags keepers -count 1 -timeout 90m -v -run TestTheKeeperIsLost ./cmd/countersign

.PHONY: lint
lint: tools-go ## run the linters and check that workflows are deterministic
	$(LINT) run ./...
	$(WFCHECK) ./workflows

.PHONY: replay
replay: tools-go ## replay the recorded workflow histories against this code
	$(GO) test -run Replay -v ./workflows

.PHONY: bench
bench: build ## measure; ratios are printed and written to bench-results/
	@mkdir -p bench-results
	$(GO) test -tags bench -count 1 -timeout 60m -run TestBench -v ./cmd/countersign -args -out $(CURDIR)/bench-results/latest.json
	cd api/web && npm run bench

# The coverage of signatures differs from run to run, so Go would spend all its time
# making inputs smaller that it takes for new.
FUZZ := $(GO) test -run '^$$' -fuzztime 30s -fuzzminimizetime 1x -fuzz

.PHONY: fuzz
fuzz: tools-go ## fuzz the certificate import and the framing of requests, 30 s a target
	$(FUZZ) FuzzPEM ./engine/certimport
	$(FUZZ) FuzzPKCS12 ./engine/certimport
	$(FUZZ) FuzzParse ./engine/certparse
	$(FUZZ) FuzzRead ./engine/ber
	$(FUZZ) FuzzPieces ./api/http1

.PHONY: proto
proto: tools-go ## generate the plugin protocol's Go code
	$(GO) generate ./plugins/sdk

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN) $(DIST) bench-results

include deploy/dist.mk

# need names a tool that is missing and where to get it.
need = @command -v $(1) >/dev/null 2>&1 || { echo "countersign: $(1) is missing: $(2)" >&2; exit 1; }

.PHONY: tools-go tools-test
tools-go:
	$(call need,$(GO),install Go 1.26 or later from go.dev)

tools-test: tools-go
	$(call need,gcc,install it (Debian: apt-get install gcc); the race detector needs a C compiler)
	$(call need,curl,install it (Debian: apt-get install curl); tests paste the documented commands)
	$(call need,openssl,install it (Debian: apt-get install openssl); tests open every file with it)
	$(call need,python3,install it (Debian: apt-get install python3); tests unpack archives with it)
	$(call need,chromium,install it (Debian: apt-get install chromium); tests use the web UI with it)
	$(call need,keytool,install a Java runtime (Debian: apt-get install default-jre-headless); tests list keystores with it)
