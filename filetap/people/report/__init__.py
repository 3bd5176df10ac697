"""One HTML page about the available files and what they hold."""
