#!/usr/bin/env bash
# What `cmake --install` puts in place works from there: programs, configuration, units.
# Usage: test_install.sh CMAKE BUILD_DIR PREFIX
set -euo pipefail
cmake=$1 build=$2 prefix=$3
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
fail() {
    echo "$*" >&2
    exit 1
}

DESTDIR=$root "$cmake" --install "$build" >"$root/log" || fail "$(cat "$root/log")"
etc=$(find "$root" -path '*/etc/evoke/evoke.conf')
units=$root$prefix/lib/systemd/system
for file in bin/evoke bin/evoked bin/evoke-display lib/sysusers.d/evoke.conf \
    lib/tmpfiles.d/evoke.conf share/doc/evoke/PROTOCOL.md \
    share/doc/evoke/experiments/demo.conf; do
    [[ -s $root$prefix/$file ]] || fail "$prefix/$file is not installed"
done
[[ -s $etc ]] || fail "evoke.conf is not installed"
"$root$prefix/bin/evoked" --version
"$root$prefix/bin/evoke" --help >"$root/help"
"$root$prefix/bin/evoke-display" --help >>"$root/help"
"$root$prefix/bin/evoked" --check -c "$etc"
grep -q "^ExecStart=$prefix/bin/evoked -c ${etc#"$root"}$" "$units/evoked.service" ||
    fail "evoked.service does not start what is installed"

if ! command -v systemd-analyze >/dev/null; then
    echo "units not checked: systemd-analyze is not installed"
    exit 0
fi
# Units are verified as they will lie there, but with programs that exist now.
mkdir "$root/units"
cp "$units"/* "$root/units"
sed -i "s,^ExecStart=$prefix,ExecStart=$root$prefix," "$root"/units/*.service
said=$(systemd-analyze verify --man=no "$root"/units/* 2>&1) || fail "$said"
said=$(grep "$root/units" <<<"$said" || true)
[[ -z $said ]] || fail "$said"
score() { # unit, most (tenths)
    local said
    said=$(systemd-analyze security --offline=true --no-pager --threshold="$2" \
        "$root/units/$1" 2>&1) || fail "$said"
    tail -n 1 <<<"$said"
}
score evoked.service 20
score evoke-display.service 35
