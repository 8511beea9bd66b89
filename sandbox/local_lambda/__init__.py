"""A local Lambda: AWS's own runtime client, in a process for each environment, against a small Runtime API.

`service` accepts invocations and retries events, `functions` has what is deployed, `pool` keeps environments,
`environment` runs one process, which `launch` turns into the runtime client, `runtime_api` is what it polls.
`http_api` is the Lambda API that boto3 calls.
Modelled: cold and warm environments, the timeout, the memory limit, retries with maximum age, dead-letter queue and
on-failure record, payload limits, versions and aliases, reserved concurrency, the guard against recursive loops.
"""
