"""The gearbox commands: arguments in, one call, result out."""
