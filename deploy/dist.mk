# What installs Countersign. `make release` makes everything that a release has, into
# dist/; each part has a target of its own. INSTALL.md tells users what to do with it.
#
# Two builds of one commit by one version of Go and of npm's packages give the same bytes:
# all times are the commit's, and owners, modes and the order of files are fixed.

# The architecture of what is made. It is not named GOARCH, because make would hand that
# to the tools that run here.
ARCH    ?= amd64
DIST    := dist
EPOCH   := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
NAME     = countersign_$(VERSION)_linux_$(ARCH)
STAGE    = $(DIST)/stage/$(NAME)
ARCHIVE  = $(DIST)/$(NAME).tar.gz

# A Debian version begins with a digit, and grows with time: ~rc sorts before the release,
# and a commit that no version is in gets its date.
DEB_VERSION ?= $(shell echo '$(VERSION)' | sed -E -e '/^v?[0-9]+\.[0-9]/!s/.*/0.0.0+git$(EPOCH).&/' \
	-e 's/^v//' -e 's/-(alpha|beta|rc)/~\1/' -e 's/-([0-9]+)-g/+\1.g/' -e 's/[^A-Za-z0-9.+~]/./g')
DEB      = $(DIST)/countersign_$(DEB_VERSION)_$(ARCH).deb
IMAGE    = $(DIST)/$(NAME).oci.tar

export SOURCE_DATE_EPOCH := $(EPOCH)

CYCLONEDX := $(GO) run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

# The folder that the archive has, from which the other parts are made too. A program of
# this machine's architecture writes the catalogue, the man pages and the completions.
.PHONY: stage
stage: build
	rm -rf $(STAGE)
	mkdir -p $(STAGE)/plugins $(STAGE)/completion
	GOOS=linux GOARCH=$(ARCH) $(GO) build -ldflags '$(LDFLAGS)' -o $(STAGE)/countersign ./cmd/countersign
	GOOS=linux GOARCH=$(ARCH) $(GO) build -ldflags '-s -w' -o $(STAGE)/plugins/ ./plugins/formats/...
	$(BIN)/countersign plugin hash --source plugins/catalogue.json --dir $(STAGE)/plugins
	$(BIN)/countersign man $(STAGE)/man
	gzip -9n $(STAGE)/man/*.1
	for shell in bash zsh fish; do $(BIN)/countersign completion $$shell > $(STAGE)/completion/countersign.$$shell || exit 1; done
	cp LICENSE deploy/INSTALL.md deploy/README.md deploy/CLUSTER.md deploy/RUNBOOKS.md deploy/countersign.yaml deploy/countersign.service $(STAGE)/
	chmod -R u=rwX,go=rX $(STAGE)
	find $(STAGE) -exec touch -hd @$(EPOCH) {} +

.PHONY: dist
dist: stage ## make dist/countersign_VERSION_linux_ARCH.tar.gz, for ARCH=amd64 or arm64
	tar --format=gnu --sort=name --owner=0 --group=0 --numeric-owner -C $(DIST)/stage -c $(NAME) | gzip -9n > $(ARCHIVE)

.PHONY: deb
deb: stage ## make the Debian package
	$(MAKE) --no-print-directory deb-staged

# The package of what is staged already.
.PHONY: deb-staged
deb-staged:
	$(call need,dpkg-deb,install it (Debian: apt-get install dpkg))
	deploy/debian/build $(STAGE) $(ARCH) '$(DEB_VERSION)' '$(DEB)'

.PHONY: image
image: stage ## make the container image, as an OCI layout in a tar file
	$(GO) -C deploy run ./image -from $(abspath $(STAGE)) -arch $(ARCH) -version '$(VERSION)' -commit "$$(git rev-parse HEAD)" -out $(abspath $(IMAGE))

# The plain manifests are the chart's, with the values beside them.
.PHONY: manifests
manifests: ## render deploy/kubernetes from the Helm chart
	$(GO) -C deploy run ./manifests

# What else belongs to a release: a list of the modules that the server has, which is read
# from the program itself, and a statement of how everything was made. BUILDER is the URI
# of who builds. With KEY, a file with a private key, the sums are signed.
BUILDER ?= https://github.com/countersign-dev/countersign/blob/main/deploy/dist.mk\#local
SBOM     = $(DIST)/$(NAME).cdx.json
PROOF    = $(DIST)/$(NAME).provenance.json

.PHONY: release
release: clean-tree ## make everything that a release has, for ARCH, with sums, in dist/
	rm -rf $(DIST)
	$(MAKE) --no-print-directory dist deb image
	$(CYCLONEDX) bin -json -noserial -notimestamp -std -version '$(VERSION)' -output $(SBOM) $(STAGE)/countersign
	$(GO) -C deploy run ./provenance -builder '$(BUILDER)' -commit "$$(git rev-parse HEAD)" -version '$(VERSION)' -arch $(ARCH) \
		$(abspath $(ARCHIVE) $(DEB) $(IMAGE) $(SBOM)) > $(PROOF)
	cd $(DIST) && sha256sum *.tar.gz *.deb *.oci.tar *.json > SHA256SUMS
	$(if $(KEY),openssl pkeyutl -sign -rawin -inkey '$(KEY)' -in $(DIST)/SHA256SUMS -out $(DIST)/SHA256SUMS.sig)

# What is not committed would be in the release, and in no commit that it names.
.PHONY: clean-tree
clean-tree:
	@test -z "$$(git status --porcelain)" || { echo "countersign: commit or remove these first, because a release names a commit:" >&2; git status --short >&2; exit 1; }

.PHONY: lint-ops
lint-ops: tools-go ## run the linters on the module of deploy/
	cd deploy && $(LINT) run ./...

# The tests of what is made: they install it, start it, and remove it. Root's tests need
# Linux with overlayfs.
.PHONY: test-ops
test-ops: image deb dist ## test what installs, upgrades and restores Countersign; with SHORT=1 without the builds that are repeated
	$(call need,dpkg,install it: the test installs the package into a copy of this system)
	$(call need,promtool,install it (Debian: apt-get install prometheus); tests fire the alerts with it)
	$(call need,systemd-analyze,install it (Debian: apt-get install systemd); tests check the unit with it)
	cd deploy && COUNTERSIGN_STAGE=$(abspath $(STAGE)) COUNTERSIGN_ARCHIVE=$(abspath $(ARCHIVE)) COUNTERSIGN_DEB=$(abspath $(DEB)) COUNTERSIGN_IMAGE=$(abspath $(IMAGE)) \
		$(GO) test -count 1 -timeout 20m $(if $(SHORT),-short) ./...
	$(GO) test -vet=off -count 1 -timeout 20m -run '^(TestUpgradeAndBack|TestABackupIsRestoredOnAnotherMachine)$$' ./cmd/countersign
