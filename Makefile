# Thin: every target is a line or two. Needs Debian 12 or newer on x86-64; `make doctor` says what is missing.
SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cytoplane/target
CYTO := $(CARGO_TARGET_DIR)/debug/cyto
NEEDED := gcc g++ make cmake perl pkg-config mvn java python3
PACKAGES := gcc g++ make cmake perl pkg-config maven openjdk-17-jre-headless python3-venv

.PHONY: run demo test bench lint doctor clean build tools
run: build ; $(CYTO) up --demo
demo: build ; $(CYTO) demo
test: build ; $(CYTO) up --only parts && cargo test --workspace
bench: tools ; cargo build --release --workspace --bins && cargo run --release -p loadtest -- bench
lint: tools ; cargo fmt --all --check && cargo clippy --workspace --all-targets -- -D warnings
doctor: build ; $(CYTO) doctor --fix
clean: ; -$(CYTO) down --purge ; cargo clean
build: tools ; cargo build --workspace --bins
tools:
	@missing=$$(for t in $(NEEDED); do command -v $$t >/dev/null || echo $$t; done); [ -z "$$missing" ] || { [ $$(id -u) = 0 ] && apt-get update -q && apt-get install -qy --no-install-recommends $(PACKAGES); } || { echo "missing: $$missing; run: apt-get install -y $(PACKAGES)" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "missing: cargo; install Rust 1.95 or newer: https://rustup.rs" >&2; exit 1; }
