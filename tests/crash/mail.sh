#!/usr/bin/env bash
# Purpose: the long crash test: 50 rounds of kill -9 and of SIGTERM over campaigns of 20,000 people, on SQLite and on PostgreSQL, and two
#          services on one PostgreSQL. Prints the figures of each; the last result stands in benches/README.md.
#          tests/crash/mail.sh [ROUNDS] [PEOPLE]
# Never:   starts or touches a service of the machine.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/../.."
export LETTERLAB_CRASH_ROUNDS="${1:-50}" LETTERLAB_CRASH_PEOPLE="${2:-20000}"
exec tests/run crash_mail:: -- --nocapture --test-threads=1
