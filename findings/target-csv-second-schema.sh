#!/usr/bin/env bash
# meltanolabs-target-csv 0.5.0: a second SCHEMA with one more column in the middle gives the file a new header,
# while rows that came before keep their old cells: each stands under its neighbour's name. The exit status is 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet meltanolabs-target-csv==0.5.0
cd "$work"
cat >messages.jsonl <<'JSON'
{"type":"SCHEMA","stream":"users","key_properties":["id"],"schema":{"type":"object","properties":{"id":{"type":"string"},"name":{"type":["string","null"]},"city":{"type":["string","null"]}}}}
{"type":"RECORD","stream":"users","record":{"id":"1","name":"Ada","city":"Pune"}}
{"type":"SCHEMA","stream":"users","key_properties":["id"],"schema":{"type":"object","properties":{"id":{"type":"string"},"name":{"type":["string","null"]},"badge":{"type":["string","null"]},"city":{"type":["string","null"]}}}}
{"type":"RECORD","stream":"users","record":{"id":"2","name":"Cy","badge":"b3","city":"Rome"}}
JSON
echo '{"output_path": "."}' >config.json
venv/bin/target-csv --version
venv/bin/target-csv --config config.json <messages.jsonl 2>log
cat users.csv
echo "The first row's city is Pune; the file has it as its badge."
printf '%s\n' id,name,badge,city 1,Ada,Pune 2,Cy,b3,Rome | diff - <(tr -d '\r' <users.csv) ||
    { echo 'The behaviour has changed.' >&2; exit 1; }
