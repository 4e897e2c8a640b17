"""The command line: settings, parse, one library call, one report. Nothing here decides anything about faces."""
