"""Firebase Cloud Messaging, HTTP v1.

The modules are the same as in `notifier.gateway.apns`:

- `additions`: what a campaign may add to the gateway's message, and the faults in it
- `auth`: the credentials in the secret, and the authorization line made of them
- `carrier`: everything put together for one run
- `message`: the request's path, headers and body
- `verdict`: what each answer means

`token_endpoint` is here only: Google's access tokens come from an OAuth endpoint, Apple's are signed by ourselves.
"""
