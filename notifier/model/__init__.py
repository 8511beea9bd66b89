"""Values and errors that every layer may import. The package imports nothing else of ours, and no AWS library.

The modules in the order of a run:

- `batch_file`, `audience_faults`: the objects in S3 that a run reads, and what can be wrong with them.
- `campaign`: what is sent, to which arms, within which limits: the types of the public file format.
- `goal_source`: the texts by which a goal's conversions are found, and the hashes that pin them.
- `conversion_counts`: what came of a run's goal, counted.
- `campaign_reading`: a campaign out of decoded JSON, or every fault with its field.
- `audience_request`, `preparation`: an audience that is to be made first, and the state of making it.
- `stored_query`, `audience_counts`: what people fill in for a query, and what the audience then holds.
- `suspicious_values`: words for no value, and tokens of the other gateway.
- `cut`: what the final cut leaves of a prepared audience.
- `validation`, `plain_words`, `characters`, `authored_json`: what is wrong with a campaign, by field, in words for its
  author.
- `recipient`, `record_reading`, `spelling`: one record of the audience as a user with devices, as other tools may write
  it.
- `keyed_id`: hashes of user ids for lists and trails that must not have the ids.
- `user_rows`: consecutive rows of one user id are one user.
- `arms`, `holdout`, `remainder`: which arm a user is in, who gets no campaign, who is tested and who gets the winner.
- `caps`: how many campaigns of a group a user may get in so many days.
- `time_zones`, `local_time`, `quiet_hours`: time zones by their names, when each user may be asked, and when none.
- `kept_days`: how late a campaign may begin, by how long its files are kept.
- `run`, `ledger`, `cursor`, `runtime`: the state of a run and its lanes, and how long an invocation may work.
- `exchange`, `outcome`: a request to a gateway, what its answer means, and the rows that a run writes.
- `lane_membership`: the lanes that share a rate.
- `span`, `whole_run`: what one lane of several sends, and the lanes of a run as one.
- `hold`: the hold of a whole stack.
- `mailbox`: whether two addresses are one person's.
- `health`: whether an endpoint accepts any device.
- `account`, `summary`, `speed`: the counts of a run, and what holds it back.
- `rewritten`: what a file says of itself that an erasure has written in another one's place.
- `store_error`: what an error of S3 or DynamoDB means.
- `log`, `plurals`: log actions, and nouns with numbers.
"""
