#!/bin/sh
# Installs the servers that the tests start themselves, PostgreSQL and MariaDB, and npm, which fetches other versions of
# PostgreSQL (install_postgresql_versions.py). Does nothing where all are there.
set -eu

have() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || ls /usr/lib/postgresql/*/bin/"$1" >/dev/null 2>&1
}

missing=""
have postgres && have initdb || missing="$missing postgresql"
have mariadbd && have mariadb-install-db || missing="$missing mariadb-server"
have npm || missing="$missing npm"
[ -z "$missing" ] && exit 0

line="apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "The tests need$missing. What to do: install it with this system's package manager." >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as="sudo"
else
    echo "The tests need$missing. What to do: sudo $line" >&2
    exit 1
fi

# A policy of 101 keeps the packages from starting servers of their own: the tests start theirs.
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as tee "$policy" >/dev/null
    $as chmod 755 "$policy"
    made=yes
fi
trap '[ -z "$made" ] || $as rm -f "$policy"' EXIT
$as env DEBIAN_FRONTEND=noninteractive apt-get update -q
$as env DEBIAN_FRONTEND=noninteractive $line -q
have postgres && have mariadbd && have npm
