# Sourced by the ensure-* scripts: how this machine gets a system package, as root or without.
# shellcheck shell=sh

# uv brings its own list of certificate authorities, which lacks the one of a company's proxy; the machine's has it.
for bundle in /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/certs/ca-certificates.crt; do
    [ ! -s "$bundle" ] || SSL_CERT_FILE=${SSL_CERT_FILE:-$bundle}
done
[ -z "${SSL_CERT_FILE:-}" ] || export SSL_CERT_FILE

complain() {
    echo "fleetmend set-up: $*" >&2
}

die() {
    complain "$*"
    exit 1
}

# Where things live that were fetched for this user alone.
private_folder() {
    echo "${XDG_DATA_HOME:-${HOME:-$PWD/.fleetmend}/.local/share}/fleetmend"
}

# Daemons live in sbin, which is not on an ordinary user's PATH.
find_program() {
    PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1"
}

can_be_root() {
    [ "$(id -u)" -eq 0 ] || { command -v sudo && sudo -n true; } >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n -- "$@"
    fi
}

# Runs a command, showing what it said only when it failed.
quietly() {
    log=$(mktemp)
    if "$@" >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        return 0
    fi
    tail -n 15 "$log" >&2
    rm -f "$log"
    return 1
}

package_manager() {
    for manager in apt-get dnf pacman apk zypper brew; do
        if command -v "$manager" >/dev/null 2>&1; then
            echo "$manager"
            return 0
        fi
    done
    return 1
}

# Installs one set of packages by the machine's own package manager; needs can_be_root, except for brew.
install_packages() {
    case $(package_manager || true) in
        apt-get) apt_install "$@" ;;
        dnf) quietly as_root dnf install -y --setopt=install_weak_deps=False "$@" ;;
        pacman) quietly as_root pacman -Sy --needed --noconfirm "$@" ;;
        apk) quietly as_root apk add --no-progress "$@" ;;
        zypper) quietly as_root zypper --non-interactive install --no-recommends "$@" ;;
        brew) quietly brew install "$@" ;;
        *) return 1 ;;
    esac
}

apt_install() {
    forbid_service_start
    if ! apt_try "$@" >/dev/null 2>&1; then
        quietly as_root apt-get -q update || true
        quietly apt_try "$@" || { allow_service_start; return 1; }
    fi
    allow_service_start
    disable_units_of "$@"
}

apt_try() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 install "$@" </dev/null
}

# Debian starts a daemon as it installs it. What is wanted here are the programs, so the start is forbidden
# for as long as the installation takes, and the units are disabled afterwards.
forbid_service_start() {
    policy=/usr/sbin/policy-rc.d
    ours=
    [ ! -e "$policy" ] || return 0
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    ours=yes
    trap allow_service_start EXIT
    trap 'exit 130' INT TERM
}

allow_service_start() {
    [ -z "$ours" ] || as_root rm -f "$policy"
    ours=
}

disable_units_of() {
    command -v systemctl >/dev/null 2>&1 || return 0
    for package in "$@"; do
        units=$(dpkg -L "$package" 2>/dev/null | sed -nE 's#.*/systemd/system/([^/@]+\.(service|timer))$#\1#p')
        for unit in $units; do
            as_root systemctl disable "$unit" >/dev/null 2>&1 || true
        done
    done
}

# Unpacks packages and those of their libraries that this machine lacks into a folder, without root (Debian family).
unpack_packages() {
    destination=$1
    shift
    command -v apt-get >/dev/null 2>&1 && command -v dpkg >/dev/null 2>&1 || return 1
    workshop=$(mktemp -d)
    mkdir -p "$workshop/lists/partial" "$workshop/cache/archives/partial" "$workshop/debs" "$destination"
    unpack_in_workshop "$@" && unpacked=0 || unpacked=1
    rm -rf "$workshop"
    return "$unpacked"
}

unpack_in_workshop() {
    private=
    fetch_missing "$@" >/dev/null 2>&1 || {
        # The machine's own package lists are missing or old; a private copy needs no root.
        private="-o Dir::State::lists=$workshop/lists -o Dir::Cache=$workshop/cache -o Debug::NoLocking=1"
        # shellcheck disable=SC2086
        quietly apt-get -q $private -o APT::Sandbox::User= update || return 1
        quietly fetch_missing "$@" || return 1
    }
    for archive in "$workshop"/debs/*.deb; do
        dpkg -x "$archive" "$destination" || return 1
    done
}

fetch_missing() {
    wanted=$(missing_closure "$@")
    [ -n "$wanted" ] || return 1
    # shellcheck disable=SC2086
    (cd "$workshop/debs" && apt-get -q $private -o APT::Sandbox::User= download $wanted)
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

# What a package needs beyond libraries (adduser, debconf) serves its installation, which does not happen here.
missing_closure() {
    # shellcheck disable=SC2086
    apt-cache $private depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances --no-pre-depends "$@" | sed -n 's/^\([a-z0-9][^ :]*\).*/\1/p' | sort -u |
        while read -r package; do
            case $package in
                "$1") echo "$package" ;;
                "$1"* | lib*) is_installed "$package" || echo "$package" ;;
            esac
        done
}
