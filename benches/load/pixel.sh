#!/usr/bin/env bash
# Purpose: durable pixels and redirects per second beside nginx `empty_gif` and beside one INSERT per request, in one run on one machine.
#          benches/load/pixel.sh [SECONDS] [ROUNDS]
# Cast:    nginx (the limit: no log, nothing stored), `letterlab serve` on SQLite and on PostgreSQL (each hit durable before the answer),
#          `peer` (actix-web, one INSERT and commit per request), wrk (keep-alive and one connection per request, one token or many).
# Never:   leaves loopback, compares figures of different runs, or touches a service of the machine.
# Needs:   nginx-light, wrk, postfix (for smtp-sink) and postgresql from Debian;
#          cargo build --release --bin letterlab --example peer first.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:-5} rounds=${2:-3}
binary=$PWD/target/release/letterlab peer=$PWD/target/release/examples/peer
for program in "$binary" "$peer" nginx wrk /usr/sbin/smtp-sink python3; do
  command -v "$program" >/dev/null || { echo "missing: $program (see the head of this file)" >&2; exit 1; }
done
postgres=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)

scratch=$(mktemp -d /tmp/letterlab-load.XXXXXX)
chmod 777 "$scratch"
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$scratch"' EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
sink=$(free_port) limit=$(free_port)
cd "$scratch"

cat >nginx.conf <<CONF
worker_processes 2; daemon off; pid $scratch/nginx.pid; error_log $scratch/nginx.log;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 100000000; client_body_temp_path $scratch/b; proxy_temp_path $scratch/p; fastcgi_temp_path $scratch/f; uwsgi_temp_path $scratch/u; scgi_temp_path $scratch/s;
  server { listen 127.0.0.1:$limit backlog=4096; location / { empty_gif; } } }
CONF
nginx -c "$scratch/nginx.conf" 2>/dev/null &
nginx_pid=$!

# PostgreSQL refuses root.
user=$(id -un) as=()
if [ "$EUID" = 0 ]; then user=postgres as=(setpriv --reuid=postgres --regid="$(id -g postgres)" --clear-groups); fi
mkdir pg socket && { [ "$EUID" != 0 ] || chown postgres pg socket; }
(cd pg && "${as[@]}" "$postgres/initdb" --pgdata=data --username=admin --auth=trust --encoding=UTF8 --locale=C.UTF-8 >/dev/null)
(cd pg && exec "${as[@]}" "$postgres/postgres" -D data -c listen_addresses= -c "unix_socket_directories=$scratch/socket") >postgres.log 2>&1 &
until "$postgres/pg_isready" --quiet --host="$scratch/socket"; do sleep 0.1; done
url="postgresql://admin@${scratch//\//%2F}%2Fsocket"
for name in vault ledger peer; do "$postgres/createdb" --host="$scratch/socket" --username=admin "$name"; done

mkdir mail && chmod 777 mail
/usr/sbin/smtp-sink -u nobody -R "$scratch/mail" -d '%M.' "127.0.0.1:$sink" 100 &
python3 -c 'print("email,first_name,recording_mode,consent_source,consent_date")
for i in range(200): print(f"p{i}@example.com,Ann,pseudonymous,form,2026-01-01")' >people.csv

# Starts one installation in a folder of its own and leaves its addresses in FOLDER/pixels and FOLDER/links.
install() { # folder, vault, ledger
  mkdir "$1"
  local port letters
  port=$(free_port)
  echo "$port" >"$1/port"
  printf '[web]\nlisten = "127.0.0.1:%s"\nbase_url = "http://127.0.0.1:%s"\n[database]\nvault = "%s"\nledger = "%s"\n[relay]\nhost = "127.0.0.1"\nport = %s\n[log]\nfilter = "warn"\n' \
    "$port" "$port" "$2" "$3" "$sink" >"$1/letterlab.toml"
  (cd "$1"
    "$binary" import "$scratch/people.csv" --list customers >/dev/null
    "$binary" campaign template >campaign.toml
    "$binary" campaign create campaign.toml >/dev/null
    "$binary" campaign launch autumn-letter >/dev/null)
  (cd "$1" && exec "$binary" serve) &
  echo $! >"$1/pid"
  for _ in {1..300}; do
    letters=$(find mail -type f -size +1k | wc -l)
    [ "$letters" -ge 200 ] && break
    sleep 0.1
  done
  sleep 1
  python3 - mail "$1" <<'PY'
import email, pathlib, re, sys
pixels, links = [], []
for path in pathlib.Path(sys.argv[1]).iterdir():
    message = email.message_from_bytes(path.read_bytes())
    html = next((part for part in message.walk() if part.get_content_type() == "text/html"), None)
    if html is None: continue
    html = html.get_payload(decode=True).decode()
    pixels += re.findall(r'"http://127[^"/]*(/o/[^"]*)"', html)[:1]
    links += re.findall(r'"http://127[^"/]*(/c/[^"]*)"', html)[:1]
    path.unlink()
pathlib.Path(sys.argv[2], "pixels").write_text("\n".join(pixels))
pathlib.Path(sys.argv[2], "links").write_text("\n".join(links))
PY
}
install sqlite sqlite:vault.db sqlite:ledger.db
install postgresql "$url/vault" "$url/ledger"

start_peer() { # name, database
  local port; port=$(free_port); mkdir "$1"; echo "$port" >"$1/port"
  (cd "$1" && exec "$peer" "127.0.0.1:$port" "$2") & echo $! >"$1/pid"
}
start_peer peer-sqlite sqlite:peer.db
start_peer peer-postgresql "$url/peer"
sleep 1

# The host is known from init on only: a request without one is refused.
cat >many.lua <<'LUA'
local paths, at = {}, 0
init = function()
  wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
  for line in io.lines(os.getenv("PATHS")) do paths[#paths + 1] = wrk.format("GET", line) end
end
request = function() at = at % #paths + 1; return paths[at] end
LUA
if [ -z "${NO_UA:-}" ]; then agent=(-H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'); else agent=(); fi

# CPU of a process and its children so far, in clock ticks.
ticks() { local pid; for pid in "$1" $(pgrep -P "$1" || true); do awk '{ print $14 + $15 }' "/proc/$pid/stat"; done | awk '{ sum += $1 } END { print sum + 0 }'; }

acknowledged=()
measure() { # name, process, connections, way (keep or once), address, paths (many tokens)
  local before after once=() many=() output
  [ "$4" = keep ] || once=(-H 'Connection: close')
  if [ -n "${6:-}" ]; then export PATHS=$6; many=(-s many.lua); fi
  before=$(ticks "$2")
  output=$(wrk --threads 2 --connections "$3" --duration "${seconds}s" --latency "${agent[@]}" "${once[@]}" "${many[@]}" "$5")
  after=$(ticks "$2")
  awk -v name="$1" -v connections="$3" -v way="$4" -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" '
    / requests in / { all = $1 } /Requests\/sec/ { rate = $2 } /^ *50%/ { half = $2 } /^ *99%/ { tail = $2 } /Non-2xx/ { bad = " " $0 } /Socket errors/ { bad = bad " " $0 }
    END { printf "%-26s %4d %-5s %9.0f/s  p50 %-9s p99 %-9s CPU %5.1f us%s\n", name, connections, way, rate, half, tail, ticks / hz * 1e6 / (all ? all : 1), bad; print all > "all" }' <<<"$output"
}
count() { acknowledged["$1"]=$((${acknowledged["$1"]:-0} + $(cat all))); }
load() { local name; for name in sqlite postgresql; do echo "http://127.0.0.1:$(cat $name/port)" >"$name/base"; done; }
load
for round in $(seq "$rounds"); do
  for connections in 64 256; do
    for way in keep once; do
      measure "nginx empty_gif" "$nginx_pid" "$connections" "$way" "http://127.0.0.1:$limit/"
      for number in 0 1; do
        name=$([ "$number" = 0 ] && echo sqlite || echo postgresql)
        measure "$name pixel" "$(cat $name/pid)" "$connections" "$way" "$(cat $name/base)$(head -1 $name/pixels)"; count "$number"
        measure "$name redirect" "$(cat $name/pid)" "$connections" "$way" "$(cat $name/base)$(head -1 $name/links)"; count "$number"
      done
      if [ "$way" = keep ]; then
        measure "nginx, many addresses" "$nginx_pid" "$connections" keep "http://127.0.0.1:$limit/" sqlite/pixels
        measure "sqlite pixel, 200 tokens" "$(cat sqlite/pid)" "$connections" keep "$(cat sqlite/base)" sqlite/pixels; count 0
        for name in peer-sqlite peer-postgresql; do measure "$name" "$(cat $name/pid)" "$connections" keep "http://127.0.0.1:$(cat $name/port)/"; done
      fi
    done
  done
done
# Hits wait in the spool while the machine is busy; answers whose connection wrk cut off at its end are stored and not counted by it.
for number in 0 1; do
  name=$([ "$number" = 0 ] && echo sqlite || echo postgresql)
  for _ in {1..1200}; do
    json=$(cd "$name" && "$binary" status --json 2>/dev/null || true)
    [ "$(python3 -c 'import json,sys; print(json.load(sys.stdin)["hits_waiting"])' <<<"$json")" = 0 ] && break
    sleep 0.5
  done
  python3 -c 'import json,sys; s = json.loads(sys.argv[1]); print(f"{sys.argv[2]}: acknowledged {sys.argv[3]}, rows {s[\"hits_stored\"]}, shed {s[\"hits_shed\"]}")' "$json" "$name" "${acknowledged[$number]}"
done
