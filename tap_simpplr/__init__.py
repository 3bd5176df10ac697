"""Singer tap for Simpplr's analytics exports, and the command `simpplr-exports`."""
