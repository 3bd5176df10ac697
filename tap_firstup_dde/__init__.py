"""Singer tap for Firstup Direct Data Export v2."""
