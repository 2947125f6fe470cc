#!/usr/bin/env bash
# Purpose: letters per second through the whole of `letterlab serve` (leases, journal, rendering, signing, SMTP) into Postfix's `smtp-sink`,
#          beside Postfix's `smtp-source` sending messages of the same size with as many sessions, before and after each run.
#          benches/load/send.sh [LETTERS] [SESSIONS]       unsigned, Ed25519, RSA-2048; then a round trip of 20 ms
#          benches/load/send.sh memory [LETTERS]           memory of `serve` with so many letters queued
#          About half a minute for 3,000 letters, five for 50,000, three for the memory with 1,000,000, on two quiet cores.
# Cast:    run (one campaign, timed from the first to the last answer by its own record), source (the limit), delay.py (the round trip:
#          a forwarder, because many machines have no netem).
# Never:   leaves loopback, compares figures of different runs, or touches a service of the machine.
# Needs:   postfix (for smtp-sink and smtp-source), sqlite3, python3 and openssl from Debian; cargo build --profile production first.
#          LETTERLAB_BINARY names another binary, LETTERLAB_POSTGRES (a URL without database name) also measures on PostgreSQL.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/../.."
mode=send
if [ "${1:-}" = memory ]; then mode=memory; shift; fi
letters=${1:-50000} sessions=${2:-10}
[ "$mode" = send ] || letters=${1:-1000000}
binary=${LETTERLAB_BINARY:-$PWD/target/production/letterlab} delay=$PWD/benches/load/delay.py
for program in "$binary" /usr/sbin/smtp-sink /usr/sbin/smtp-source sqlite3 python3 openssl; do
  command -v "$program" >/dev/null || { echo "missing: $program (see the head of this file)" >&2; exit 1; }
done

scratch=$(mktemp -d /tmp/letterlab-send.XXXXXX)
chmod 755 "$scratch"
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$scratch"' EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
cd "$scratch"

# A newsletter of many paragraphs with twelve links and merge fields; about 18 kB as sent, both parts together.
python3 - <<'PY'
paragraph = ("<p style=\"margin:0 0 16px;font-size:16px;line-height:24px;color:#1d1d1f\">Dear {{ first_name | default(\"reader\") }}, the reading "
             "room opens at eight from Monday to Friday and at ten on Saturday; coffee is served upstairs, and the new shelves are in place. %s</p>\n")
link = "<a href=\"https://example.org/room?from=letter&amp;n=%d\" style=\"color:#0b57d0\">More about it</a>"
body = "".join(paragraph % (link % number if number % 3 == 0 else "Come and see.") for number in range(36))
open("letter.html", "w").write("<!doctype html><html lang=\"en\"><head><title>News</title></head><body>\n" + body
                               + "<p><a href=\"{{ unsubscribe_url }}\">Unsubscribe</a></p></body></html>\n")
open("campaign.toml", "w").write('''name = "load"
list = "customers"
[sender]
name = "The library"
address = "news@example.org"
[letter]
subject = "What changed this autumn"
file = "letter.html"
format = "html"
[test]
element = "subject"
[[variants]]
[[variants]]
value = "Two changes, two minutes"
''')
PY
people() { # how many
  python3 -c 'import sys
print("email,first_name,recording_mode,consent_source,consent_date")
for i in range(int(sys.argv[1])): print(f"p{i}@example.com,Ann{i},pseudonymous,form,2026-01-01")' "$1"
}

# Makes an installation with a campaign ready to leave.
install() { # folder, people, relay port, vault, ledger, keys: none, ed25519, rsa; more settings
  mkdir "$1"
  cp letter.html campaign.toml "$1"
  people "$2" >"$1/people.csv"
  cat >"$1/letterlab.toml" <<TOML
[web]
listen = "127.0.0.1:0"
[database]
vault = "$4"
ledger = "$5"
[delivery]
workers = $sessions
${7:-}
[relay]
port = $3
messages_per_connection = 1000000
[log]
filter = "warn"
TOML
  (cd "$1"
    if [ "$6" != none ]; then
      # The command makes both kinds; the Ed25519 key's selector has an e at its end.
      "$binary" domain keys example.org --selector k >/dev/null
      local selector=k; [ "$6" = rsa ] || selector=ke
      printf '[[domain.dkim]]\ndomain = "example.org"\nselector = "%s"\nfile = "letterlab-data/dkim/%s.example.org.pem"\n' "$selector" "$selector" >>letterlab.toml
    fi
    "$binary" import people.csv --list customers >/dev/null
    "$binary" campaign create campaign.toml >/dev/null
    "$binary" campaign launch load >/dev/null)
}

cpu_seconds() { awk -v ticks="$(getconf CLK_TCK)" '{ print ($14 + $15) / ticks }' "/proc/$1/stat"; }
query() { # folder, vault, statement
  case $2 in
    sqlite:*) sqlite3 -readonly "$1/${2#sqlite:}" "$3" ;;
    *) psql --no-psqlrc --tuples-only --no-align --field-separator='|' --dbname "$2" --command "$3" ;;
  esac
}

# Sends the campaign of a folder and answers letters per second and CPU microseconds per letter.
run() { # folder, vault, letters
  (cd "$1" && exec "$binary" serve >log 2>&1) &
  local serve=$! done=0 peak
  until [ "$done" -ge "$3" ]; do
    sleep 0.5
    kill -0 "$serve" 2>/dev/null || { cat "$1/log" >&2; exit 1; }
    done=$(query "$1" "$2" "SELECT count(*) FROM mailing WHERE finished_at IS NOT NULL" 2>/dev/null || echo 0)
  done
  peak=$(awk '/VmHWM/ { print $2 / 1024 }' "/proc/$serve/status")
  local cpu; cpu=$(cpu_seconds "$serve")
  kill -TERM "$serve"; wait "$serve" || true
  [ "$(query "$1" "$2" "SELECT count(*) FROM mailing WHERE state <> 'accepted'")" = 0 ] || { echo "not all were accepted" >&2; exit 1; }
  query "$1" "$2" "SELECT min(finished_at), max(finished_at) FROM mailing" | awk -F'|' -v n="$3" -v cpu="$cpu" -v peak="$peak" \
    '{ printf "%.0f %.0f %.0f\n", n * 1000 / ($2 - $1), cpu * 1e6 / n, peak }'
}

start_sink() { # its port into $sink
  sink=$(free_port)
  /usr/sbin/smtp-sink ${EUID:+-u nobody} "127.0.0.1:$sink" 1000 >sink.log 2>&1 &
  sink_pid=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$sink") 2>/dev/null; do sleep 0.05; done
}

# Messages per second of Postfix's own generator.
source_rate() { # port, messages, bytes
  local began=$EPOCHREALTIME
  /usr/sbin/smtp-source -d -s "$sessions" -m "$2" -l "$3" -f a@example.org -t b@example.com "127.0.0.1:$1"
  awk -v began="$began" -v now="$EPOCHREALTIME" -v n="$2" 'BEGIN { printf "%.0f", n / (now - began) }'
}

if [ "$mode" = memory ]; then
  start_sink
  # So slow that nearly all of them stay queued.
  install many "$letters" "$sink" sqlite:vault.db sqlite:ledger.db none
  printf '[limits]\nper_second = 20\n' >>many/letterlab.toml
  (cd many && exec "$binary" serve >log 2>&1) &
  serve=$!
  for second in {1..30}; do
    sleep 1
    [ $((second % 10)) != 0 ] || awk -v second="$second" '/VmRSS|VmHWM/ { printf "%s s: %s %.0f MB\n", second, $1, $2 / 1024 }' "/proc/$serve/status"
  done
  echo "$(query many sqlite:vault.db "SELECT count(*) FROM mailing WHERE state = 'queued'") queued, $(query many sqlite:vault.db "SELECT count(*) FROM mailing WHERE state = 'accepted'") sent"
  kill -TERM "$serve"; wait "$serve" || true
  exit
fi

# How large one letter is, as a sink gets it.
mkdir dump && chmod 777 dump
probe=$(free_port)
/usr/sbin/smtp-sink ${EUID:+-u nobody} -R "$scratch/dump" -d m. "127.0.0.1:$probe" 100 &
install one 1 "$probe" sqlite:vault.db sqlite:ledger.db none
run one sqlite:vault.db 1 >/dev/null 2>&1 || true
bytes=$(cat dump/* | wc -c)
echo "one letter: $bytes bytes; $letters letters, $sessions sessions, $(nproc) cores"
signing=$(openssl speed -seconds 2 -multi "$(nproc)" rsa2048 2>/dev/null | awk '/^rsa 2048 bits/ { print $6; exit } /^rsa  2048/ { print $6; exit }')
echo "openssl speed, RSA-2048 signatures per second on all cores: ${signing:-unknown}"

start_sink
measure() { # name, folder, vault, ledger, keys, port, letters, more
  local before after rate cpu peak
  install "$2" "$7" "$6" "$3" "$4" "$5" "${8:-}"
  before=$(source_rate "$6" "$7" "$bytes")
  read -r rate cpu peak < <(run "$2" "$3" "$7")
  after=$(source_rate "$6" "$7" "$bytes")
  awk -v name="$1" -v rate="$rate" -v before="$before" -v after="$after" -v cpu="$cpu" -v peak="$peak" \
    'BEGIN { printf "| %s | %d letters/s, %d µs CPU, %d MB | smtp-source %d and %d | %.2f |\n", name, rate, cpu, peak, before, after, rate / ((before + after) / 2) }'
  rm -rf "$2"
}
for keys in none ed25519 rsa; do measure "SQLite, $keys" "sqlite-$keys" sqlite:vault.db sqlite:ledger.db "$keys" "$sink" "$letters"; done
if [ -n "${LETTERLAB_POSTGRES:-}" ]; then
  for keys in none ed25519 rsa; do
    for room in vault ledger; do psql --no-psqlrc --quiet --dbname "$LETTERLAB_POSTGRES/postgres" --command "CREATE DATABASE send_${room}_$keys"; done
    measure "PostgreSQL, $keys" "pg-$keys" "$LETTERLAB_POSTGRES/send_vault_$keys" "$LETTERLAB_POSTGRES/send_ledger_$keys" "$keys" "$sink" "$letters"
    for room in vault ledger; do psql --no-psqlrc --quiet --dbname "$LETTERLAB_POSTGRES/postgres" --command "DROP DATABASE send_${room}_$keys"; done
  done
fi

# A relay 20 ms away: smtp-source waits for each answer (MAIL, RCPT, DATA, dot), which bounds it to sessions / 80 ms.
distant=$(free_port)
python3 "$delay" "$distant" "$sink" 0.02 &
until (exec 3<>"/dev/tcp/127.0.0.1/$distant") 2>/dev/null; do sleep 0.05; done
# Several batches for every session: with fewer letters some sessions would have none.
few=$((letters / 25 < 2000 ? 2000 : letters / 25))
echo "without pipelining at most $((sessions * 1000 / 80)) a second:"
measure "20 ms away, unsigned" far sqlite:vault.db sqlite:ledger.db none "$distant" "$few"
