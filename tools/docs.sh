#!/bin/bash
# tools/docs.sh: build the documentation into site/, in an environment of its own. A warning is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" UV_NATIVE_TLS="${UV_NATIVE_TLS:-1}"
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "docs: the builder, Zensical, needs Python 3.11 or newer in .venv (UV_PYTHON=python3.11 make setup)" >&2
    exit 1
fi
environment=$PWD/.tools/docs
UV_PROJECT_ENVIRONMENT=$environment .tools/bin/uv sync --frozen --quiet --no-progress --no-install-project \
    --only-group docs --python .venv/bin/python </dev/null
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# what a link names and is not there ends a strict build; what else it complains of, we look for
if ! "$environment/bin/zensical" build --strict --clean >"$log" 2>&1 || grep -qiE 'warning|error' "$log"; then
    sed "s/\x1b\[[0-9;]*m//g" "$log" >&2 # it colours each letter, also for a file
    exit 1
fi
echo "docs: $(find site -name index.html | wc -l) pages in site/index.html"
