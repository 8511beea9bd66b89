"""The approval app: marketing asks, approvers see it on their own phone, then it goes."""
