"""The approval app: marketing requests a push, approvers test it on their own phones and approve it, it is sent."""
