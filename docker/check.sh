#!/usr/bin/env bash
# Check the images without Docker: run each container's command in a room that holds only what its image would.
#
#   docker/check.sh [POSTGRESQL_URL [REDIS_URL]]
#
# A room has what compose gives: the lock file's packages in /venv, the copied files in /app, a read-only root, /tmp
# without execution, a pid 1, a host name, user and environment of its own, no capabilities. Commands, environment
# and health checks are read from docker-compose.yml, files, user and variables from docker/Dockerfile. Only the
# addresses of the two services are others, and the network is the machine's own.
#
# Needs Linux, root (for the namespaces), util-linux, curl, Python 3.11 to 3.13 (PYTHON names one); takes tini as
# pid 1 where there is one. Downloads TensorFlow; ENVIRONMENTS names a folder that keeps the packages for next time.
set -euo pipefail
cd "$(dirname "$0")/.."

postgresql=${1:-postgresql://postgres@127.0.0.1/}
redis=${2:-redis://127.0.0.1:6379/12}
export PYTHON=${PYTHON:-python3}
if [ "$(id -u)" != 0 ]; then
    echo "docker/check.sh needs root for its namespaces." >&2
    exit 2
fi
PYTHON=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable))')
work=$(mktemp -d)
environments=${ENVIRONMENTS:-$work/environments}
database=fitq_images_$$
failures=0
declare -A outer inner
mkdir -p "$environments" "$work"/{app,volume,rooms,facts}
chmod 755 "$work"

say() { printf '%s\n' "$*" >&2; }
pass() { say "ok    $*"; }
fail() { say "FAIL  $*"; failures=$((failures + 1)); }
expect() { # expect WHAT COMMAND…: the command succeeds
    local what=$1
    shift
    if "$@" >"$work/output" 2>&1; then pass "$what"; else fail "$what: $(tail -n 3 "$work/output")"; fi
}
refuse() { # refuse WHAT REASON COMMAND…: the command fails, and says why
    local what=$1 reason=$2
    shift 2
    if "$@" >"$work/output" 2>&1 || ! grep -q "$reason" "$work/output"; then
        fail "$what: $(tail -n 3 "$work/output")"
    else
        pass "$what: $(tail -n 1 "$work/output")"
    fi
}

# --- what the images hold ---

copy_tree() { # the sources that the Dockerfile's stage `tree` copies, less what .dockerignore holds back
    local source
    for source in $(sed -n '/ AS tree$/,/ AS api-packages$/{/^COPY/{s/^COPY //; s/ [^ ]*$//; p}}' docker/Dockerfile); do
        grep -qxF "!$source" .dockerignore || fail ".dockerignore keeps $source from the builder"
        tar --create --exclude=__pycache__ "$source" | tar --extract --no-same-owner --directory "$work/app"
    done
    "$PYTHON" -m compileall -q "$work"/app/*/
}

build() { # build LOCK: its packages and the tree, as the image installs them
    if ! cmp --silent "requirements/$1.txt" "$environments/$1.txt"; then
        say "Installing requirements/$1.txt…"
        rm -rf "${environments:?}/$1"
        docker/install.sh "$environments/$1" "requirements/$1.txt"
        docker/install-tree.sh "$environments/$1" "$work/app"
        cp "requirements/$1.txt" "$environments/"
    fi
    # In the image the tree lies in /app.
    sed --in-place "s|^/.*|/app|" "$environments/$1"/lib/python3.*/site-packages/*fitq_server*.pth
}

read_facts() { # each service's command, health check and environment, one per line, where `enter` finds them
    POSTGRES_PASSWORD=none "$environments/api/bin/python" - "$work/facts" "$1" "$2" "$3" <<'PYTHON'
import os, pathlib, re, sys, yaml

facts, database, broker, port = pathlib.Path(sys.argv[1]), *sys.argv[2:]
text = pathlib.Path("docker-compose.yml").read_text()
text = re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda m: os.environ.get(m[1]) or m[2] or "", text)
stages = re.split(r"^FROM .* AS ", pathlib.Path("docker/Dockerfile").read_text().replace("\\\n", " "), flags=re.M)
image = {stage.split("\n", 1)[0]: re.findall(r"^ENV (.*)$", stage, flags=re.M) for stage in stages[1:]}
for name, service in yaml.safe_load(text)["services"].items():
    if "build" not in service:
        continue
    target = service["build"]["target"]
    lines = " ".join(image["base"] + image[target]).split()
    variables = dict(line.split("=", 1) for line in lines) | {k: v or "" for k, v in service["environment"].items()}
    variables |= {"FITQ_DATABASE_URL": database, "FITQ_BROKER_URL": broker}
    if "FITQ_PORT" in variables:
        variables["FITQ_PORT"] = port
    (facts / f"{name}.environment").write_text("".join(f"{k}={v}\n" for k, v in variables.items()))
    (facts / f"{name}.command").write_text("".join(f"{one}\n" for one in service["command"]))
    check = service.get("healthcheck", {}).get("test", [])[1:]
    (facts / f"{name}.health").write_text("".join(f"{one}\n" for one in check))
    (facts / f"{name}.grace").write_text(str(service.get("stop_grace_period", "10s")).rstrip("s"))
PYTHON
}

# --- rooms ---

enter() { # enter ROOM PACKAGES SERVICE: become pid 1 of a room and run the service's command (in new namespaces)
    local root=$work/rooms/$1 packages=$2 service=$3 one
    mount --make-rprivate /
    hostname "$1"
    mkdir -p "$root"
    mount -t tmpfs -o mode=755 room "$root"
    mkdir -p "$root"/{app,cache,dev,etc,proc,tmp,usr,venv,volume}
    for one in bin lib lib32 lib64 libx32 sbin; do
        [ ! -L "/$one" ] || cp -P "/$one" "$root/$one"
    done
    local prefix
    prefix=$(dirname "$(dirname "$PYTHON")")
    mkdir -p "$root$prefix"
    for one in /usr:/usr /etc:/etc "$prefix:$prefix" "$work/app:/app" "$packages:/venv"; do
        mount --bind "${one%%:*}" "$root${one##*:}"
        mount -o remount,bind,ro "$root${one##*:}"
    done
    mount --bind "$work/volume" "$root/volume"
    mount -t tmpfs -o "mode=755,uid=$user,gid=$user" cache "$root/cache"
    mount -t tmpfs -o mode=1777,noexec,nosuid,nodev tmp "$root/tmp"
    mount -t proc proc "$root/proc"
    for one in null zero full random urandom; do
        touch "$root/dev/$one"
        mount --bind "/dev/$one" "$root/dev/$one"
    done
    mkdir "$root/dev/shm"
    mount -t tmpfs -o mode=1777,noexec,nosuid,nodev,size=64m shm "$root/dev/shm"
    mount -o remount,ro "$root"
    local variables command first=()
    mapfile -t variables <"$work/facts/$service.environment"
    mapfile -t command <"$work/facts/$service.command"
    [ -z "$tini" ] || first=("$tini" --)
    exec chroot "$root" "${harmless[@]}" env -i --chdir=/app "${variables[@]}" "${first[@]}" "${command[@]}"
}

inside() { # inside ROOM SERVICE COMMAND…: what `docker compose exec` does
    local room=$1 variables
    mapfile -t variables <"$work/facts/$2.environment"
    shift 2
    nsenter --target "${inner[$room]}" --mount --pid --uts --root --wd="/proc/${inner[$room]}/root/app" -- \
        "${harmless[@]}" env -i "${variables[@]}" "$@"
}

start() { # start ROOM PACKAGES SERVICE
    export -f enter
    export work PYTHON user tini
    unshare --mount --pid --uts --ipc --fork --kill-child -- bash -c "
        set -euo pipefail
        harmless=(${harmless[*]})
        enter $1 $environments/$2 $3" >"$work/$1.log" 2>&1 &
    outer[$1]=$!
    inner[$1]=
    # Until its root is its own, or it has ended already.
    while kill -0 "${outer[$1]}" 2>/dev/null; do
        read -r "inner[$1]" _ <"/proc/${outer[$1]}/task/${outer[$1]}/children" || true
        [ ! -d "/proc/${inner[$1]:-none}/root/venv/bin" ] || return 0
        sleep 0.1
    done
}

healthy() { # healthy ROOM SERVICE: ask what compose asks
    local check
    mapfile -t check <"$work/facts/$2.health"
    inside "$1" "$2" "${check[@]}"
}

await_health() { # await_health ROOM SERVICE SECONDS
    local began=$SECONDS
    until healthy "$1" "$2" >"$work/output" 2>&1; do
        if [ $((SECONDS - began)) -gt "$3" ] || ! kill -0 "${outer[$1]}" 2>/dev/null; then
            fail "$1 is not healthy: $(tail -n 3 "$work/output" "$work/$1.log")"
            return
        fi
        sleep 1
    done
    pass "$1 is healthy after $((SECONDS - began)) s"
}

ends() { # ends ROOM STATUS [SENTENCE]: by itself, with that status, having said that
    local status=0
    wait "${outer[$1]}" || status=$?
    unset "outer[$1]"
    if [[ $status =~ ^$2$ ]] && { [ -z "${3:-}" ] || grep -q "$3" "$work/$1.log"; }; then
        pass "$1 ended with status $status${3:+: $(tail -n 1 "$work/$1.log")}"
    else
        fail "$1 ended with status $status, not $2: $(tail -n 5 "$work/$1.log")"
    fi
}

stop() { # stop ROOM SERVICE STATUS: what `docker compose stop` does; the room ends in time, with that status
    local began=$SECONDS status=0
    kill -TERM "${inner[$1]}"
    wait "${outer[$1]}" || status=$?
    local took=$((SECONDS - began)) grace
    grace=$(cat "$work/facts/$2.grace")
    unset "outer[$1]"
    if [ "$status" = "$3" ] && [ "$took" -lt "$grace" ]; then
        pass "$1 ended with status $status after $took s (stop_grace_period $grace s)"
    else
        fail "$1 ended with status $status after $took s, not $3 within $grace s: $(tail -n 5 "$work/$1.log")"
    fi
}

# --- the services, and the jobs ---

ask() { curl --silent --show-error --fail --noproxy '*' --max-time 30 "$@"; }
field() { "$environments/api/bin/python" -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
sql() { # sql URL STATEMENT: run one statement, print its first value
    "$environments/api/bin/python" - "$@" <<'PYTHON'
import sys, psycopg

with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    cursor = connection.execute(sys.argv[2])
    print(cursor.fetchone()[0] if cursor.description else "")
PYTHON
}
redis_do() { "$environments/api/bin/python" -c "import redis; print(redis.Redis.from_url('$redis').$1())"; }
named() { # the admin's URL with another database
    "$environments/api/bin/python" -c "
from sqlalchemy import make_url
print(make_url('$postgresql').set(drivername='postgresql', database='$1').render_as_string(hide_password=False))"
}

submit() { # submit EPOCHS ROWS: print the id of a tiny train job
    "$environments/api/bin/python" - "$1" "$2" <<'PYTHON' | ask --json @- "$api/v1/jobs" | field id
import json, sys

epochs, rows = map(int, sys.argv[1:])
x = [[i / rows, 1 - i / rows] for i in range(rows)]
print(json.dumps({
    "kind": "train",
    "seed": 1,
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "data": {"train": {"x": x, "y": [a for a, _ in x]}},
    "compile": {"optimizer": "sgd", "loss": "mse"},
    "fit": {"epochs": epochs, "batch_size": 1},
}))
PYTHON
}

await_state() { # await_state JOB STATE SECONDS
    local state began=$SECONDS
    while state=$(ask "$api/v1/jobs/$1" | field state); [ "$state" != "$2" ]; do
        if [ $((SECONDS - began)) -gt "$3" ] || [[ $state =~ ^(succeeded|failed|cancelled)$ ]]; then
            fail "a job is $state, not $2: $(ask "$api/v1/jobs/$1" | grep -o '"error":{[^}]*}')"
            return
        fi
        sleep 0.2
    done
    pass "a job is $2 after $((SECONDS - began)) s"
}

tear_down() {
    local room
    for room in "${!outer[@]}"; do
        # The room's pid 1, with which its whole namespace goes: a change of user undoes unshare's --kill-child.
        kill -KILL ${inner[$room]} "${outer[$room]}" 2>/dev/null || true
    done
    wait
    sql "$(named postgres)" "DROP DATABASE IF EXISTS $database WITH (FORCE)" >/dev/null || true
    [ -z "${redis_is_ours:-}" ] || redis_do flushdb >/dev/null || true
    if [ "$failures" = 0 ]; then rm -rf "$work"; else say "Logs are in $work."; fi
}

copy_tree
build api
build worker
trap tear_down EXIT
user=$(sed -n 's/^USER \([0-9]*\):.*/\1/p' docker/Dockerfile | sort -u)
chown -R "$user:$user" "$work/volume"
tini=$(command -v tini || true)
[ -n "$tini" ] || say "No tini here: the programs themselves are pid 1, which compose's init: true spares them."
harmless=(setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all)
if [ "$(redis_do dbsize)" != 0 ]; then
    say "The database of $redis is not empty; name another one."
    exit 2
fi
redis_is_ours=yes
sql "$(named postgres)" "CREATE DATABASE $database" >/dev/null
port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
api=http://127.0.0.1:$port
read_facts "$(named "$database")" "$redis" "$port"

say "--- the API's image has no TensorFlow, and none has an installer"
refuse "tensorflow is not in the API's image" "No module named 'tensorflow'" "$environments/api/bin/python" -c 'import tensorflow'
expect "tensorflow is in the worker's" "$environments/worker/bin/python" -c \
    'import importlib.util; assert importlib.util.find_spec("tensorflow")'
for one in api worker; do
    refuse "no pip in the packages of $one" "No module named pip" "$environments/$one/bin/python" -m pip --version
done

say "--- nothing starts on a database without a schema"
start early-api api api
ends early-api 2 'python -m shared.migrate'
start early-control api control
ends early-control 2 'python -m shared.migrate'
start early-worker worker worker
ends early-worker 2 'python -m shared.migrate'

say "--- migrate, twice: the second finds nothing to do"
for one in migrate migrate-again; do
    start $one api migrate
    ends $one 0
done

say "--- up, with two workers"
start api api api
start control api control
start worker-1 worker worker
refuse "a worker that still imports is not healthy" "is warming\|was seen" healthy worker-1 worker
start worker-2 worker worker
await_health api api 30
await_health control control 30
await_health worker-1 worker 120
await_health worker-2 worker 120
expect "/readyz says yes" ask "$api/readyz"
expect "two workers are ready" test "$(ask "$api/v1/workers" | grep -o '"ready"' | wc -l)" = 2
refuse "the root is read-only" "Read-only" inside worker-1 worker touch /app/x
refuse "and /usr is" "Read-only" inside worker-1 worker touch /usr/x
expect "the programs are not root" inside worker-1 worker sh -c "ps -eo uid= | grep -q $user && ! ps -eo uid= | grep -qvw $user"

say "--- a job"
job=$(submit 3 32)
await_state "$job" succeeded 60
expect "it has three epochs of metrics" sh -c "curl -fsS --noproxy '*' $api/v1/jobs/$job/history | grep -q loss"
expect "its files belong to the images' user" \
    test -z "$(find "$work/volume" ! -user "$user" -print -quit)" -a -n "$(find "$work/volume/jobs" -type f -print -quit)"

say "--- a worker is stopped in the middle of a job: the other one goes on with it"
job=$(submit 2000 256)
await_state "$job" running 30
sleep 3
holder=$(sql "$(named "$database")" "SELECT host FROM attempts WHERE job_id = '$job' AND ended_at IS NULL")
other=$([ "$holder" = worker-1 ] && echo worker-2 || echo worker-1)
stop "$holder" worker 0
await_state "$job" running 30
expect "on the other worker" test \
    "$(sql "$(named "$database")" "SELECT host FROM attempts WHERE job_id = '$job' AND ended_at IS NULL")" = "$other"
expect "the first attempt was released, not failed" test \
    "$(sql "$(named "$database")" "SELECT outcome FROM attempts WHERE job_id = '$job' AND attempt = 1")" = released
expect "the second began where it stopped" test \
    "$(sql "$(named "$database")" "SELECT resumed_epoch > 0 FROM attempts WHERE job_id = '$job' AND attempt = 2")" = True

say "--- the other one is killed: nothing of it stays"
program=$(pgrep --parent "${inner[$other]}" | head -n 1)
if [ -n "$tini" ]; then kill -KILL "$program"; else kill -KILL "${inner[$other]}"; fi
ends "$other" '(1|137)'
expect "no process of it is left" sh -c "! pgrep --uid $user --full 'fitq (worker|forkserver|runner)'"

say "--- started again: the job is taken back when its lease has run out, and cancelled"
start worker-3 worker worker
await_health worker-3 worker 120
for _ in $(seq 90); do
    held=$(sql "$(named "$database")" "SELECT host FROM attempts WHERE job_id = '$job' ORDER BY attempt DESC LIMIT 1")
    [ "$held" != worker-3 ] || break
    sleep 1
done
expect "the third worker has it" test "$held" = worker-3
ask --json '{"mode": "now"}' "$api/v1/jobs/$job/cancel" >/dev/null
await_state "$job" cancelled 30

say "--- down"
stop worker-3 worker 0
stop control control 0
stop api api 0
expect "all workers said goodbye or were lost" test \
    "$(sql "$(named "$database")" "SELECT count(*) FROM workers WHERE state <> 'gone'")" -le 1

say "$([ "$failures" = 0 ] && echo 'All is well.' || echo "$failures checks failed.")"
[ "$failures" = 0 ]
