#!/usr/bin/env bash
# Holdfast
# SPDX-License-Identifier: Apache-2.0
#
# The side-by-side run with HAProxy and nginx: installs what it needs (Debian), then hands over to peers.py.
#   benchmarks/peers.sh                    eight rounds of every row
#   benchmarks/peers.sh --rounds 2 --rows clear,h2
set -euo pipefail
cd "$(dirname "$0")"

packages=(nginx-light haproxy nghttp2-client openssl python3)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    echo "installing ${missing[*]}"
    $sudo apt-get update -q >/dev/null
    $sudo apt-get install -y -q "${missing[@]}" >/dev/null
fi

export HOLDFAST="${HOLDFAST:-$PWD/../.build/release/holdfast}"
[ -x "$HOLDFAST" ] || { echo "$HOLDFAST is missing: make build"; exit 1; }
exec python3 peers.py "$@"
