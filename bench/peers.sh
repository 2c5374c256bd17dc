#!/bin/sh
# Installs the IRC servers that ours is measured beside, from Debian's packages, and keeps them from running as
# services. What cannot be installed is said, and left out of the measurements.
set -u
as_root=
[ "$(id -u)" = 0 ] || as_root='sudo -n'
for name in inspircd ngircd; do
	PATH="$PATH:/usr/sbin" command -v "$name" >/dev/null && continue
	if ! command -v apt-get >/dev/null; then
		echo "$name cannot be installed here: there is no apt-get. It is left out." >&2
		continue
	fi
	$as_root apt-get update -q >/dev/null 2>&1
	if $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		apt-get install -y -q --no-install-recommends "$name" >/dev/null 2>&1; then
		if command -v systemctl >/dev/null; then
			$as_root systemctl disable --now "$name" >/dev/null 2>&1
		fi
	else
		echo "$name cannot be installed: apt-get install $name says why. It is left out." >&2
	fi
done
exit 0
