#!/usr/bin/env bash
# One run from Firstup into a warehouse, as a job of any CI service, of cron or of a container.
#
#   examples/ci/elt.sh [LOADER [EXTRACTOR]]     # target-postgres and tap-firstup-dde unless named
#
# It needs `meltano` on the PATH (with the extra of the bucket, such as `pip install 'meltano[s3]==4.4.1'`) and, in the environment:
#   MELTANO_STATE_BACKEND_URI            where the state lives between jobs: s3://bucket/firstup, gs://…, azure://…
#   TAP_FIRSTUP_DDE_…, TARGET_POSTGRES_… settings and secrets, as in .env.example
# and takes, where they are set:
#   MELTANO_ENVIRONMENT                  prod unless set; each has a state of its own
#   ELT_LOG                              the log, kept as an artefact, of the last run only: elt.log unless set
#   ELT_SUMMARY                          the run's summary as JSON, printed at the end: elt-summary.json unless set
#   GITHUB_STEP_SUMMARY                  gets the summary as a table, as a job on GitHub shows it
#
# Exit status: 0 done; 2 misspelt; 75 another run is still going on (try again later); else Meltano's, with the end of the log on stderr.
# What a failed run had finished is in the state, the next one goes on from there: no clean-up, no retry by hand.
set -euo pipefail

if [ $# -gt 2 ] || [[ "${1-}" == -* || "${2-}" == -* ]]; then
    echo 'usage: elt.sh [LOADER [EXTRACTOR]]' >&2
    exit 2
fi

loader=${1:-target-postgres}
extractor=${2:-tap-firstup-dde}
log=$(realpath "${ELT_LOG:-elt.log}")
summary=$(realpath "${ELT_SUMMARY:-elt-summary.json}")
cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../.."
: "${MELTANO_STATE_BACKEND_URI:?names no bucket: without one each job would begin from nothing}"
export MELTANO_ENVIRONMENT=${MELTANO_ENVIRONMENT:-prod} NO_COLOR=1

# Two runs at once would load rows twice where a stream has no key. Jobs on several machines need the CI's own guard.
force=()
if command -v flock >/dev/null; then
    exec 9>.elt.lock
    flock --nonblock 9 || {
        echo 'another run is still going on' >&2
        exit 75
    }
    # Nobody else runs here: for minutes Meltano takes a run that was killed for one that goes on.
    force=(--force)
else
    echo 'without flock nothing keeps two runs apart' >&2
fi
: >"$log"
rm -f "$summary"
export "$(tr 'a-z-' 'A-Z_' <<<"$extractor")_SUMMARY_FILE=$summary"

status=0
meltano run "${force[@]}" "$extractor" "$loader" >"$log" 2>&1 || status=$?
if [ "$status" -ne 0 ]; then
    echo "the run ended with $status; the end of $log:" >&2
    tail -n 15 "$log" >&2
fi
if [ -f "$summary" ]; then
    cat "$summary"
    python3 - "$summary" >>"${GITHUB_STEP_SUMMARY:-/dev/null}" <<'TABLE'
import json, sys
found = json.load(open(sys.argv[1], encoding="utf-8"))
columns = ["files", "rows", "misfits", "diverted", "warnings", "seconds", "newest_generation", "state_from", "state_to"]
print(f"### {found['program']}: {found['status']}\n")
if found["error"]:
    print(f"`{found['error']}`\n")
print("| stream |", " | ".join(columns), "|")
print("|---|", "---|" * len(columns), sep="")
for stream, values in found["streams"].items():
    print(f"| {stream} |", " | ".join("" if values[name] is None else str(values[name]) for name in columns), "|")
TABLE
fi
exit "$status"
