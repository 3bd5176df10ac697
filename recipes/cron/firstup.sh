#!/bin/sh
# Loads new files, then checks; a failure is posted to a webhook. For cron, a systemd timer or any scheduler:
#
#   17 */4 * * * /opt/firstup/firstup.sh
#
# Settings are in firstup.env beside this file, readable by its user only (chmod 600):
#   TAP_FIRSTUP_DDE_REGION=us1
#   TAP_FIRSTUP_DDE_CLIENT_ID=...
#   TAP_FIRSTUP_DDE_CLIENT_SECRET=...
#   FIRSTUP_TO=postgresql://loader@db.example.com/warehouse     # without the password, which `ps` would show
#   PGPASSWORD=...
#   WEBHOOK_URL=https://...              # optional
# Arguments are options of `firstup-dde doctor`. The programs are taken from venv/bin beside this file, or from the PATH.
# Exit status: 0 done; 1 failed, with the log on stderr; 75 another run is still active.
set -eu
cd "$(dirname "$(realpath "$0")")"
PATH=$PWD/venv/bin:$PATH
set -a
. ./firstup.env
set +a

exec 9>firstup.lock
flock --nonblock 9 || exit 75

if {
    firstup-dde load --quiet --to "$FIRSTUP_TO" --schema firstup && firstup-dde doctor "$@"
} >firstup.log 2>&1; then
    exit 0
fi
cat firstup.log >&2
if [ -n "${WEBHOOK_URL-}" ]; then
    python3 notify.py "Firstup: the load on $(hostname) failed" firstup.log || true
fi
exit 1
