"""What a run leaves: the ledger in DynamoDB, settlements in S3."""
