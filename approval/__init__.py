"""The approval app: marketing requests a push, approvers test it on their own phones and approve it, it is sent.

`app` has the Lambda entries; `wiring` makes what they call, from what reaches AWS to the routes of the pages.
"""
