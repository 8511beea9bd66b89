"""The notifier: one JSON file in S3 becomes pushes on phones, with an exact account of every device."""
