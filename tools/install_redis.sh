#!/bin/sh
# Installs Debian's redis-server where it is missing and we may; tests start servers of their own from it.
command -v redis-server >/dev/null && exit
sudo=
[ "$(id -u)" = 0 ] || sudo="sudo -n"
{
    $sudo apt-get update -q
    $sudo apt-get install -q -y --no-install-recommends redis-server
} >/dev/null 2>&1
command -v redis-server >/dev/null ||
    echo "redis-server is missing and could not be installed: tests that need it are skipped" >&2
exit 0
