"""The commands for people: files, get, doctor, report, emulate."""
