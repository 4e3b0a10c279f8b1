#!/bin/bash
# tools/pythons.sh [PYTEST ARGUMENTS]: the tests that need no cluster, with every supported Python at hand but the usual one.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$PWD/.tools/bin/uv
usual=$(.venv/bin/python -c 'import sys; print("{}.{}".format(*sys.version_info))')
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" UV_NATIVE_TLS="${UV_NATIVE_TLS:-1}"
failed=()

# on PATH, among uv's own, or among pyenv's that are not switched on
find_python() {
    "$uv" python find --no-project --no-python-downloads --system "$1" 2>/dev/null && return
    local python
    for python in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        [ -x "$python" ] && echo "$python" && return
    done
    return 1
}

for version in 3.10 3.11 3.12 3.13 3.14; do
    [ "$version" != "$usual" ] || continue
    if ! python=$(find_python "$version"); then
        echo "pythons: $version is not here"
        continue
    fi
    echo "pythons: $version ($python)"
    environment=$PWD/.tools/pythons/$version
    UV_PROJECT_ENVIRONMENT=$environment "$uv" sync --frozen --quiet --no-progress --python "$python" </dev/null
    "$environment/bin/python" -m pytest -q -m "not slow and not cluster" "$@" </dev/null || failed+=("$version")
done

if [ ${#failed[@]} -gt 0 ]; then
    echo "pythons: failed: ${failed[*]}"
    exit 1
fi
