"""Everything on this machine: a local AWS, a local Lambda, stand-ins for the gateways. Never deployed."""
