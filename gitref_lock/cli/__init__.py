"""The command line: a thin layer that reads words, calls the engine and says what happened. No protocol lives here."""
