"""The stores of a run: its ledger in DynamoDB, its results in S3."""
