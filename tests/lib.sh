# Shared by tests/run, .ci/run and the parts: runs parts, counts them, prints the time each took; what parts need.

passed=0
failed=0
skipped=0

# part NAME COMMAND...: runs a part; its failure is remembered, not fatal. Status 77 says that what it needs cannot be had.
part() {
  local name=$1 start=$SECONDS status=0
  shift
  printf '\n== %s\n' "$name"
  "$@" </dev/null || status=$?
  if [ "$status" = 0 ]; then
    passed=$((passed + 1))
    printf '== %s: passed in %d s\n' "$name" $((SECONDS - start))
  elif [ "$status" = 77 ]; then
    skip "$name" "a registry did not give what it needs; see above"
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

# privileged: whether packages can be installed, namespaces and file systems made, and other users taken on.
privileged() { [ "$(id -u)" = 0 ]; }

# target_dir: where cargo builds, whoever said so. Its answer is one line of JSON, in which a path's quotes are escaped.
target_dir() {
  cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

# without_settings: takes out of this shell's environment what its user has set for the programs under test, and what they
# would take from a service manager or a desktop. Where things are kept stays for the caller to say.
without_settings() {
  local name
  for name in $(compgen -e); do
    case $name in
      SESSIOND_E2E_* | SESSIOND_TEST_*) ;;
      SESSIOND_* | SESSIONCTL_* | XDG_* | WATCHDOG_* | LISTEN_* | CLICOLOR* | RUST_LOG | NO_COLOR | JOURNAL_STREAM | NOTIFY_SOCKET \
        | CREDENTIALS_DIRECTORY | DISPLAY | WAYLAND_DISPLAY) unset "$name" ;;
    esac
  done
  export SESSIOND_CONFIG= DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent/bus
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
  privileged && command -v apt-get >/dev/null || return 1
  local options=(-y -q -o DPkg::Lock::Timeout=300 --no-install-recommends)
  if [ -z "$apt_updated" ]; then
    apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null >/dev/null || return 1
    apt_updated=yes
  fi
  DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install "$@" </dev/null >/dev/null
}

# python_with_venv: makes sure that there is a Python 3.10 or newer that can make virtual environments.
python_with_venv() {
  installed python3 python3 || return 1
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || return 1
  python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
}

# Uses the system's libcrypto where it can be had: vendoring OpenSSL is more than half of a cold build.
use_system_openssl() {
  if [ -e /usr/include/openssl/crypto.h ] && command -v pkg-config >/dev/null \
    || install_packages libssl-dev pkg-config; then
    export OPENSSL_NO_VENDOR=1
  fi
}
