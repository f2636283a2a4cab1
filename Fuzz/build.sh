#!/bin/sh
# Holdfast
# SPDX-License-Identifier: Apache-2.0
#
# Builds the fuzzer of the HTTP/1 codec: build.sh OUTPUT
#
# Core, what HTTP has beside HTTP/2, and the fuzzer become one module, so that no C library is needed. Imports of Core therefore
# go; everything else is compiled as it stands, optimised, with the checks of a release build and the address sanitizer.
#
#     Fuzz/build.sh .build/fuzz-http1
#     .build/fuzz-http1 -dict=Fuzz/http1.dict -max_total_time=60 .build/fuzz-corpus Fuzz/corpus/http1
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
output=${1:?usage: build.sh OUTPUT}
mkdir -p "$(dirname -- "$output")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for file in "$here"/../Sources/Core/*.swift "$here"/../Sources/HTTP/*.swift "$here"/../Sources/HTTP/HTTP1/*.swift "$here"/*.swift; do
    sed -E '/^((package|public|internal|@testable) )?import (Core|HTTP)$/d' "$file" > "$work/$(basename "$file")"
done

swiftc -O -sanitize=fuzzer,address -parse-as-library -swift-version 6 -package-name holdfast -module-name Fuzz \
    -enable-experimental-feature Lifetimes -enable-upcoming-feature InternalImportsByDefault \
    -enable-upcoming-feature MemberImportVisibility -enable-upcoming-feature ExistentialAny \
    -enable-upcoming-feature NonisolatedNonsendingByDefault -use-ld=lld -o "$output" "$work"/*.swift
