#!/usr/bin/env bash
# Purpose: what a stranger can send, tried at random: letters, merge tags, tokens, requests, returned mail, a relay's answers.
#            tests/fuzz.sh [SECONDS [TARGET…]]    SECONDS for each target (60; tokens and requests five times as long); all targets without names
# Cast:    targets   fuzz/targets/*.rs, each with the properties it holds;   fuzz/seeds  where it begins;   fuzz/corpus  what it has found
#          worth keeping, this machine's own.
# Never:   installs anything, or goes on after a finding: the input is kept in fuzz/artifacts, and the exit code is not 0.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '== %s\n' "$*"; }
fail() { printf 'tests/fuzz.sh: %s\n' "$*" >&2; exit 1; }

all="token request merge letter comparison message bounce reply"
seconds=${1:-60}
case $seconds in '' | *[!0-9]* | 0) fail "'$seconds' is no number of seconds; usage: tests/fuzz.sh [SECONDS [TARGET…]]" ;; esac
shift $(($# > 0 ? 1 : 0))
for target in "$@"; do [ -f "fuzz/targets/$target.rs" ] || fail "there is no target '$target'; there are: $all"; done

command -v cargo >/dev/null || fail "cargo is missing: install Rust (https://rustup.rs)"
cargo +nightly --version >/dev/null 2>&1 || fail "the nightly compiler is missing (coverage is measured with it): rustup toolchain install nightly --profile minimal"
cargo +nightly fuzz --version >/dev/null 2>&1 || fail "cargo-fuzz is missing: cargo install cargo-fuzz --locked"
command -v c++ >/dev/null || fail "a C++ compiler is missing (libFuzzer is C++): apt-get install --no-install-recommends g++"

# The very versions that are shipped; what this package needs beyond them is added by cargo.
cp Cargo.lock fuzz/Cargo.lock
say "building (without a sanitizer: our code has no unsafe, and panics, time and memory are seen without one)"
cargo +nightly fuzz build --sanitizer none

dictionary() {
  case $1 in
    letter | comparison) echo letter ;;
    bounce | message) echo mail ;;
    merge | request | reply) echo "$1" ;;
  esac
}

# The longest input tried; a letter of any interest needs room, a token does not.
longest() {
  case $1 in
    token) echo 128 ;;
    request | reply | message | merge) echo 2048 ;;
    *) echo 8192 ;;
  esac
}

failed=
for target in ${*:-$all}; do
  limit=$seconds
  case $target in token | request) limit=$((seconds * 5)) ;; esac
  mkdir -p "fuzz/corpus/$target"
  options=(-max_total_time="$limit" -max_len="$(longest "$target")" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0)
  words=$(dictionary "$target")
  if [ -n "$words" ]; then options+=(-dict="fuzz/dictionaries/$words"); fi
  say "$target for $limit s"
  code=0
  cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- "${options[@]}" || code=$?
  if [ "$code" != 0 ]; then
    failed="$failed $target"
    say "FINDING in $target: fuzz/artifacts/$target; make it a unit test beside the code, then repair the code"
  fi
done
[ -z "$failed" ] || fail "findings:$failed"
say "nothing found"
