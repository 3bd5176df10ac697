#!/usr/bin/env bash
# dataspoc-pipe 0.2.0 ends a Singer tap's run at the first date-time with a zone, which is how RFC 3339,
# and so JSON Schema's "date-time", spells every one. Nothing is written.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet dataspoc-pipe==0.2.0 pyarrow==26.0.1
cat >"$work/tap-small" <<'TAP'
#!/bin/sh
echo '{"type":"SCHEMA","stream":"users","key_properties":["id"],"schema":{"type":"object","properties":{"id":{"type":"string"},"at":{"type":["string","null"],"format":"date-time"}}}}'
echo '{"type":"RECORD","stream":"users","record":{"id":"1","at":"2026-05-14T16:00:00Z"}}'
TAP
chmod +x "$work/tap-small"
export HOME=$work COLUMNS=200
mkdir -p "$work/.dataspoc-pipe/pipelines"
cat >"$work/.dataspoc-pipe/pipelines/small.yaml" <<YAML
source: {tap: "$work/tap-small", config: {}}
destination: {bucket: "file://$work/bucket"}
YAML
"$work/venv/bin/dataspoc-pipe" --version
status=0
"$work/venv/bin/dataspoc-pipe" run small >"$work/output" 2>&1 || status=$?
cat "$work/output"
echo "exit status $status"
if [ "$status" != 1 ] || ! grep -q 'expected no zone offset' "$work/output"; then
    echo 'The behaviour has changed.' >&2
    exit 1
fi
