#!/usr/bin/env bash
# Purpose: how long `letterlab serve` takes from its start to being ready, and what it holds in memory when it has nothing to do, over
#          empty databases.
#          benches/load/start.sh [ROUNDS]
# Cast:    one (an installation of its own: started, timed until /readyz says yes, left alone, looked at, ended).
# Never:   leaves loopback, or touches a service of the machine.
# Needs:   python3 from Debian; cargo build --profile production first. LETTERLAB_BINARY names another binary.
#          LETTERLAB_POSTGRES (a URL without database name, of a role that may create databases) also measures on PostgreSQL; needs createdb.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/../.."
rounds=${1:-5}
binary=${LETTERLAB_BINARY:-$PWD/target/production/letterlab}
[ -x "$binary" ] || { echo "missing: $binary (see the head of this file)" >&2; exit 1; }
scratch=$(mktemp -d /tmp/letterlab-start.XXXXXX)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$scratch"' EXIT

one() { # what, vault, ledger, folder
  mkdir -p "$scratch/$4"
  (cd "$scratch/$4" && exec python3 - "$binary" "$1" "$2" "$3") <<'PY'
import http.client, pathlib, socket, subprocess, sys, time
binary, what, vault, ledger = sys.argv[1:]
free = socket.socket(); free.bind(("127.0.0.1", 0)); port = free.getsockname()[1]; free.close()
pathlib.Path("letterlab.toml").write_text(f'[web]\nlisten = "127.0.0.1:{port}"\nbase_url = "http://127.0.0.1:{port}"\n[database]\nvault = "{vault}"\nledger = "{ledger}"\n[log]\nfilter = "error"\n')
began = time.monotonic()
server = subprocess.Popen([binary, "serve"], stdout=subprocess.DEVNULL)
try:
    while True:
        try:
            asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            asked.request("GET", "/readyz")
            if asked.getresponse().status == 200: break
        except OSError:
            pass
        if server.poll() is not None or time.monotonic() - began > 60: sys.exit("it did not become ready")
        time.sleep(0.002)
    ready = time.monotonic() - began
    spent = lambda: sum(map(int, pathlib.Path(f"/proc/{server.pid}/stat").read_text().rsplit(") ", 1)[1].split()[11:13])) * 10
    cpu = spent()
    time.sleep(6)
    figures = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{server.pid}/status").read_text().splitlines())
    megabytes = lambda name: int(figures[name].split()[0]) / 1024
    print(f"{what:22} ready after {ready * 1e3:4.0f} ms ({cpu} ms CPU), idle {megabytes('VmRSS'):5.1f} MB ({megabytes('RssAnon'):.1f} of its own, "
          f"{megabytes('RssFile'):.1f} of the program's file), {figures['Threads'].strip()} threads, {spent() - cpu} ms CPU in 6 s of nothing")
finally:
    server.terminate()
    server.wait()
PY
}
for round in $(seq "$rounds"); do
  one "SQLite, new" sqlite:vault.db sqlite:ledger.db "sqlite-$round"
  one "SQLite, there already" sqlite:vault.db sqlite:ledger.db "sqlite-$round"
  if [ -n "${LETTERLAB_POSTGRES:-}" ]; then
    for name in vault ledger; do createdb --maintenance-db="$LETTERLAB_POSTGRES/postgres" "start_${name}_$round"; done
    one "PostgreSQL, new" "$LETTERLAB_POSTGRES/start_vault_$round" "$LETTERLAB_POSTGRES/start_ledger_$round" "postgresql-$round"
  fi
done
