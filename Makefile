# Holdfast
# SPDX-License-Identifier: Apache-2.0
#
# make setup   install what a build, a run and the tests need (Debian 12; asks for root through sudo where needed)
# make build   release build of the command line
# make run     build it and start the demo: a local CA, three services, the gateway before them over TLS
# make test    all tests: units and simulations, then the real binary end to end; each invariant has one of its name
# make check   format lint, warnings as errors, import check, tests
# make stress  the guard under 8 threads, 10^7 operations, and 10^6 interleavings of the bulkhead's seam; again with TSan
# make cache   a million generated exchanges at the cache, against a model of what RFC 9111 forbids
# make fuzz    libFuzzer on the HTTP/1 parser (FUZZ_SECONDS=600)
# make bench   micro-benchmarks, and the side-by-side run with HAProxy and nginx

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

HOLDFAST := .build/release/holdfast
FUZZ_SECONDS ?= 600
# Exclusivity is proven by the debug build's tests; the release build saves the bookkeeping. Bounds and overflow checks stay.
RELEASE := -c release -Xswiftc -enforce-exclusivity=unchecked
FORMATTED := Package.swift Sources Tests Fuzz benchmarks/Package.swift benchmarks/Benchmarks
IMPORTS := --explicit-target-dependency-import-check error

APT := libssl-dev libnghttp2-dev libc-ares-dev libhiredis-dev zlib1g-dev libbrotli-dev libzstd-dev pkg-config curl openssl hey \
  nghttp2-client nghttp2-server redis-server brotli zstd python3-h2 python3-httpx python3-grpcio python3-dnslib python3-jwt \
  python3-cryptography
MISSING = $(shell for p in $(APT); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done)

.PHONY: setup build run test unit e2e check lint format imports stress cache fuzz bench schema clean

setup:
	@missing="$(MISSING)"; if [ -n "$$missing" ]; then \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo="sudo"; \
	  echo "installing $$missing"; $$sudo apt-get update -q >/dev/null && $$sudo apt-get install -y -q $$missing >/dev/null; fi
	@command -v swift >/dev/null || { echo "Swift 6.3 is missing: see https://www.swift.org/install"; exit 1; }

build: setup
	swift build $(RELEASE) --product holdfast

run: build
	$(HOLDFAST) demo

unit: setup
	swift test --skip EndToEndTests

e2e: build
	HOLDFAST=$(abspath $(HOLDFAST)) swift test --filter EndToEndTests

test: build
	python3 Tests/invariants.py
	Fuzz/run.sh 60
	swift build $(RELEASE) --product resilience-stress
	.build/release/resilience-stress --operations 100000 --interleavings 100000
	HOLDFAST=$(abspath $(HOLDFAST)) swift test

lint:
	swift format lint --strict --recursive --parallel $(FORMATTED)

format:
	swift format format --in-place --recursive --parallel $(FORMATTED)

# The flag exits 1 on an undeclared import although its last line says "Build complete!", so the exit status counts; it
# misses what is reachable transitively, which Tests/imports.py compares with the manifest.
imports: setup
	swift build $(IMPORTS)
	python3 Tests/imports.py

check: lint imports test

# A build folder of its own: the sanitizer's objects are of no use to others. A tenth of the operations, since it is slow.
STRESS_TSAN := .build/stress-tsan
stress: setup
	swift build $(RELEASE) --product resilience-stress
	.build/release/resilience-stress
	swift build -c release --product resilience-stress --sanitize thread --scratch-path $(STRESS_TSAN)
	TSAN_OPTIONS=halt_on_error=1 $(STRESS_TSAN)/release/resilience-stress --operations 1000000 --interleavings 10000

# Tier N of promise P26; `make test` runs 10^4.
cache: setup
	HOLDFAST_CACHE_EXCHANGES=1000000 swift test --filter CrossingTests

fuzz: setup
	Fuzz/run.sh $(FUZZ_SECONDS)

bench: build
	cd benchmarks && swift package --allow-writing-to-package-directory benchmark
	benchmarks/peers.sh

schema: build
	$(HOLDFAST) schema > config/schema.json

clean:
	rm -rf .build
