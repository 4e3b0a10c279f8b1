#!/bin/bash
# Every static check, each one even if another failed; ends by naming those that did.
set -u
cd "$(dirname "$0")/.." || exit 1
bin=$PWD/.venv/bin
failed=()

check() { # name, command...
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        printf '  ok      %s\n' "$name"
    else
        printf '  FAILED  %s\n%s\n' "$name" "$output"
        failed+=("$name")
    fi
}

# also in a clone that belongs to somebody else (a container's root, a CI's workspace)
shell_scripts() {
    git -c safe.directory='*' ls-files -z -- '*.sh' .ci/run
}

shellcheck_all() {
    if ! shell_scripts | grep -q .; then
        echo "git names no shell script: is this a clone?"
        return 1
    fi
    shell_scripts | xargs -0 "$bin/shellcheck"
}

check "ruff format" "$bin/ruff" format --check
check "ruff check" "$bin/ruff" check --quiet
check "basedpyright" "$bin/basedpyright" --pythonpath "$bin/python"
check "import-linter" "$bin/lint-imports"
check "shellcheck" shellcheck_all

if [ ${#failed[@]} -gt 0 ]; then
    printf 'check: failed: %s\n' "${failed[*]}"
    exit 1
fi
