#!/usr/bin/env bash
# Purpose: durable pixels and redirects per second beside nginx `empty_gif`, in one run on one machine.
#          benches/load/pixel.sh [SECONDS] [CONNECTIONS]
# Cast:    nginx (the limit: no log, nothing stored), `letterlab serve` (each hit durable before the answer), wrk.
# Never:   leaves loopback, or compares figures of different runs.
# Needs:   nginx-light, wrk and postfix (for smtp-sink) from Debian; cargo build --release first.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:-10} connections=${2:-256}
binary=$PWD/target/release/letterlab
[ -x "$binary" ] || { echo "build first: cargo build --release" >&2; exit 1; }
for program in nginx wrk /usr/sbin/smtp-sink; do command -v "$program" >/dev/null || { echo "missing: $program" >&2; exit 1; }; done

scratch=$(mktemp -d /tmp/letterlab-load.XXXXXX)
chmod 777 "$scratch"
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$scratch"' EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
web=$(free_port) sink=$(free_port) limit=$(free_port)

cat >"$scratch/nginx.conf" <<CONF
worker_processes 2; daemon off; pid $scratch/nginx.pid; error_log $scratch/nginx.log;
events { worker_connections 4096; }
http { access_log off; client_body_temp_path $scratch/b; proxy_temp_path $scratch/p; fastcgi_temp_path $scratch/f; uwsgi_temp_path $scratch/u; scgi_temp_path $scratch/s;
  server { listen 127.0.0.1:$limit; location / { empty_gif; } } }
CONF
nginx -c "$scratch/nginx.conf" 2>/dev/null &

cd "$scratch"
mkdir mail && chmod 777 mail
/usr/sbin/smtp-sink -u nobody -R "$scratch/mail" -d '%M.' "127.0.0.1:$sink" 100 &
printf '[web]\nlisten = "127.0.0.1:%s"\nbase_url = "http://127.0.0.1:%s"\n[relay]\nhost = "127.0.0.1"\nport = %s\n[log]\nfilter = "warn"\n' "$web" "$web" "$sink" >letterlab.toml
printf 'email,first_name,recording_mode,consent_source,consent_date\na@example.com,Ann,pseudonymous,form,2026-01-01\nb@example.com,Bob,pseudonymous,form,2026-01-01\n' >people.csv
"$binary" import people.csv --list customers >/dev/null
"$binary" campaign template >campaign.toml
"$binary" campaign create campaign.toml >/dev/null
"$binary" campaign launch autumn-letter >/dev/null
"$binary" serve &
for _ in {1..100}; do
  letter=$(find mail -type f -size +1k | head -n 1)
  [ -n "$letter" ] && break
  sleep 0.1
done
address() { python3 - "$letter" "$1" <<'PY'
import email, re, sys
message = email.message_from_file(open(sys.argv[1]))
html = next(part for part in message.walk() if part.get_content_type() == "text/html").get_payload(decode=True).decode()
print(re.search(r'"(http://127[^"]*/%s/[^"]*)"' % sys.argv[2], html).group(1))
PY
}
pixel=$(address o) link=$(address c)

measure() { # name, address
  wrk --threads 2 --connections "$connections" --duration "${seconds}s" --latency "$2" |
    awk -v name="$1" '/Requests\/sec/ { rate = $2 } /99%/ { tail = $2 } /Non-2xx/ { bad = " " $0 } END { printf "%-22s %9.0f requests/s   p99 %-9s%s\n", name, rate, tail, bad }'
}
for round in 1 2 3; do
  measure "nginx empty_gif" "http://127.0.0.1:$limit/"
  measure "letterlab pixel" "$pixel"
  measure "letterlab redirect" "$link"
done
"$binary" status | grep hits || true
