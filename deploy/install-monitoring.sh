#!/bin/sh
# Prometheus and Alertmanager with their tools, as packages of Debian or Ubuntu: for the tests. It starts neither.
set -eu

there() { command -v "$1" > /dev/null 2>&1; }

if there prometheus && there promtool && there amtool && { there alertmanager || there prometheus-alertmanager; }; then
  exit 0
fi
wanted="prometheus, promtool, alertmanager and amtool"
if ! there apt-get; then
  echo "The tests of alerts need $wanted, and there is no apt-get here. Put them into the PATH." >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "The tests of alerts need $wanted. As root: apt-get install --no-install-recommends prometheus prometheus-alertmanager" >&2
  exit 1
fi
if [ ! -e /usr/sbin/policy-rc.d ]; then # asked before a package starts a service
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus prometheus-alertmanager > /dev/null
