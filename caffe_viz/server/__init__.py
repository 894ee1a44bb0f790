"""The live view: a network in the browser, unit by unit."""
