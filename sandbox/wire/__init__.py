"""A small HTTP/2 server that misbehaves on request: what gateways do on bad days, down to the frame."""
