#!/bin/sh
# Give this clone its tools: uv (from PATH, or into .tools/) and the project's environment in .venv.
#
# Wants python3 and a network, nothing else: neither pip nor venv nor root. Everything it makes lies inside the clone;
# the system's Python is read, never changed. Can be repeated: it does what is still missing.
set -eu

uv_minimum=0.8.0
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
tools="$here/.tools"

say() { printf 'set-up: %s\n' "$*" >&2; }

# what failed, why, what to type
fail() {
    printf '\nset-up stopped: %s\n' "$1" >&2
    printf '  why:  %s\n' "$2" >&2
    printf '  type: %s\n' "$3" >&2
    exit 1
}

# settings of the caller's that would send uv or pip elsewhere
unset VIRTUAL_ENV UV_PROJECT_ENVIRONMENT UV_WORKING_DIRECTORY PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV
# the machine's certificates, as every other client uses them (the second name is that of older versions of uv)
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" UV_NATIVE_TLS="${UV_NATIVE_TLS:-1}"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
if [ -z "${HOME:-}" ] || [ ! -w "${HOME:-}" ]; then
    export UV_CACHE_DIR="${UV_CACHE_DIR:-$tools/cache}" PIP_NO_CACHE_DIR=1
fi

# ---- uv -------------------------------------------------------------------------------------------------------------

# recent_enough PROGRAM: does it run, and is it at least the minimum?
recent_enough() {
    found=$("$1" --version 2>/dev/null) || return 1
    printf '%s %s\n' "$found" "$uv_minimum" | awk '{
        split($2, have, "."); split($NF, want, ".")
        for (i = 1; i <= 3; i++) if (have[i] + 0 != want[i] + 0) exit (have[i] + 0 < want[i] + 0)
    }'
}

# pip_install_uv COMMAND...: with this pip, into the clone, whole or not at all
pip_install_uv() {
    rm -rf "$tools/uv.$$"
    if "$@" install --quiet --no-input --target "$tools/uv.$$" "uv>=$uv_minimum" >&2 && recent_enough "$tools/uv.$$/bin/uv"; then
        rm -rf "$tools/uv" && mv "$tools/uv.$$" "$tools/uv"
    else
        rm -rf "$tools/uv.$$"
        return 1
    fi
}

has_pip() { python3 -m pip --version >/dev/null 2>&1; }

has_venv() { python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

with_venv() {
    rm -rf "$tools/pip"
    python3 -m venv "$tools/pip" >&2 && pip_install_uv "$tools/pip/bin/python" -m pip
}

# Debian and Ubuntu keep pip's own wheel in a package; pip runs straight from it, and nothing is installed.
wheel_pip() {
    for wheel in /usr/share/python-wheels/pip-*.whl "$tools"/apt/unpacked/usr/share/python-wheels/pip-*.whl; do
        [ -f "$wheel" ] || continue
        distutils=$(echo "$tools"/apt/unpacked/usr/lib/python3.*) # see download_pip
        env PYTHONPATH="$wheel:$distutils" python3 -m pip "$@" && return
    done
    return 1
}

wheel_pip_runs() { wheel_pip --version >/dev/null 2>&1; }

# As any user: apt-get downloads into the clone. A fresh machine may have no package lists yet, or old ones: then with
# lists of the clone's own.
download() {
    (
        mkdir -p "$tools/apt/lists/partial" "$tools/apt/cache/archives/partial" "$tools/apt/unpacked"
        cd "$tools/apt" || exit
        user="APT::Sandbox::User=$(id -un)"
        if ! apt-get -qq -o "$user" download "$1" >/dev/null 2>&1; then
            set -- "$1" -qq -o "$user" -o "Dir::State::Lists=$tools/apt/lists" -o "Dir::Cache=$tools/apt/cache"
            package=$1
            shift
            apt-get "$@" update >&2
            apt-get "$@" download "$package" >&2 || exit
            set -- "$package"
        fi
        dpkg-deb -x "$1"_*.deb unpacked
    )
}

download_pip() {
    download python3-pip-whl || return
    wheel_pip_runs && return
    # old pips want distutils, of which such a Python has only the two files that its library needs
    download python3-distutils || return
    for folder in "$tools"/apt/unpacked/usr/lib/python3.*/distutils; do
        cp /usr/lib/"$(basename "$(dirname "$folder")")"/distutils/*.py "$folder"
    done
    wheel_pip_runs
}

get_uv() {
    mkdir -p "$tools"
    if command -v uv >/dev/null 2>&1 && recent_enough uv; then
        uv=$(command -v uv)
        return
    fi
    uv="$tools/uv/bin/uv"
    recent_enough "$uv" && return

    command -v python3 >/dev/null 2>&1 ||
        fail "there is no python3 here, and no uv $uv_minimum or newer." "one of them has to start the set-up." \
            "sudo apt-get install python3    (or your system's way to install Python 3.10 or newer)"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' ||
        fail "$(python3 --version 2>&1) is too old." "uv installs with Python 3.8 or newer." \
            "install Python 3.10 or newer, or uv itself, put it on PATH, and repeat"

    if has_pip; then
        say "uv $uv_minimum or newer is not on PATH: installing it into .tools/ with pip"
        pip_install_uv python3 -m pip && return
    elif has_venv; then
        say "uv $uv_minimum or newer is not on PATH: installing it into .tools/ with a virtual environment's pip"
        with_venv && return
    elif wheel_pip_runs; then
        say "uv $uv_minimum or newer is not on PATH and python3 has no pip: installing it into .tools/ with Debian's wheel of pip"
        pip_install_uv wheel_pip && return
    elif command -v apt-get >/dev/null 2>&1; then
        say "uv $uv_minimum or newer is not on PATH and python3 has neither pip nor venv: fetching pip into .tools/ with apt-get"
        download_pip ||
            fail "apt-get could not download the package python3-pip-whl." \
                "uv is installed by pip, which this python3 lacks; the message stands above." \
                "sudo apt-get update && sudo apt-get install python3-venv, and repeat"
        pip_install_uv wheel_pip && return
    else
        fail "uv $uv_minimum or newer is missing, and python3 has neither pip nor venv to install it with." \
            "uv brings the locked versions of everything else." \
            "install pip for $(command -v python3), or uv itself, and repeat"
    fi
    fail "pip could not install uv." \
        "its message stands above; most often the package index is out of reach, or a proxy's certificate is unknown." \
        "check with: python3 -m pip download uv    (PIP_INDEX_URL, HTTPS_PROXY, PIP_CERT are honoured), and repeat"
}

# ---- Python -----------------------------------------------------------------------------------------------------------

# A Python of the machine that fits, so that none need be downloaded.
system_python() {
    for name in python3 python3.13 python3.12 python3.11 python3.10 python3.14; do
        "$name" -c 'import sys
if not (3, 10) <= sys.version_info < (3, 15): sys.exit(1)
print(sys.executable)' 2>/dev/null && return
    done
    return 1
}

choose_python() {
    [ -z "${UV_PYTHON:-}" ] || return 0 # the user's choice
    if "$here/.venv/bin/python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; then
        UV_PYTHON="$here/.venv/bin/python"
    elif ! UV_PYTHON=$(system_python); then
        unset UV_PYTHON
        say "no Python 3.10 to 3.14 on this machine: uv will download one"
        return 0
    fi
    export UV_PYTHON
}

# ---- all together -----------------------------------------------------------------------------------------------------

get_uv
mkdir -p "$tools/bin" && ln -sf "$uv" "$tools/bin/uv" # for the other tools
say "$("$uv" --version) ($uv)"
choose_python
cd "$here"
"$uv" sync --frozen --quiet --no-progress </dev/null ||
    fail "uv could not build the environment in .venv." \
        "its message stands above; most often the package index is out of reach${UV_PYTHON:+, or $UV_PYTHON does not fit}." \
        "check the network (UV_DEFAULT_INDEX, HTTPS_PROXY, SSL_CERT_FILE are honoured), and repeat"
say "$(.venv/bin/python --version) in .venv is ready"
