#!/bin/bash
# tools/pictures.sh: make the pictures of docs/pictures anew, from Dagster's UI and from the scenes on a real cluster.
#
# Wants node, npm, Chromium (CHROMIUM names it) and pngquant or none; a cluster as `make demo-slurm` does.
set -euo pipefail
cd "$(dirname "$0")/.."
pictures=$PWD/docs/pictures tools=$PWD/.tools/pictures work=$(mktemp -d)
mkdir -p "$pictures" "$tools"
[ -d "$tools/node_modules/playwright-core" ] || (cd "$tools" && npm install --no-audit --no-fund --silent playwright-core)
cp tools/pictures.mjs "$tools/pictures.mjs" # modules are looked up beside the program

DEMO_FOLDER=$work .venv/bin/python examples/ui.py >"$work/ui.log" 2>&1 &
ui=$!
trap 'kill "$ui" 2>/dev/null; wait "$ui" 2>/dev/null; rm -rf "$work"' EXIT
until address=$(grep -o 'http://127.0.0.1:[0-9]*' "$work/ui.log"); do
    kill -0 "$ui" || { cat "$work/ui.log" >&2; exit 1; }
    sleep 1
done
node "$tools/pictures.mjs" "$address" "$pictures" "$work" "$PWD"
! command -v pngquant >/dev/null || pngquant --force --ext .png --quality 60-90 "$pictures"/*.png

DEMO_FOLDER=$work .venv/bin/python tools/recording.py "$pictures/scenes.svg" "Scene 1" .venv/bin/python -u examples/demo.py --scenes
ls -l "$pictures"
