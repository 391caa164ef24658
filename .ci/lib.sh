# shellcheck shell=bash
# Sourced by every stage: goes to the root of the repository, installs what the stage needs, and
# prints how long the stage took. A step that fails ends the stage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s\n' "$*"; }

# A stage that has something to clean up redefines this.
cleanup() { :; }
finish() {
  local code=$?
  cleanup
  if [ "$code" = 0 ]; then result=passed; else result=FAILED; fi
  printf '\n%s: %s in %s s\n' "$(basename "$0")" "$result" "$SECONDS"
  exit "$code"
}
trap finish EXIT

has() { command -v "$1" >/dev/null; }

# Installs Debian packages. The policy keeps their services from being started.
apt_install() {
  step "install $*"
  [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d; }
  apt-get update -q
  apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

need_postgres() {
  local bin
  bin=$(pg_config --bindir 2>/dev/null || true)
  has psql && { [ -x "$bin/initdb" ] || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; } && return
  apt_install postgresql postgresql-client
}

need_go() { has go || apt_install golang-go; }

need_curl() { has curl || apt_install curl; }

# The system's Python, able to make virtual environments.
need_python() { python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3 python3-venv python3-pip; }

need_node() { { has node && has npm; } || apt_install nodejs npm; }

need_php() { php -r 'exit(extension_loaded("soap") ? 0 : 1);' 2>/dev/null || apt_install php-cli php-soap; }

need_soap_lite() { perl -MSOAP::Lite -e 1 2>/dev/null || apt_install libsoap-lite-perl; }

need_gsoap() { { has wsdl2h && has soapcpp2 && has g++ && [ -e /usr/include/stdsoap2.h ]; } || apt_install gsoap libgsoap-dev g++; }
need_go() { has go || apt_install golang-go; }

need_java() { has java || apt_install default-jre-headless; }

need_promtool() { has promtool || apt_install prometheus; }

need_chromium() { has chromium || apt_install chromium; }

need_shellcheck() { has shellcheck || apt_install shellcheck; }

# A cargo subcommand, installed from its crate if it is missing.
need_cargo() { has "$1" || { step "install $1" && cargo install --quiet --locked "$1"; }; }
