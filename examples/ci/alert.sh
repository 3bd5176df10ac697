#!/usr/bin/env bash
# Posts a message if files are late, missing or about to expire unread: for cron, or a step of a CI job.
#
#   examples/ci/alert.sh [OPTION...]      # options of `firstup-dde doctor` in place of those below
#
# It needs `firstup-dde`, `python3` and `curl` on the PATH and, in the environment:
#   ALERT_URL             a webhook that takes {"text": "…"}, as those of Slack, Teams and Mattermost do
#   TAP_FIRSTUP_DDE_…     settings and secrets, as in .env.example
#
# Exit status: 0 all well; 1 something is wrong, and the message was posted; else curl's, and it was not.
set -euo pipefail
: "${ALERT_URL:?names no webhook}"

[ $# -gt 0 ] || set -- --max-age 12h --expires-within 24h
found=$(firstup-dde doctor --output json "$@") && exit 0
message=$(python3 -c '
import json, sys
found = json.load(sys.stdin)
lines = [c["name"] + ": " + c["detail"] for c in found["checks"] if c["outcome"] == "failed"]
print(json.dumps({"text": "\n".join(["Firstup exports: " + found["verdict"], *lines])}))
' <<<"$found")
curl --fail --silent --show-error --max-time 30 -H 'Content-Type: application/json' --data "$message" "$ALERT_URL" >/dev/null
exit 1
