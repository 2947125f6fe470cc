#!/usr/bin/env bash
# Purpose: durable pixels and redirects per second beside nginx `empty_gif` and beside one INSERT per request, in one run on one machine.
#          benches/load/pixel.sh [SECONDS] [ROUNDS]     each measurement so long, so often; 4 and 2 take about nine minutes
# Cast:    nginx (the limit: no log, nothing stored), `letterlab serve` on SQLite and on PostgreSQL (each hit durable before the answer),
#          `peer` (actix-web, one INSERT and commit per request), wrk (as fast as answers come; the same requests for everybody: every
#          recipient's own address in turn), `readers` (2,000 a second, timed), idle.py (10,000 connections that ask nothing).
#          settle: before anything is measured, all hits are in the ledger and filed under their recipients; what that cost is told on
#          lines of its own.
# Never:   leaves loopback, compares figures of different runs, or touches a service of the machine.
# Needs:   nginx-light, wrk, postfix (for smtp-sink), curl, python3 and postgresql from Debian;
#          cargo build --profile production and cargo build --release --example peer --example readers first. LETTERLAB_BINARY names another binary.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:-4} rounds=${2:-2} people=2000 idle=10000
examples=$PWD/target/release/examples
binary=${LETTERLAB_BINARY:-$PWD/target/production/letterlab} peer=$examples/peer readers=$examples/readers
for program in "$binary" "$peer" "$readers" nginx wrk curl /usr/sbin/smtp-sink python3; do
  command -v "$program" >/dev/null || { echo "missing: $program (see the head of this file)" >&2; exit 1; }
done
postgres=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
# Both ends of every connection are on this machine.
ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge $((idle + 1000)) ] || { echo "too few open files allowed: $(ulimit -n); raise the hard limit (ulimit -Hn)" >&2; exit 1; }

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
as=()
if [ "$EUID" = 0 ]; then as=(setpriv --reuid=postgres --regid="$(id -g postgres)" --clear-groups); fi
mkdir pg socket && { [ "$EUID" != 0 ] || chown postgres pg socket; }
(cd pg && "${as[@]}" "$postgres/initdb" --pgdata=data --username=admin --auth=trust --encoding=UTF8 --locale=C.UTF-8 >/dev/null)
(cd pg && exec "${as[@]}" "$postgres/postgres" -D data -c listen_addresses= -c "unix_socket_directories=$scratch/socket") >postgres.log 2>&1 &
postgres_pid=$!
until "$postgres/pg_isready" --quiet --host="$scratch/socket"; do sleep 0.1; done
url="postgresql://admin@${scratch//\//%2F}%2Fsocket"
for name in vault ledger peer; do "$postgres/createdb" --host="$scratch/socket" --username=admin "$name"; done

mkdir mail && chmod 777 mail
drop=(); [ "$EUID" != 0 ] || drop=(-u nobody)
/usr/sbin/smtp-sink "${drop[@]}" -R "$scratch/mail" -d '%M.' "127.0.0.1:$sink" 100 2>sink.log &
sink_pid=$!
python3 -c 'import sys
print("email,first_name,recording_mode,consent_source,consent_date")
for i in range(int(sys.argv[1])): print(f"p{i}@example.com,Ann,pseudonymous,form,2026-01-01")' "$people" >people.csv

# Reads the letters that have come: one address of a pixel and one of a link of each.
cat >addresses.py <<'PY'
import email, pathlib, re, sys
pixels, links = [], []
for path in pathlib.Path("mail").iterdir():
    message = email.message_from_bytes(path.read_bytes())
    html = next((part for part in message.walk() if part.get_content_type() == "text/html"), None)
    if html is None: continue
    html = html.get_payload(decode=True).decode()
    pixels += re.findall(r'"http://127[^"/]*(/o/[^"]*)"', html)[:1]
    links += re.findall(r'"http://127[^"/]*(/c/[^"]*)"', html)[:1]
    path.unlink()
pathlib.Path(sys.argv[1], "pixels").write_text("".join(path + "\n" for path in pixels))
pathlib.Path(sys.argv[1], "links").write_text("".join(path + "\n" for path in links))
if min(len(pixels), len(links)) < int(sys.argv[2]) * 0.9: sys.exit(f"{sys.argv[1]}: only {len(pixels)} letters came")
PY

# Starts one installation in a folder of its own and leaves its recipients' addresses in FOLDER/pixels and FOLDER/links.
install() { # folder, vault, ledger
  local port
  mkdir "$1"
  port=$(free_port)
  echo "127.0.0.1:$port" >"$1/address"
  printf '[web]\nlisten = "127.0.0.1:%s"\nbase_url = "http://127.0.0.1:%s"\n[database]\nvault = "%s"\nledger = "%s"\n[relay]\nhost = "127.0.0.1"\nport = %s\n[log]\nfilter = "error"\n' \
    "$port" "$port" "$2" "$3" "$sink" >"$1/letterlab.toml"
  (cd "$1"
    "$binary" import "$scratch/people.csv" --list customers >/dev/null
    "$binary" campaign template >campaign.toml
    "$binary" campaign create campaign.toml >/dev/null
    "$binary" campaign launch autumn-letter >/dev/null)
  (cd "$1" && exec "$binary" serve) &
  echo $! >"$1/pid"
  for _ in {1..600}; do
    [ "$(find mail -type f -size +1k | wc -l)" -lt "$people" ] || break
    sleep 0.1
  done
  sleep 1
  python3 addresses.py "$1" "$people"
}
install sqlite sqlite:vault.db sqlite:ledger.db
install postgresql "$url/vault" "$url/ledger"
kill "$sink_pid"

start_peer() { # folder, database
  local port; port=$(free_port); mkdir "$1"; echo "127.0.0.1:$port" >"$1/address"
  (cd "$1" && exec "$peer" "127.0.0.1:$port" "$2") & echo $! >"$1/pid"
}
start_peer peer-sqlite sqlite:peer.db
start_peer peer-postgresql "$url/peer"
mkdir nginx; echo "127.0.0.1:$limit" >nginx/address; echo "$nginx_pid" >nginx/pid
sleep 1

# The host is known from init on only: a request without one is refused.
cat >many.lua <<'LUA'
local paths, at = {}, 0
init = function()
  wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
  if os.getenv("WAY") == "once" then wrk.headers["Connection"] = "close" end
  for line in io.lines(os.getenv("PATHS")) do paths[#paths + 1] = wrk.format("GET", line) end
end
request = function() at = at % #paths + 1; return paths[at] end
LUA

# CPU of a server so far, its children and its database included, in clock ticks.
ticks() { # folder
  local pids="" pid
  pids=$(cat "$1/pid"); case $1 in *postgresql) pids="$pids $postgres_pid" ;; esac
  for pid in $pids; do echo "$pid"; pgrep -P "$pid" || true; done | while read -r pid; do cat "/proc/$pid/stat" 2>/dev/null || true; done |
    awk '{ sub(/.*\) /, ""); sum += $12 + $13 } END { print sum + 0 }'
}
memory() { awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$(cat "$1/pid")/status"; } # folder; MB
hz=$(getconf CLK_TCK)

declare -A acknowledged
measure() { # folder, what (pixel or link), connections, way (keep or once)
  local before after output all
  export WAY=$4 PATHS=$scratch/sqlite/$2s
  [ ! -e "$1/$2s" ] || PATHS=$scratch/$1/$2s
  before=$(ticks "$1")
  output=$(wrk --threads 2 --connections "$3" --duration "${seconds}s" --latency -s many.lua "http://$(cat "$1/address")/")
  after=$(ticks "$1")
  all=$(awk '/ requests in / { print $1 }' <<<"$output")
  awk -v name="$1 $2" -v connections="$3" -v way="$4" -v ticks=$((after - before)) -v hz="$hz" -v memory="$(memory "$1")" '
    function ms(text) { return text ~ /us$/ ? text / 1000 : text ~ /ms$/ ? text + 0 : text * 1000 }
    / requests in / { all = $1 } /Requests\/sec/ { rate = $2 } /^ *50%/ { half = ms($2) } /^ *99%/ { tail = ms($2) } /Non-2xx/ { bad = " " $0 } /Socket errors/ { bad = bad " " $0 }
    END { micros = ticks / hz * 1e6 / (all ? all : 1)
      printf "%-24s %4d %-5s %8.0f/s  p50 %7.2f ms  p99 %7.2f ms  CPU %6.2f us  %4d MB%s\n", name, connections, way, rate, half, tail, micros, memory, bad
      print name "\t" connections "\t" way "\t" rate "\t" half "\t" tail "\t" micros "\t" memory >>"all.tsv" }' <<<"$output"
  case $1 in
    sqlite | postgresql) acknowledged["$1"]=$((${acknowledged["$1"]:-0} + all)); settle "$1" "$all" ;;
  esac
}

# Waits until every hit is in the ledger and counted, and until all are filed under their recipients, which is begun when no more come.
settle() { # folder, hits
  local before after began=$EPOCHREALTIME what
  for what in hits_waiting unfiled; do
    before=$(ticks "$1")
    for _ in {1..2400}; do
      (cd "$1" && "$binary" status --json 2>/dev/null) >status.json || true
      [ "$(python3 -c 'import json, sys; print(json.load(open("status.json"))[sys.argv[1]])' "$what" 2>/dev/null)" != 0 ] || break
      sleep 0.25
    done
    after=$(ticks "$1")
    awk -v what="$what" -v hits="$2" -v ticks=$((after - before)) -v hz="$hz" -v began="$began" -v now="$EPOCHREALTIME" '
      BEGIN { printf "%24s all %s %.1f s later, CPU meanwhile %.2f us a hit\n", "", what == "unfiled" ? "filed" : "in the ledger", now - began, ticks / hz * 1e6 / hits }'
  done
}

for _ in $(seq "$rounds"); do
  for connections in 64 256; do
    for way in keep once; do
      measure nginx pixel "$connections" "$way"
      for name in sqlite postgresql; do
        measure "$name" pixel "$connections" "$way"
        measure "$name" link "$connections" "$way"
      done
      [ "$way" = once ] || for name in peer-sqlite peer-postgresql; do measure "$name" pixel "$connections" "$way"; done
    done
  done
done

cat >idle.py <<'PY'
# Opens connections that ask nothing, says when all are open, and keeps them until its input ends.
import socket, sys
address, port = sys.argv[1].split(":")
kept = []
for number in range(int(sys.argv[2])):
    # From several addresses: one has not enough ports when many connections ended a moment ago.
    connection = socket.socket()
    connection.bind((f"127.0.1.{1 + number % 8}", 0))
    connection.connect((address, int(port)))
    kept.append(connection)
print("open", flush=True)
sys.stdin.read()
PY
pace() { # folder, words before
  "$readers" "$(cat "$1/address")" "$1/pixels" 2000 5 64 >pace.txt
  echo "$2: $(cat pace.txt), target p99 10 ms"
  acknowledged["$1"]=$((${acknowledged["$1"]} + $(awk '{ print $1 }' pace.txt)))
  settle "$1" 10000
}
for name in sqlite postgresql; do pace "$name" "$name"; done
before=$(memory sqlite)
coproc idlers { exec python3 idle.py "$(cat sqlite/address)" "$idle"; }
read -r _ <&"${idlers[0]}"
echo "$idle idle connections: memory of the server $before MB before, $(memory sqlite) MB with them"
pace sqlite "meanwhile"
exec {idlers[1]}>&-

# Answers whose connection wrk cut off at its end are stored and not counted by it: at most as many as there were connections.
for name in sqlite postgresql; do
  settle "$name" 1 >/dev/null
  python3 - "$name" "${acknowledged[$name]}" <<'PY'
import json, sys
status, acknowledged = json.load(open("status.json")), int(sys.argv[2])
stored, shed = status["hits_stored"], status["hits_shed"]
print(f"{sys.argv[1]}: acknowledged {acknowledged}, rows in the ledger {stored} ({stored - acknowledged:+}), shed {shed}" + ("" if stored >= acknowledged else "  HITS LOST"))
PY
done

python3 - <<'PY'
import collections, statistics
runs = collections.defaultdict(list)
for line in open("all.tsv"):
    name, connections, way, *figures = line.rstrip("\n").split("\t")
    runs[name, int(connections), way].append([float(figure) for figure in figures])
middle = {key: [statistics.median(column) for column in zip(*of)] for key, of in runs.items()}
print(f"\nmedians of {max(map(len, runs.values()))}         requests/s  of nginx   p99 / nginx's  CPU us   MB")
for (name, connections, way), (rate, half, tail, micros, memory) in sorted(middle.items(), key=lambda entry: (entry[0][1], entry[0][2], -entry[1][0])):
    limit = middle["nginx pixel", connections, way]
    print(f"{name:24} {connections:4} {way:5} {rate:9.0f} {rate / limit[0]:9.2f} {tail / limit[2]:14.2f} {micros:9.2f} {memory:5.0f}")
def told(text, value, target, least=True):
    print(f"{text}: {value:.2f}, target {'at least' if least else 'at most'} {target}: {'met' if (value >= target) == least or value == target else 'MISSED'}")
for engine in ("sqlite", "postgresql"):
    of = lambda what, connections, way: middle[f"{engine} {what}", connections, way]
    limit = lambda connections, way: middle["nginx pixel", connections, way]
    told(f"{engine}, 256 connections, of nginx", of("pixel", 256, "keep")[0] / limit(256, "keep")[0], 0.85)
    told(f"{engine}, 64 connections, of nginx", of("pixel", 64, "keep")[0] / limit(64, "keep")[0], 0.75)
    told(f"{engine}, one connection per request, of nginx", of("pixel", 256, "once")[0] / limit(256, "once")[0], 0.85)
    told(f"{engine}, redirects of pixels", of("link", 256, "keep")[0] / of("pixel", 256, "keep")[0], 0.9)
    told(f"{engine}, p99 of nginx's", of("pixel", 256, "keep")[2] / limit(256, "keep")[2], 1.5, least=False)
    told(f"{engine}, of one INSERT per request", of("pixel", 256, "keep")[0] / middle[f"peer-{engine} pixel", 256, "keep"][0], 5)
    told(f"{engine}, MB at 256 connections", of("pixel", 256, "keep")[4], 60, least=False)
PY
