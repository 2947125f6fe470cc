#!/usr/bin/env bash
# Purpose: the crash stories of tests/it/crash.rs for many rounds: the server killed at random moments under load, its database there and
#          away, its disk full.
#          tests/crash/hits.sh [ROUNDS] [SEED]        (100 unless told; a new seed every time, which is printed)
# Cast:    tests/run (throw-away PostgreSQL and everything else).
# Never:   weakens what the short story asserts: acknowledged hits without a row 0, rows nobody asked for 0, wrong redirects 0.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/../.."
export LETTERLAB_CRASH_ROUNDS=${1:-100} LETTERLAB_CRASH_SEED=${2:-$RANDOM}
exec tests/run crash:: -- --nocapture
