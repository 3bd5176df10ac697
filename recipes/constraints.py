"""Turns a report of pip's on stdin into constraints, without the package itself."""

import json
import sys

found = [each["metadata"] for each in json.load(sys.stdin)["install"]]
pins = sorted((each["name"].lower().replace("_", "-"), each["version"]) for each in found)
sys.stdout.write("# What the image installs; `make constraints` writes it.\n")
sys.stdout.writelines(f"{name}=={pin}\n" for name, pin in pins if name != "tap-firstup-dde")
