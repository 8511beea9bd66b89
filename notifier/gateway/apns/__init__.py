"""Apple Push Notification service.

The modules are the same as in `notifier.gateway.fcm`:

- `additions`: what a campaign may add to the gateway's message, and the faults in it
- `auth`: the credentials in the secret, and the authorization line made of them
- `carrier`: everything put together for one run
- `message`: the request's path, headers and body
- `verdict`: what each answer means
"""
