#!/usr/bin/env bash
# Purpose: the crash story of tests/it/crash.rs for many rounds: the server killed under load, its database there and away.
#          tests/crash/hits.sh [ROUNDS]        (100 unless told)
# Cast:    tests/run (throw-away PostgreSQL and everything else).
# Never:   weakens what the short story asserts: acknowledged hits without a row 0, rows nobody asked for 0, wrong redirects 0.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/../.."
export LETTERLAB_CRASH_ROUNDS=${1:-100}
exec tests/run crash:: -- --nocapture
