"""Routes of models that the command line has too: settings, other names, adapters, fit, the hub, removal, verifying."""
