"""The client for programs: lines and JSON in and out, one message, one file, part of a log; exit codes."""
