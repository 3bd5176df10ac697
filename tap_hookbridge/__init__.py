"""Singer tap for HookBridge's exports of messages, and the command `hookbridge-exports`."""
