#!/bin/sh
# Holdfast
# SPDX-License-Identifier: Apache-2.0
#
# Fuzzes the HTTP/1 codec for so many seconds: run.sh SECONDS. What is found is kept in .build/fuzz and named at the end.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
seconds=${1:?usage: run.sh SECONDS}
out="$here/../.build/fuzz"
mkdir -p "$out/corpus"
"$here/build.sh" "$out/http1"
echo "fuzzing the HTTP/1 codec for $seconds s"
# The input limit is above every limit of the codec; a run that hangs for 10 s or takes 1 GiB is a finding.
if "$out/http1" -dict="$here/http1.dict" -max_len=200000 -len_control=100 -timeout=10 -rss_limit_mb=1024 \
    -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$out/" "$out/corpus" "$here/corpus/http1" \
    > "$out/log" 2>&1
then
    grep -E "stat::number_of_executed_units|stat::average_exec_per_sec|stat::peak_rss_mb" "$out/log"
    # Promise P2: each message of the corpus, and four near it, cut at every offset.
    if HOLDFAST_EVERY_CUT=1 "$out/http1" -runs=0 -timeout=60 -artifact_prefix="$out/" "$out/corpus" "$here/corpus/http1" > "$out/log" 2>&1
    then
        grep "messages cut" "$out/log"
    else
        tail -n 40 "$out/log"
        echo "a message is understood differently where it is cut: see $out"
        exit 1
    fi
else
    tail -n 40 "$out/log"
    echo "the fuzzer found something: see $out"
    exit 1
fi
