# Shared by the scripts beside it (sourced, not run): where the tree is, packages, building.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc)

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# What the program is built with, and what more the tests need. Debian 12 names.
build_packages=(g++ cmake ninja-build pkg-config nlohmann-json3-dev libcli11-dev libfmt-dev libexpected-dev libboost-dev
  libpcre2-dev libutf8proc-dev libedit-dev libcurl4-openssl-dev libssl-dev libzip-dev libseccomp-dev
  gzip libjs-marked libjs-katex fonts-katex node-highlight.js)
demo_packages=(curl ca-certificates unzip)
test_packages=(libgtest-dev xz-utils tmux python3 python3-pytest python3-jinja2 python3-numpy python3-pip python3-venv python3-yaml openssl git binutils
  chromium chromium-driver python3-selenium prometheus valgrind)
all_packages=(clang-16 libclang-rt-16-dev clang-format libasan8 libubsan1 libtsan2)

# need_packages NAME...: installs what is missing where this user may; otherwise says the one line that does, and stops.
need_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  local install="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      as_root=(sudo -n)
    else
      die "These packages are missing. As root, run this line, then start again:

    $install
"
    fi
  fi
  say "Installing ${missing[*]} ..."
  local log
  log=$(mktemp)
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c "$install" >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "apt could not install them. As root, try: $install"
  fi
  rm -f "$log"
}

# build PRESET [TARGET...]: configures once, then builds; ninja's progress shows.
build() {
  local preset=$1
  shift
  cd "$root"
  local log="build/$preset.configure.log"
  mkdir -p build
  if ! cmake --preset "$preset" >"$log" 2>&1; then
    cat "$log" >&2
    die "cmake could not configure the build; the lines above say why."
  fi
  local targets=()
  [ $# -gt 0 ] && targets=(--target "$@")
  cmake --build --preset "$preset" -j "$jobs" "${targets[@]}" >&2
}
