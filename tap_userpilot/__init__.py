"""Singer tap for Userpilot's bulk data export, and the command `userpilot-exports`."""
