# Shared by tests/run and .ci/run: runs parts, counts them, prints the time each took.

passed=0
failed=0
skipped=0

# part NAME COMMAND...: runs a part; its failure is remembered, not fatal.
part() {
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@" </dev/null; then
    passed=$((passed + 1))
    printf '== %s: passed in %d s\n' "$name" $((SECONDS - start))
  else
    failed=$((failed + 1))
    printf '== %s: FAILED after %d s\n' "$name" $((SECONDS - start))
  fi
}

# skip NAME REASON: a part that cannot run here. With CI=true that is a failure.
skip() {
  if [ "${CI:-}" = true ]; then
    failed=$((failed + 1))
    printf '\n== %s: FAILED, cannot be skipped in CI: %s\n' "$1" "$2"
  else
    skipped=$((skipped + 1))
    printf '\n== %s: skipped: %s\n' "$1" "$2"
  fi
}

# summary: the closing line; its status is that of the whole.
summary() {
  printf '\nafter %d s:\n%d passed, %d failed, %d skipped\n' "$SECONDS" "$passed" "$failed" "$skipped"
  [ "$failed" -eq 0 ]
}

apt_updated=

# installed COMMAND PACKAGE...: makes sure that a command is there, by apt-get where that is possible.
installed() {
  local command=$1
  shift
  command -v "$command" >/dev/null && return 0
  install_packages "$@" && command -v "$command" >/dev/null
}

install_packages() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  local options=(-y -q -o DPkg::Lock::Timeout=300 --no-install-recommends)
  if [ -z "$apt_updated" ]; then
    apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null >/dev/null || return 1
    apt_updated=yes
  fi
  DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install "$@" </dev/null >/dev/null
}

# Uses the system's libcrypto where it can be had: vendoring OpenSSL is more than half of a cold build.
use_system_openssl() {
  if [ -e /usr/include/openssl/crypto.h ] && command -v pkg-config >/dev/null \
    || install_packages libssl-dev pkg-config; then
    export OPENSSL_NO_VENDOR=1
  fi
}
