# What people and CI run. Each target does its own set-up; `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-judging bench-rollback tools generate clean-cache requirements

# Cached tools live here; the test bed and scripts/ use the same directory.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/astern
TESTBED := cargo run --quiet --package astern-testbed --bin testbed --

help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: tools ## Shows two bad releases being rolled back. KEEP=1 keeps it running, SCENARIO=file, PLAIN=1.
	cargo build --bin astern
	$(TESTBED) demo $(if $(KEEP),--keep) $(if $(SCENARIO),--scenario '$(SCENARIO)') $(if $(PLAIN),--plain)

test: tools ## Runs every test, the pure ones and those on the test bed.
	cargo build --workspace --bins
	cargo test --workspace

check: requirements ## Checks format, lints, documentation, generated files and dependencies.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --document-private-items
	$(TESTBED) tools
	cargo test --workspace --test it --test cluster -- generated
	scripts/cargo-deny.sh check bans licenses sources

bench: tools ## Measures what the node simulator costs with 5,000 idle pods.
	cargo run --release --package astern-testbed --bin simulator-load

bench-judging: tools ## Measures how well, how fast and at what cost it judges: about half an hour.
	cargo bench --bench judging
	cargo build --release --bin astern
	cargo run --release --package astern-testbed --bin bench-cost -- --operator target/release/astern
	cargo run --release --package astern-testbed --bin bench-detection -- --operator target/release/astern
	cargo run --release --package astern-testbed --bin bench-summary

bench-rollback: tools ## Measures how long it takes from the decision to the write, fifty times: about 3 minutes.
	cargo build --workspace --bins
	cargo test --test cluster -- --ignored --nocapture from_decision_to_patch

tools: requirements ## Finds or builds what the test bed runs: about 22 minutes the first time, on 2 cores.
	cargo build --package astern-testbed --bin testbed
	$(TESTBED) tools

generate: tools ## Rewrites crds/, the chart's copies of them, deploy/ and tables in docs/.
	UPDATE=1 cargo test --test it -- generated
	UPDATE=1 cargo test --test cluster -- generated

clean-cache: ## Removes the tools that were built outside this directory.
	rm -rf '$(or $(ASTERN_TESTBED_CACHE),$(CACHE)/testbed)' '$(CACHE)'/cargo-deny-*

requirements:
	@scripts/requirements.sh
