"""From a clone to a stack that sends: the steps of `notifier deploy`.

- `answers`: what a person has to say, from options or asked for, and the command line that says it again
- `account`: what is in the AWS account already
- `gateway_secrets`: Google's and Apple's files as secrets, checked before anything is done
- `steps`: secrets, build, deploy, setup, test push; each says what it would do, and can be done again
"""
